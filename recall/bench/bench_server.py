"""`recall serve` on the scratch database, in a process of its own, asked over a real socket.

The client shares the server's cores, so it must be a cheap one: aiohttp's parser is C, and a
question costs it 0.1 ms, where httpx takes 1.4.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from recall.contract.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aiohttp

    from recall.base.settings import Settings

    Ask = Callable[[str], Awaitable[object]]

LONGEST_ANSWER = 60.0
LONGEST_START = 180.0
LONGEST_STOP = 20.0
HOST = "127.0.0.1"


@asynccontextmanager
async def served(settings: Settings, clients: int) -> AsyncIterator[Ask | None]:
    """Yield a way to ask the server, or None where aiohttp is not installed.

    Raises Unavailable when the server does not start; asking raises it too.
    """
    try:
        import aiohttp
    except ImportError:
        yield None
        return
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "recall",
        "serve",
        env=_environment(settings, port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession(
            f"http://{HOST}:{port}",
            connector=aiohttp.TCPConnector(limit=clients),
            timeout=aiohttp.ClientTimeout(total=LONGEST_ANSWER),
        ) as client:
            await _wait(client, process)
            yield _asking(client)
    finally:
        await _stop(process)


def _asking(client: aiohttp.ClientSession) -> Ask:
    import aiohttp

    async def ask(text: str) -> object:
        try:
            async with client.post("/recall", json={"query": text}) as answer:
                if answer.status != 200:
                    raise Unavailable(f"The server answered {answer.status}.")
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"The server does not answer: {error}.") from error

    return ask


async def _wait(client: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
    import aiohttp

    async with asyncio.timeout(LONGEST_START):
        while True:
            if process.returncode is not None:
                raise Unavailable("The benchmark's own server did not start.")
            try:
                async with client.get("/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
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
