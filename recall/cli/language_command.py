"""`recall language`: by which language a tenant's words are stemmed."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run


@app.command()
def language(
    name: Annotated[str, typer.Argument(help="A Snowball language of Postgres, or simple.")],
    tenant: Tenant = "default",
) -> None:
    """Stem a tenant's words by another language, and queue its memories again."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.indexing.languages import set_language
        from recall.memory import keys
        from recall.runtime.reach import open_database

        async with open_database(read_settings()) as database:
            caller = await keys.known_caller(database, tenant)
            queued = await set_language(database, caller, name)
        typer.echo(f"{queued:,} memories will be indexed again, by `recall serve` or a worker")

    run(work())
