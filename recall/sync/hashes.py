"""What was read, as hashes: 8 bytes tell whether a memory is new, and 8 whether it was edited."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recall.sources.source import Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recall.sources.source import Skipped


class Hashed(NamedTuple):
    """A memory that was read, with the hashes of its key and of all that it says."""

    found: Found
    key: int
    content: int


def hashed(batch: Sequence[Found | Skipped]) -> Iterator[Hashed]:
    """Yield the memories of a batch; times are left out of their hashes, since some are guesses."""
    for item in batch:
        if isinstance(item, Found):
            content = hash(item.memory.model_dump_json(exclude={"created_at"}))
            yield Hashed(item, hash(item.memory.key), content)


class Recent:
    """What the newest so many keys said, by their hashes."""

    def __init__(self, size: int) -> None:
        self._contents: dict[int, int] = {}
        self._size = size

    def get(self, key: int) -> int | None:
        """Return what `key` said last."""
        return self._contents.get(key)

    def put(self, key: int, content: int) -> None:
        """Remember what `key` says, and forget the oldest key beyond the size."""
        self._contents.pop(key, None)
        self._contents[key] = content
        if len(self._contents) > self._size:
            del self._contents[next(iter(self._contents))]


class Hashes:
    """A set of hashes that is written once, at 8 bytes each."""

    def __init__(self, values: array[int] | None = None) -> None:
        values = array("q") if values is None else values
        self._ordered = np.unique(np.frombuffer(values, np.int64))

    def holds(self, values: Sequence[int]) -> list[bool]:
        """Return of each value whether it is in the set."""
        if not len(self._ordered):
            return [False] * len(values)
        asked = np.array(values, np.int64)
        nearest = np.minimum(np.searchsorted(self._ordered, asked), len(self._ordered) - 1)
        held: list[bool] = (self._ordered[nearest] == asked).tolist()
        return held
