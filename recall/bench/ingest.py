"""How fast a history is stored and queued, beside a bare COPY of the same rows."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from recall.bench.figures import Ingest, figure
from recall.bench.floors import plain_connection
from recall.bench.load import InMemory, store
from recall.memory import keys
from recall.sources.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recall.bench.figures import Figure
    from recall.bench.load import Loaded
    from recall.contract.values import Message
    from recall.runtime.service import Service

ROUNDS = 3
MOST_ROWS = 20_000  # a round
COLUMNS = ("text", "text", "text", "text", "text", "timestamptz")


async def measure_ingest(service: Service, messages: Sequence[Message], loaded: Loaded) -> Ingest:
    """Return the rates of storing `messages`, and of indexing what was `loaded` before.

    Each round stores into a tenant of its own, in a database that is thrown away.
    """
    parsed, bare, read = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "messages.jsonl"
        file.write_text("".join(_line(message) for message in messages), encoding="utf-8")
        for turn in range(ROUNDS):
            callers = [await keys.caller_of(service.database, f"{turn}/{n}") for n in range(2)]
            parsed.append(await store(service, callers[0], InMemory(f"{turn}", messages)))
            bare.append(copy_bare(service, messages))
            read.append(await store(service, callers[1], open_source(str(file), "jsonl")))
    rows = len(messages)
    stored, floor, with_reading = (rows / median(seconds) for seconds in (parsed, bare, read))
    against = "binary COPY, same rows, no index"
    return Ingest(
        rows,
        figure(stored, floor, "rows/s", against),
        figure(with_reading, floor, "rows/s", against),
        loaded.rows,
        indexed(loaded),
    )


def indexed(loaded: Loaded) -> Figure:
    """Return the rate of indexing as a share of the engine's own."""
    against = "the engine alone, same texts"
    return figure(loaded.indexed_per_second, loaded.bare_per_second, "memories/s", against)


def copy_bare(service: Service, messages: Sequence[Message]) -> float:
    """Copy the rows into a bare table; return the seconds, the commit included."""
    rows = [(m.session_id, m.role, m.author, m.key, m.content, m.created_at) for m in messages]
    with plain_connection(service) as connection:
        connection.execute(
            "create table bare (session text, role text, author text, key text, content text,"
            " created_at timestamptz)"
        )
        begun = time.perf_counter()
        with (
            connection.cursor() as cursor,
            cursor.copy("copy bare from stdin (format binary)") as to,
        ):
            to.set_types(COLUMNS)
            for row in rows:
                to.write_row(row)
        took = time.perf_counter() - begun
        connection.execute("drop table bare")
    return took


def _line(message: Message) -> str:
    value = message.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return json.dumps({"type": "message"} | value, ensure_ascii=False) + "\n"
