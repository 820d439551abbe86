"""Commands that read histories kept elsewhere: once, or as they go on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run

if TYPE_CHECKING:
    from datetime import datetime

Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Of the source: assume_tz=Europe/Berlin."),
]
What = Annotated[list[str], typer.Argument(metavar="[SOURCE] FILE_OR_URL", help="What to read.")]


@app.command()
def backfill(
    what: What,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Whose memories that name no user are.")] = None,
    since: Annotated[str | None, typer.Option(help="Skip what is older than this time.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows to read.")] = None,
    option: Options = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read all, store nothing.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    index: Annotated[
        bool, typer.Option(help="Index here; otherwise a running worker does it.")
    ] = True,
    skipped: Annotated[
        Path | None,
        typer.Option(help="File to write skipped rows to; default: RECALL_HOME/skipped/…"),
    ] = None,
) -> None:
    """Store a whole history: an OpenZess database, a JSONL file, and others.

    Can be stopped at any point and run again; what is known is not stored twice.
    """
    log(logging.WARNING)
    name, target = _name_and_target(what)

    async def work() -> None:
        from recall.cli.backfill_run import Order, run, try_out
        from recall.sync.backfill import Wanted

        wanted = Wanted(user, _time(since), limit, strict)
        order = Order(target, name, _given(option), tenant, wanted, index, skipped)
        await (try_out(order) if dry_run else run(read_settings(), order))

    run(work())


@app.command()
def follow(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE] FILE_OR_URL", help="What to follow; none: show those."),
    ] = None,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Whose memories that name no user are.")] = None,
    option: Options = None,
    longest_wait: Annotated[
        float, typer.Option(min=0.5, help="Most seconds between two looks at a quiet server.")
    ] = 900.0,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Tables beside recall's tell when they change.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Let a `recall serve` or worker follow it.")
    ] = False,
    unregister: Annotated[bool, typer.Option("--unregister", help="Follow it no more.")] = False,
    index: Annotated[
        bool, typer.Option(help="Index here; otherwise a running worker does it.")
    ] = True,
) -> None:
    """Follow a history that goes on: what is new, edited and deleted, until Ctrl-C.

    Without an argument the registered sources are listed. A URL with a password is registered as
    '$NAME', the name of an environment variable that holds it.
    """
    log(logging.WARNING)
    name, target = _name_and_target(what or [""])
    if Path(target).exists():
        target = str(Path(target).absolute())  # a worker may run elsewhere

    async def work() -> None:
        from recall.cli import follow_run
        from recall.contract.errors import NotFound
        from recall.sync.register import Followed

        if not what:
            return await follow_run.show(read_settings())
        if unregister:
            if not await follow_run.remove(read_settings(), tenant, target):
                raise NotFound(f"{target} is not registered.")
            return None
        followed = Followed(target, name, _given(option), user, longest_wait, trigger)
        if register:
            return await follow_run.add(read_settings(), tenant, followed)
        return await follow_run.run(read_settings(), tenant, followed, index)

    run(work())


def _name_and_target(what: list[str]) -> tuple[str | None, str]:
    """Return the source's name, if one was given, and its file or URL as recall reads it."""
    from recall.base import urls

    if len(what) > 2:
        raise typer.BadParameter("give a source's name and one file or URL")
    return (what[0] if len(what) == 2 else None), urls.source(what[-1])


def _given(options: list[str] | None) -> dict[str, Any]:
    """Return the source's options by name: true and false are switches, all else is text."""
    pairs = [option.partition("=") for option in options or ()]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise typer.BadParameter(f"--option {name!r} is not NAME=VALUE")
    switches = {"true": True, "false": False}
    return {name: switches.get(value.lower(), value) for name, _, value in pairs}


def _time(text: str | None) -> datetime | None:
    from recall.sources.reading.clock import instant

    found = instant(text)
    if text is not None and found is None:
        raise typer.BadParameter(
            f"--since {text!r} is no time such as 2026-01-31 or 2026-01-31T12:00Z"
        )
    return found
