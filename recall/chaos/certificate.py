"""A certificate for this machine alone, made at run time. It signs itself: it is its own root."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.contract.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

DAYS = 2


@dataclass(frozen=True)
class Certificate:
    """Two PEM files. Clients name `certificate` as their root."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Return what a server of this certificate needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate of localhost and 127.0.0.1 in `folder`, with the command `openssl`.

    Raises Misconfigured when there is no such command or it fails.
    """
    made = Certificate(folder / "front.crt", folder / "front.key")
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", str(DAYS), "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Misconfigured("TLS needs the command openssl, which is not installed.") from None
    if done.returncode != 0:
        raise Misconfigured(f"openssl made no certificate: {done.stderr.strip()}")
    made.key.chmod(0o600)
    return made
