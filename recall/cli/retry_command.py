"""`recall retry`: memories that were given up, queued again."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run


@app.command()
def retry(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]…", help="Which; none: all of the tenant.")
    ] = None,
    tenant: Tenant = "default",
) -> None:
    """Queue memories that were given up again."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.indexing import queue
        from recall.memory import keys
        from recall.runtime.reach import open_database

        async with open_database(read_settings()) as database:
            caller = await keys.known_caller(database, tenant)
            retried = await queue.retry_parked(database, caller, ids or None)
        typer.echo(f"{retried:,} memories will be tried again, by `recall serve` or a worker")

    run(work())
