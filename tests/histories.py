"""Histories for a backfill: made ones, that break where they are told to, and what is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from strategies import SENTENCES, SESSIONS, START

from recall.contract.values import Message, Note
from recall.sources.reason import Reason
from recall.sources.source import Found, Skipped
from recall.sources.system import System

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from recall.database.caller import Caller
    from recall.sources.source import Source
    from recall.sync.tally import Tally


class Torn(Exception):
    """The source broke."""


class History:
    """A source made of a list; it breaks before row `breaks_at`."""

    system = System(name="made", opens="")

    def __init__(self, rows: int, origin: str = "here", breaks_at: int | None = None) -> None:
        self.origin = origin
        self._rows = rows
        self.breaks_at = breaks_at

    def read(self, after: Any = None) -> Iterator[Found | Skipped]:
        for n in range(after or 0, self._rows):
            if n == self.breaks_at:
                raise Torn(n)
            yield self._row(n)

    def _row(self, n: int) -> Found | Skipped:
        if n % 7 == 3:
            return Skipped(Reason.EMPTY if n % 2 else Reason.NO_TEXT, f"row {n}", n + 1)
        if n % 11 == 5:
            return Found(Note(content=f"note {n}", key=f"made:{n}"), n + 1)
        # Every thirteenth row tells an earlier one again.
        told = n - 2 if n % 13 == 12 else n
        text = f"{SENTENCES[told % len(SENTENCES)]} ({told})"
        message = Message(
            session_id=SESSIONS[told % 3],
            role="user",
            content=text,
            key=f"made:{told}",
            created_at=START,
        )
        return Found(message, n + 1)

    def count(self) -> int:
        return self._rows

    def rewind(self, position: Any) -> Any:
        return position

    def fingerprint(self) -> None:
        return None

    def ids(self) -> Iterator[str]:
        return iter(())


class Tearing:
    """A source that breaks behind its first `whole` items, counted from where reading begins."""

    def __init__(self, source: Source, whole: int) -> None:
        self.system, self.origin = source.system, source.origin
        self.count, self.rewind = source.count, source.rewind
        self.fingerprint, self.ids = source.fingerprint, source.ids
        self._source = source
        self._whole = whole

    def read(self, after: Any = None) -> Iterator[Found | Skipped]:
        for number, item in enumerate(self._source.read(after)):
            if number == self._whole:
                raise Torn(number)
            yield item


class Told:
    """A source of memories by key, told in order; a position is how many were told."""

    system, origin = System(name="told", opens=""), "here"

    def __init__(self, *items: Found | Skipped) -> None:
        self.items = items

    def read(self, after: Any = None) -> Iterator[Found | Skipped]:
        return iter(self.items[after or 0 :])

    def count(self) -> int:
        return sum(isinstance(item, Skipped) or item.row for item in self.items)

    def rewind(self, position: Any) -> Any:
        return position

    def fingerprint(self) -> None:
        return None

    def ids(self) -> Iterator[str]:
        return (item.memory.key or "" for item in self.items if isinstance(item, Found))


def stored(owner: psycopg.Connection[Any], caller: Caller) -> list[Any]:
    """Return every memory row by row, without what a second run may number differently."""
    return owner.execute(
        "select m.key, m.kind, s.key, s.title, s.last_at, m.role, m.author, m.user_id, m.title,"
        " m.category, m.content, m.metadata, case m.kind when 'message' then m.created_at end,"
        " m.source_id is not null, j.lane, j.attempts"
        " from memory as m left join session as s on s.id = m.session_id"
        " left join job as j on j.memory_id = m.id where m.tenant_id = %s order by m.key",
        [caller.tenant],
    ).fetchall()


def reconciles(tally: Tally, rows: int) -> bool:
    """Return whether every row of the source became one of three."""
    return tally.read == tally.stored + tally.known + sum(tally.skipped.values()) == rows


def lines_of(path: Path) -> Path:
    """Write a history in recall's own form: 300 messages, a note and a bad line."""
    rows = [
        {"type": "message", "session_id": f"s{n % 5}", "role": "user", "key": f"k{n}",
         "content": f"{SENTENCES[n % len(SENTENCES)]} {n}", "created_at": START.isoformat()}
        for n in range(300)
    ]  # fmt: skip
    rows.append(
        {"type": "note", "content": "a note", "key": "note", "created_at": START.isoformat()}
    )
    text = "\n".join(json.dumps(row) for row in rows)
    path.write_text(f"{text}\nnot json\n", encoding="utf-8")
    return path
