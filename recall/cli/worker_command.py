"""`recall worker`: what is queued, indexed beside any number of other workers."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from recall.cli.frame import app, log, read_settings, run


@app.command()
def worker(
    once: Annotated[bool, typer.Option(help="Stop when nothing is due.")] = False,
) -> None:
    """Index queued memories, beside any number of other workers."""
    log()

    async def work() -> None:
        import signal

        from recall.runtime.parts import LOAD, WORK
        from recall.runtime.service import open_service

        async with open_service(read_settings(), LOAD if once else WORK) as service:
            if once:
                typer.echo(f"{await service.worker.drain()} memories indexed")
                return
            ending = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, ending.set)
            logging.getLogger("recall").info("Indexing what is queued, now and from now on")
            await ending.wait()

    run(work())
