"""`recall chaos`: everything that can happen to a service, and what is lost by it."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from recall.cli.frame import app, log, read_settings


@app.command()
def chaos(
    seconds: Annotated[
        float, typer.Option(min=0, help="How long to make trouble; 0: each kind once.")
    ] = 60,
    seed: Annotated[int | None, typer.Option(help="Which trouble; by chance.")] = None,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many write at once.")] = 4,
    database: Annotated[
        str | None, typer.Option(help="URL of an empty database to use, its network hurt only.")
    ] = None,
    disk: Annotated[bool, typer.Option(help="Fill a small disk, where one can be mounted.")] = True,
    clock: Annotated[bool, typer.Option(help="Turn the clock, by libfaketime.")] = True,
) -> None:
    """Kill, stop, cut off, suspend and fill, under clients that write; then look for what is lost.

    Everything happens to a server of its own, in a temporary folder, or to the network of an empty
    database that is given. Status 1 when anything acknowledged is not as it was said.
    """
    log(logging.ERROR)
    import random

    from recall.chaos.ordeal import Order, run_ordeal
    from recall.cli.chaos_report import print_report

    chosen = random.randrange(1_000_000) if seed is None else seed
    order = Order(seconds, chosen, clients, database, disk, clock)
    typer.echo(order.again())
    report = run_ordeal(read_settings(), order, typer.echo)
    print_report(report)
    if not report.well:
        raise typer.Exit(1)
