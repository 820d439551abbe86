"""The sockets of a service, bound before anything is loaded: a taken port is said at once."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from recall.contract.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A host's addresses of a kind that this machine has not, such as ::1 for localhost.
ABSENT = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


@contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Yield a socket for each address of `host`, bound to `port`; nothing listens yet.

    Port 0 takes a free one, the same for all. Raises Misconfigured, which says what is wrong with
    the host or the port.
    """
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        refused: OSError | None = None
        for family, address in _addresses(host, port):
            try:
                sockets.append(stack.enter_context(_bind(family, address, sockets)))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise Misconfigured(refusal(host, port, error)) from error
                refused = error
        if not sockets:
            raise Misconfigured(refusal(host, port, refused or OSError())) from refused
        yield sockets


def listen(host: str, sockets: list[socket.socket]) -> None:
    """Let callers come.

    Two that were bound at once to one port learn only now who has it: the other raises
    Misconfigured.
    """
    for each in sockets:
        try:
            each.listen(2048)
        except OSError as error:
            raise Misconfigured(refusal(host, each.getsockname()[1], error)) from error


def address(host: str, served: socket.socket) -> str:
    """Return the URL to ask at."""
    name = served.getsockname()[0] if not host or host == "localhost" else host.strip("[]")
    return f"http://{f'[{name}]' if ':' in name else name}:{served.getsockname()[1]}"


def refusal(host: str, port: int, error: OSError) -> str:
    """Return why `host` and `port` cannot be served on."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is taken: another recall or program serves there; stop it, or "
            "set RECALL_PORT to another."
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"Port {port} may not be served on by this user; set RECALL_PORT to one above 1023."
    reason = (error.strerror or "it has no address").lower()
    return (
        f"RECALL_HOST={host} is no address of this machine: {reason}; set it to 127.0.0.1, or to "
        "0.0.0.0 for all."
    )


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    name = host.strip("[]") or None
    try:
        infos = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        known = error if isinstance(error, OSError) else OSError(None, "it is no name")
        raise Misconfigured(refusal(host, port, known)) from error
    ours = [each for each in infos if each[0] in {socket.AF_INET, socket.AF_INET6}]
    return [(family, address) for family, _, _, _, address in dict.fromkeys(ours)]  # type: ignore[misc]


def _bind(
    family: socket.AddressFamily, address: tuple[str, int], others: list[socket.socket]
) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs share a port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if others and not address[1]:
            address = (address[0], others[0].getsockname()[1])
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened
