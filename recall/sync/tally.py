"""What became of the rows of a source, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from recall.sources.reason import Reason
from recall.sources.source import Skipped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recall.sources.source import Found
    from recall.sync.store import Written


@dataclass(frozen=True)
class Tally:
    """What became of the rows read so far: read = stored + changed + known + skipped.

    A row that was too long for one memory is one row; what became of its first piece counts.
    """

    stored: int = 0
    changed: int = 0
    known: int = 0
    #: Rows by the word of their Reason.
    skipped: Mapping[str, int] = field(default_factory=dict)
    #: Memories stored or changed, the pieces of long rows one by one.
    memories: int = 0

    @property
    def read(self) -> int:
        """Rows read."""
        return self.stored + self.changed + self.known + sum(self.skipped.values())

    @property
    def listed(self) -> int:
        """Skipped rows that are reported one by one: all but those that are merely too old."""
        return sum(count for reason, count in self.skipped.items() if reason != Reason.TOO_OLD)

    def with_batch(self, batch: Sequence[Found | Skipped], written: Written) -> Tally:
        """Return the tally with a batch more, and with what became of its memories."""
        skipped, rows = Counter[str](self.skipped), Counter[str]()
        counted = set[str]()  # a key that comes twice in a batch is the same memory: stored once
        for item in batch:
            if isinstance(item, Skipped):
                skipped[item.reason.value] += 1
            elif item.row:
                key = item.memory.key or ""
                rows["known" if key in counted else written.fate(key)] += 1
                counted.add(key)
        return replace(
            self,
            stored=self.stored + rows["stored"],
            changed=self.changed + rows["changed"],
            known=self.known + rows["known"],
            skipped=dict(skipped),
            memories=self.memories + len(written.stored) + len(written.changed),
        )
