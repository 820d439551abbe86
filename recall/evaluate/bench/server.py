"""`recall serve` on the scratch database, in a process of its own, asked over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from recall.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import httpx

    from recall.settings import Settings

    Ask = Callable[[str], Awaitable[object]]

LONGEST_START = 180.0
LONGEST_STOP = 20.0
HOST = "127.0.0.1"


@asynccontextmanager
async def served(settings: Settings, clients: int) -> AsyncIterator[Ask | None]:
    """Yield a way to ask the server, or None where httpx is not installed."""
    try:
        import httpx
    except ImportError:
        yield None
        return
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "recall.cli",
        "serve",
        env=_environment(settings, port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}", limits=limits, timeout=60, trust_env=False
        ) as client:
            await _wait(client, process)
            yield _asking(client)
    finally:
        await _stop(process)


def _asking(client: httpx.AsyncClient) -> Ask:
    import httpx

    async def ask(text: str) -> object:
        try:
            answer = await client.post("/recall", json={"query": text})
        except httpx.HTTPError as error:
            raise Unavailable(f"The server does not answer: {error}.") from error
        if answer.status_code != 200:
            raise Unavailable(f"The server answered {answer.status_code}.")
        return answer.content

    return ask


async def _wait(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    import httpx

    async with asyncio.timeout(LONGEST_START):
        while True:
            if process.returncode is not None:
                raise Unavailable("The benchmark's own server did not start.")
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), LONGEST_STOP)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


def _environment(settings: Settings, port: int) -> dict[str, str]:
    """Return the environment that gives another process these settings."""
    given = settings.model_dump(exclude={"database_url", "database_direct_url"}, exclude_none=True)
    given |= {"host": HOST, "port": port, "sample": False, "worker": False}
    own = {f"RECALL_{name.upper()}": str(value) for name, value in given.items()}
    own |= {"DATABASE_URL": settings.direct_url, "DATABASE_DIRECT_URL": settings.direct_url}
    return os.environ | own
