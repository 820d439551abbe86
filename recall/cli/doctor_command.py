"""`recall doctor`: what is lost or wrong in a database, and how it is put right."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from recall.cli.frame import app, log, read_settings, run

if TYPE_CHECKING:
    from recall.indexing.doctor import Finding


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Put right what is wrong.")] = False,
) -> None:
    """Look for what is lost or wrong in the database; status 1 when something stays so."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.indexing import graph
        from recall.indexing.doctor import examine
        from recall.runtime.reach import open_database
        from recall.schema import migrate as migration

        settings = read_settings()
        async with open_database(settings, migration.known) as database:
            findings = await examine(database, fix)
            _show(findings)
            built = await graph.examine_graph(database, settings, fix)
            _show([built])
        if any(finding.found and not finding.repaired for finding in (*findings, built)):
            raise typer.Exit(1)

    run(work())


def _show(findings: list[Finding]) -> None:
    """Print a line a check."""
    for finding in findings:
        state = "ok" if not finding.found else "fixed" if finding.repaired else "WRONG"
        typer.echo(f"{state:<6} {finding.found:>8,}  {finding.counts}")
