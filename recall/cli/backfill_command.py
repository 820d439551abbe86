"""`recall backfill`: a history that is kept elsewhere, stored as a whole."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run
from recall.cli.source_arguments import Options, name_and_target, options_by_name

if TYPE_CHECKING:
    from datetime import datetime


@app.command()
def backfill(
    given: Annotated[
        list[str], typer.Argument(metavar="[SOURCE] FILE_OR_URL", help="What to read.")
    ],
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
    name, target = name_and_target(given)

    async def work() -> None:
        from recall.cli.backfill_run import BackfillRequest, run_backfill, try_reading
        from recall.sync.backfill import Terms

        terms = Terms(user, _time(since), limit, strict)
        request = BackfillRequest(
            target, name, options_by_name(option), tenant, terms, index, skipped
        )
        await (try_reading(request) if dry_run else run_backfill(read_settings(), request))

    run(work())


def _time(text: str | None) -> datetime | None:
    from recall.sources.reading.clock import instant

    at = instant(text)
    if text is not None and at is None:
        raise typer.BadParameter(
            f"--since {text!r} is no time such as 2026-01-31 or 2026-01-31T12:00Z"
        )
    return at
