"""Commands that look after a database: its schema, its state, its index, its language."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from recall.indexing.doctor import Finding


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
        from recall.runtime.service import reached
        from recall.schema import migrate as migration

        async with reached(read_settings(), writes=not status) as place:
            if status:
                files = await asyncio.to_thread(migration.status, place.direct)
                lines = [f"{'applied' if f.applied else 'pending'}  {f.name}" for f in files]
            else:
                names = await asyncio.to_thread(migration.migrate, place.direct)
                lines = [f"applied  {name}" for name in names]
                lines += await asyncio.to_thread(migration.prune, place.direct) if prune else []
        typer.echo("\n".join(lines) or "nothing to apply")

    run(work())


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
        from recall.runtime.service import open_database
        from recall.runtime.status import status as read
        from recall.schema import migrate as migration

        async with open_database(read_settings(), migration.check) as database:
            caller = await keys.known_caller(database, tenant)
            if failed:
                return await _list_failed(queue.all_parked(database, caller), as_json)
            found = await read(database, caller, await profiles.active(database))
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            from recall.cli.terminal import print_status

            print_status(found)

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
        from recall.runtime.service import open_database

        async with open_database(read_settings()) as database:
            caller = await keys.known_caller(database, tenant)
            retried = await queue.retry(database, caller, ids or None)
        typer.echo(f"{retried:,} memories will be tried again, by `recall serve` or a worker")

    run(work())


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Put right what is wrong.")] = False,
) -> None:
    """Look for what is lost or wrong in the database; status 1 when something stays so."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.indexing import graph
        from recall.indexing.doctor import examine
        from recall.runtime.service import open_database
        from recall.schema import migrate as migration

        settings = read_settings()
        async with open_database(settings, migration.known) as database:
            findings = await examine(database, fix)
            _show(findings)
            built = await graph.examine(database, settings, fix)
            _show([built])
        if any(finding.found and not finding.repaired for finding in (*findings, built)):
            raise typer.Exit(1)

    run(work())


def _show(findings: list[Finding]) -> None:
    """Print a line a check."""
    for finding in findings:
        state = "ok" if not finding.found else "fixed" if finding.repaired else "WRONG"
        typer.echo(f"{state:<6} {finding.found:>8,}  {finding.counts}")


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
        from recall.runtime.service import open_database

        async with open_database(read_settings()) as database:
            caller = await keys.known_caller(database, tenant)
            queued = await set_language(database, caller, name)
        typer.echo(f"{queued:,} memories will be indexed again, by `recall serve` or a worker")

    run(work())
