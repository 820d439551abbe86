"""The frame of every command: the application, its settings, its log, and how it ends.

An error that a command lets out becomes one sentence on standard error and a status: 1 for an
error, 130 for Ctrl-C, 141 where nobody reads the output any more, as a shell has it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from recall.contract.errors import RecallError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from recall.base.settings import Settings

INTERRUPTED, UNREAD = 130, 141
#: What the names of the threads of `run` begin with.
THREADS = "recall-work"

Tenant = Annotated[str, typer.Option(help="Whose memories.")]


class Commands(TyperGroup):
    """The commands; what one of them raises becomes a sentence and a status."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command, on whatever kind of terminal."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # what the terminal cannot show is spelled out
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _read_no_more()
            raise typer.Exit(UNREAD) from None
        except Exception as error:
            if _of_typer(error) or os.environ.get("RECALL_DEBUG"):
                raise
            typer.secho(f"recall: {one_line(error)}", err=True, fg="red")
            raise typer.Exit(1) from None
        return result


class Application(typer.Typer):
    """The application; its process ends with its command, whatever still loads in a thread."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line of this process."""
        _open_standard_streams()
        try:
            return super().__call__(*args, **kwargs)
        except SystemExit as ended:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the interpreter's end is left
            if _busy():
                _leave(ended.code)
            raise


app = Application(
    help="Find any message or note of an agent again, by meaning and by words.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def read_settings(**overrides: Any) -> Settings:
    """Return the settings, those given on the command line before the environment's."""
    from recall.base.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    return Settings.load(**given)


def log(level: int = logging.INFO) -> None:
    """Write log messages of `level` and above to standard error."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for library in ("httpx", "sentence_transformers"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # psycopg warns of a lost connection that the unit which lost it reports anyway.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end; behind a failure, a thread that still loads a model is not awaited."""
    executor = ThreadPoolExecutor(thread_name_prefix=THREADS)
    runner = asyncio.Runner(loop_factory=_new_loop())
    runner.get_loop().set_default_executor(executor)
    try:
        runner.run(work)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        if not _busy(within=1.0):  # closing waits for the executor's threads
            runner.close()
        raise
    runner.close()


def one_line(error: Exception) -> str:
    """Return what an error that nobody caught says to a person, in one line."""
    if isinstance(error, ExceptionGroup):
        return one_line(error.exceptions[0])
    if isinstance(error, RecallError):
        return str(error)
    said = " ".join(str(error).split()) or "it says nothing more"
    if isinstance(error, UnicodeError):
        return f"what was given is no text in UTF-8: {said}."
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror[0].lower()}{error.strerror[1:]}."
    return (
        f"something unexpected happened: {type(error).__name__}: {_without_secrets(said)[:500]}. "
        "Run it again with RECALL_DEBUG=1 for the traceback."
    )


def _without_secrets(text: str) -> str:
    """Return `text` without passwords: those of URLs, and the values of secret variables."""
    text = re.sub(r"(://[^:/@\s]*):[^@\s]+@", r"\1:***@", text)
    text = re.sub(r"(?i)(passw\w*|pwd|secret|token|key)(['\"]?\s*[=:]\s*)\S+", r"\1\2***", text)
    return text


def _of_typer(error: Exception) -> bool:
    """Return whether an error is Typer's own way to end a command or to refuse an argument."""
    packages = {each.__module__.partition(".")[0] for each in type(error).mro()}
    return not packages.isdisjoint({"typer", "click"})


def _busy(within: float = 0.0) -> bool:
    """Return whether a thread of `run` still works after `within` seconds."""
    until = time.monotonic() + within
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                return True
    return False


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return new_event_loop


def _open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 on /dev/null where they are closed: libraries write to them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _read_no_more() -> None:
    """Send what is buffered for a closed pipe to /dev/null: Python's last flush would fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


def _leave(code: object) -> None:
    """End the process at once: a model that loads cannot be told to stop."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
