"""`recall migrate`: the database's schema, brought to this version's."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from recall.cli.frame import app, log, read_settings, run


@app.command()
def migrate(
    status: Annotated[bool, typer.Option("--status", help="Only show what is applied.")] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Drop the functions of other versions: none may run."),
    ] = False,
) -> None:
    """Bring the database's schema to this version's, and make again what a restore lost."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.runtime.reach import reached
        from recall.schema import migrate as migration

        async with reached(read_settings(), writes=not status) as address:
            if status:
                files = await asyncio.to_thread(migration.status, address.direct)
                lines = [f"{'applied' if f.applied else 'pending'}  {f.name}" for f in files]
            else:
                names = await asyncio.to_thread(migration.migrate, address.direct)
                lines = [f"applied  {name}" for name in names]
                lines += await asyncio.to_thread(migration.prune, address.direct) if prune else []
        typer.echo("\n".join(lines) or "nothing to apply")

    run(work())
