"""Writing a batch of a source's memories, inside the unit that keeps the position behind it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.base.queries import query
from recall.contract.values import Message, Note
from recall.database.fetching import fetch_values
from recall.memory.memories import store_messages, store_notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from recall.contract.values import Stored
    from recall.database.units import Connection


class Written(NamedTuple):
    """The keys of the memories that were stored, and of those that were changed."""

    stored: AbstractSet[str]
    changed: AbstractSet[str]

    def fate(self, key: str) -> str:
        """Return what became of the memory `key`: "stored", "changed" or "known"."""
        if key in self.stored:
            return "stored"
        return "changed" if key in self.changed else "known"


def owned(memories: Sequence[Message | Note], user: str | None) -> list[Message | Note]:
    """Return `memories` as those of `user`, but for what names a user itself."""
    if user is None:
        return list(memories)
    return [
        memory if memory.user_id is not None else memory.model_copy(update={"user_id": user})
        for memory in memories
    ]


async def write_memories(
    connection: Connection, source: int, memories: Iterable[Message | Note], lane: int
) -> Written:
    """Store memories that are new and change those that differ; return the keys of both.

    Of a key that comes twice the last memory counts, as it would in two batches.
    """
    last = {memory.key: memory for memory in memories}.values()
    messages = [memory for memory in last if isinstance(memory, Message)]
    notes = [memory for memory in last if isinstance(memory, Note)]
    stored, changed = set[str](), set[str]()

    async def settle(kind: str, memories: Sequence[Message | Note], done: Stored) -> None:
        outcomes = list(zip(memories, done.new, done.differs, strict=True))
        stored.update(memory.key or "" for memory, is_new, _ in outcomes if is_new)
        differing = [memory for memory, _, differs in outcomes if differs]
        if differing:
            changed.update(await _change(connection, _columns(differing, kind, source, lane)))

    if messages:
        await settle("message", messages, await store_messages(connection, messages, lane, source))
    if notes:
        await settle("note", notes, await store_notes(connection, notes, lane, source))
    return Written(stored, changed)


async def _change(connection: Connection, values: Mapping[str, Any]) -> set[str]:
    return set(await fetch_values(connection, query("change_memories"), values))


def _columns(
    memories: Sequence[Message | Note], kind: str, source: int, lane: int
) -> dict[str, Any]:
    return {
        "keys": [m.key for m in memories],
        "contents": [m.content for m in memories],
        "titles": [getattr(m, "title", None) for m in memories],
        "categories": [getattr(m, "category", None) for m in memories],
        "roles": [getattr(m, "role", None) for m in memories],
        "authors": [getattr(m, "author", None) for m in memories],
        "metadata": [json.dumps(m.metadata) for m in memories],
        "source": source,
        "kind": kind,
        "lane": lane,
    }
