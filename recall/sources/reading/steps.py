"""Reading step by step, so that it can stop behind any item and go on there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from recall.sources.reading.rows import Skip
from recall.sources.source import Found, Position, Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from recall.sources.reading.rows import Item


class Step(NamedTuple):
    """The stretch of a source between two positions: a row, or a whole conversation of rows."""

    position: Position  # behind the stretch
    rows: Iterable[Sequence[Item]]


class Bookmark(NamedTuple):
    """A position taken apart: the last step that was read whole, and what was read of the next.

    Of a source with the steps 10, 20 and 30, of three items each:

    | position                                 | what is read next |
    |------------------------------------------|-------------------|
    | None                                     | step 10 |
    | 10                                       | step 20 |
    | {"after": 10, "within": 20, "done": 2}   | the third item of step 20, then step 30 |
    | the same, and step 20 is gone meanwhile  | step 30, of which no item is left out |
    """

    after: Position | None
    within: Position | None = None
    done: int = 0  # items of the step `within`

    @classmethod
    def of(cls, position: Position | None) -> Self:
        """Return a position taken apart."""
        if isinstance(position, dict) and "within" in position:
            return cls(position["after"], position["within"], position["done"])
        return cls(position)

    @property
    def position(self) -> Position | None:
        """The position, as JSON."""
        return self.after if self.within is None else self._asdict()

    @property
    def step(self) -> Position:
        """The last step of which anything was read."""
        return self.after if self.within is None else self.within


def resumed(
    steps: Callable[[Position | None], Iterable[Step]], after: Position | None
) -> Iterator[Found | Skipped]:
    """Yield the items behind the position `after`, each with a position to go on from.

    `steps` yields the steps behind one that was read whole.
    """
    bookmark = Bookmark.of(after)
    before = bookmark.after
    for step in steps(before):
        done = bookmark.done if step.position == bookmark.within else 0
        for number, (item, first, last) in enumerate(_items(step.rows), 1):
            if number > done:
                within = Bookmark(before, step.position, number)
                yield _placed(item, first, step.position if last else within.position)
        before = step.position


def _items(rows: Iterable[Sequence[Item]]) -> Iterator[tuple[Item, bool, bool]]:
    """Yield each item, whether it is the first piece of its row, and whether it is the last."""
    held: tuple[Item, bool] | None = None
    for row in rows:
        for piece, item in enumerate(row):
            if held is not None:
                yield (*held, False)
            held = item, piece == 0
    if held is not None:
        yield (*held, True)


def _placed(item: Item, first: bool, position: Position) -> Found | Skipped:
    if isinstance(item, Skip):
        return Skipped(item.reason, item.where, position, item.detail)
    return Found(item, position, first)


def keys(items: Iterable[Found | Skipped]) -> Iterator[str]:
    """Yield the keys of the memories among `items`."""
    for item in items:
        if isinstance(item, Found) and item.memory.key is not None:
            yield item.memory.key
