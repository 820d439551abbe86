"""What every command stands in: the application, its settings, its log, and one way to run."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from recall.errors import RecallError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from recall.settings import Settings

app = typer.Typer(
    help="Find any message or note of an agent again, by meaning and by words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Tenant = Annotated[str, typer.Option(help="Whose memories.")]


def read_settings(**overrides: Any) -> Settings:
    """Return the settings, those given on the command line before the environment's."""
    from recall.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    return Settings.load(**given)


def log(level: int = logging.INFO) -> None:
    """Write what recall says to standard error, from `level` on."""
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for library in ("httpx", "sentence_transformers", "psycopg.pool"):
        logging.getLogger(library).setLevel(logging.WARNING)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; what recall can explain ends with its sentence and status 1."""
    try:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            runner.run(work)
    except RecallError as error:
        fail(error)


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop
    return new_event_loop


def fail(error: RecallError) -> NoReturn:
    """End the command with the error's sentence and status 1."""
    typer.secho(f"recall: {error}", err=True, fg="red")
    raise typer.Exit(1)
