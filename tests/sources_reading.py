"""What every test of a source needs: the samples, a whole reading, and small databases."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from recall.contract.values import Message, Note
from recall.sources.source import Found, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recall.sources.source import Source

SHARED = Path(os.environ.get("RECALL_SHARED", Path(__file__).parents[2] / "shared"))


def sample(name: str) -> str:
    """Return the path of a sample, or skip the test where there are none."""
    path = SHARED / "samples" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here; RECALL_SHARED says where the samples are")
    return str(path)


class Reading(NamedTuple):
    """A whole reading: its items, and what the tests ask of them."""

    items: list[Found | Skipped]

    @property
    def memories(self) -> list[Message | Note]:
        return [item.memory for item in self.items if isinstance(item, Found)]

    @property
    def texts(self) -> list[str]:
        return [memory.content for memory in self.memories]

    @property
    def messages(self) -> list[Message]:
        return [memory for memory in self.memories if isinstance(memory, Message)]

    @property
    def rows(self) -> int:
        return sum(isinstance(item, Skipped) or item.row for item in self.items)

    @property
    def skipped(self) -> dict[str, int]:
        return dict(Counter(item.reason for item in self.items if isinstance(item, Skipped)))


def read(source: Source, positions: int = 40) -> Reading:
    """Read all, and prove that reading goes on from any position as if it had never stopped."""
    items = list(source.read())
    assert items == list(source.read()), "a second reading gives the same"
    for k in range(0, len(items), max(1, len(items) // positions)):
        # A position is kept as JSON: what is read back must do.
        position = json.loads(json.dumps(items[k].position, allow_nan=False))
        assert list(source.read(position)) == items[k + 1 :], f"reading goes on behind item {k}"
    keys = [item.memory.key for item in items if isinstance(item, Found)]
    assert all(key and len(key) <= 255 for key in keys)
    assert sorted(source.ids()) == sorted(key for key in keys if key)
    assert all(m.created_at for m in (i.memory for i in items if isinstance(i, Found)))
    reading = Reading(items)
    if source.count() is not None:
        assert source.count() == reading.rows, "rows in the source = found + skipped"
    if items:
        again = source.rewind(items[-1].position)
        assert items[-1] in list(source.read(again)) or again == items[-1].position
    return reading


def database(path: Path, *statements: str, rows: dict[str, Iterable[Any]] | None = None) -> str:
    """Make an SQLite file: run the statements, then insert each row of `rows` into its table."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
        for table, values in (rows or {}).items():
            for row in values:
                marks = ", ".join("?" * len(row))
                connection.execute(f"insert into {table} values ({marks})", tuple(row))
    return str(path)


def counted(path: str, sql: str) -> int:
    """Return the number that a query of an SQLite file gives."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return int(connection.execute(sql).fetchone()[0])
