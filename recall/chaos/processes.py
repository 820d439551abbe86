"""recall's real processes, started again whenever they end, as a service manager would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Seconds between the end of a process and its next start.
RESTART = 0.5
#: Seconds within which a process that is told to end has ended.
FAREWELL = 5.0


class Process:
    """A command that is kept running until it is told to end."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.starts = 0
        self._command = [sys.executable, "-m", "recall", *command]
        self._environment = environment
        self._folder = folder
        self.log = folder / f"{name}.log"
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and again whenever it ends."""
        self._thread.start()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if it lives."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def end(self) -> tuple[int | None, float]:
        """Tell it to end; return its status (None: it had to be killed) and the seconds it took."""
        began = time.monotonic()
        with self._starting:
            self._ending.set()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._thread.join(2 * FAREWELL)
        if self._thread.is_alive():
            self.signal(signal.SIGKILL)
            self._thread.join()
            return None, time.monotonic() - began
        status = self._process.returncode if self._process else 0
        return status, time.monotonic() - began

    def _keep(self) -> None:
        with self.log.open("ab") as output:
            while True:
                with self._starting:
                    if self._ending.is_set():
                        return
                    self._process = self._start(output)
                self._process.wait()
                self._ending.wait(RESTART)

    def _start(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        self.starts += 1
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=self._environment,
            cwd=self._folder,
            start_new_session=True,  # Ctrl-C is for the run, which ends them itself
        )


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with `given` in place of all that recall and libpq read."""
    ours = ("RECALL_", "DATABASE_", "PG")
    return {n: v for n, v in os.environ.items() if not n.startswith(ours)} | dict(given)
