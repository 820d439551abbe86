"""Rows read ahead: parsed in a thread while the batch before them is stored."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Self

from recall.sources.source import Found, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

BATCH_ITEMS = 2_000  # in one transaction
BATCH_CHARACTERS = 4_000_000  # in one transaction; the item that crosses this is still included
BATCHES_AHEAD = 4  # read while one is stored: a source gives its rows by pages of several batches


class ReadAhead:
    """Takes rows in a thread of its own, some batches ahead of the one that is stored.

    One thread, because a connection of SQLite may not change threads.
    """

    def __init__(self, rows: Iterator[Found | Skipped]) -> None:
        self._rows = rows
        self._thread = ThreadPoolExecutor(1, "recall-source")
        self._batches: deque[Future[list[Found | Skipped]]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for batch in self._batches:
            batch.cancel()
        if hasattr(self._rows, "close"):
            self._thread.submit(self._rows.close)
        self._thread.shutdown(wait=False)

    async def take(self) -> list[Found | Skipped]:
        """Return the next batch; empty at the end. Raises what reading the source raises."""
        while len(self._batches) < BATCHES_AHEAD:
            self._batches.append(self._thread.submit(self._batch))
        return await asyncio.wrap_future(self._batches.popleft())

    def _batch(self) -> list[Found | Skipped]:
        batch: list[Found | Skipped] = []
        room = BATCH_CHARACTERS
        for item in islice(self._rows, BATCH_ITEMS):
            batch.append(item)
            if isinstance(item, Found):
                room -= len(item.memory.content)
                if room < 0:
                    break
        return batch
