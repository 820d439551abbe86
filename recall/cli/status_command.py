"""`recall status`: how much is remembered, what waits, and what was given up."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@app.command()
def status(
    tenant: Tenant = "default",
    failed: Annotated[
        bool, typer.Option("--failed", help="List the memories that were given up, and why.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show how much is remembered, how much of it waits, and on what it runs."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.indexing import profiles, queue
        from recall.memory import keys
        from recall.runtime.reach import open_database
        from recall.runtime.status import read_status
        from recall.schema import migrate as migration

        async with open_database(read_settings(), migration.check) as database:
            caller = await keys.known_caller(database, tenant)
            if failed:
                return await _list_failed(queue.all_parked(database, caller), as_json)
            figures = await read_status(database, caller, await profiles.active_profile(database))
        if as_json:
            typer.echo(json.dumps(figures, indent=2))
        else:
            from recall.cli.terminal import print_status

            print_status(figures)

    run(work())


async def _list_failed(rows: AsyncIterator[dict[str, Any]], as_json: bool) -> None:
    """Print what was given up, a line each: its id, what it is, how it begins, and why."""
    count = 0
    async for row in rows:
        count += 1
        if as_json:
            typer.echo(json.dumps(row, default=str))
        else:
            begins = " ".join(row["begins"].split())[:60]
            typer.echo(f"{row['id']}\t{row['kind']}\t{begins}\t{row['error']}")
    if not (count or as_json):
        typer.echo("No memory was given up.")
