"""`recall serve`: HTTP, with a worker inside."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from recall.cli.frame import app, log, read_settings, run

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from recall.base.settings import Settings

#: Seconds that requests under way have to be answered when the service is told to stop.
ANSWERS = 2


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on.")] = None,
) -> None:
    """Serve HTTP, with a worker inside."""
    log()

    async def work() -> None:
        from recall.runtime.listening import bound

        settings = read_settings(host=host, port=port)
        with bound(settings.host, settings.port) as sockets:
            await _serve(settings, sockets)

    run(work())


async def _serve(settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve on bound sockets until the process is told to stop."""
    import signal

    import uvicorn

    from recall.api import Connection, create_app, running
    from recall.runtime.listening import address, listen

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=Connection,
        lifespan="off",  # opened here, so that a refusal is one sentence
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=ANSWERS,
    )
    server = uvicorn.Server(config)
    async with running(app, settings):
        # uvicorn takes signals while it serves, and raises the one that stopped it once more when
        # it ends: these handlers catch it, for the close of `running` is still to come.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(
                number, setattr, server, "should_exit", True
            )
        listen(settings.host, sockets)
        logging.getLogger("recall").info("Serving on %s", address(settings.host, sockets[0]))
        server.handle_exit = partial(  # type: ignore[method-assign]
            _leave, app.state.service.worker.stop, server.handle_exit
        )
        await server.serve(sockets)


def _leave(
    stop: Callable[[], None],
    leave: Callable[[int, FrameType | None], None],
    number: int,
    frame: FrameType | None,
) -> None:
    """Let the worker give back what it holds while the last requests are answered."""
    stop()
    leave(number, frame)
