"""Commands that stay: the service and its workers."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from recall.cli.frame import app, log, read_settings, run


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on.")] = None,
) -> None:
    """Serve HTTP, with a worker inside."""
    log()

    async def work() -> None:
        import signal

        import uvicorn

        from recall.api import create_app, running

        settings = read_settings(host=host, port=port)
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            lifespan="off",  # opened here, so that a refusal is one sentence
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=10,
        )
        async with running(app, settings):
            # Uvicorn raises again the signal that stopped it; an orderly close is still to come.
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, lambda: None)
            await uvicorn.Server(config).serve()

    run(work())


@app.command()
def worker(
    once: Annotated[bool, typer.Option(help="Stop when nothing is due.")] = False,
) -> None:
    """Index queued memories, beside any number of other workers."""
    log()

    async def work() -> None:
        import signal

        from recall.runtime import duties
        from recall.service import open_service

        async with open_service(read_settings()) as service:
            if once:
                typer.echo(f"{await service.worker.drain()} memories indexed")
                return
            told = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, told.set)
            async with duties(service, alone=True):
                await told.wait()

    run(work())
