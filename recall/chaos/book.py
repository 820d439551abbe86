"""What clients asked for and what they were answered: what must be true when all is healed.

A card is a memory that one client alone writes. It holds what the memory may be now: a text, or
None where it may not be there. Before a request the wish is added; an answer leaves what was
acknowledged; without an answer both stay possible. Who got none cannot know when the request will
take effect, so nothing is asked of that card again but the same.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

#: What a card may be besides a text.
ABSENT = None


@dataclass
class Card:
    """A memory as its client knows it. `mark` is the first word of every text it was given."""

    mark: str
    kind: str
    key: str | None
    session: str | None
    user: str
    may: set[str | None] = field(default_factory=lambda: {ABSENT})
    id: int | None = None
    answered: bool = True
    edits: int = 0

    def wish(self, text: str | None) -> None:
        """A request that would make it `text` goes out."""
        self.may.add(text)

    def granted(self, text: str | None) -> None:
        """The request was acknowledged."""
        self.may = {text}

    def unanswered(self) -> None:
        """Nobody knows whether the request took effect, or when it will."""
        self.answered = False

    @property
    def kept(self) -> bool:
        """Whether it is certainly there, and nothing about it is open."""
        return self.answered and self.id is not None and ABSENT not in self.may


@dataclass(frozen=True)
class Row:
    """A memory as the database has it."""

    id: int
    key: str | None
    content: str

    @property
    def mark(self) -> str:
        """The first word of its text: whose card it is."""
        return self.content.partition(" ")[0]


class Book:
    """The cards of all clients, how their requests ended, and answers that cannot be true."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cards: list[Card] = []
        self.outcomes: Counter[str] = Counter()
        self.longest = 0.0  # seconds that a client waited
        self.faults: Counter[str] = Counter()
        self.wrong_answers: list[str] = []

    def open(self, card: Card) -> Card:
        """Write down a new card."""
        with self._lock:
            self.cards.append(card)
        return card

    def count(self, outcome: str, seconds: float) -> None:
        """Count how a request ended, and remember the longest wait."""
        with self._lock:
            self.outcomes[outcome] += 1
            self.longest = max(self.longest, seconds)

    def accuse(self, sentence: str) -> None:
        """Write down an answer that contradicts an earlier one."""
        with self._lock:
            self.wrong_answers.append(sentence)

    def differences(self, rows: list[Row]) -> dict[str, list[str]]:
        """Return by kind what the database has other than it must."""
        found: dict[str, list[Row]] = {}
        for row in rows:
            found.setdefault(row.mark, []).append(row)
        wrong: dict[str, list[str]] = {
            name: [] for name in ("lost", "stored twice", "back though erased", "not as last said")
        }
        for card in self.cards:
            there = found.pop(card.mark, [])
            if len(there) > 1:
                wrong["stored twice"].append(f"{card.mark}: ids {[row.id for row in there]}")
            elif not there and ABSENT not in card.may:
                wrong["lost"].append(f"{card.mark}, acknowledged as {card.id}")
            elif there and card.may == {ABSENT}:
                wrong["back though erased"].append(card.mark)
            elif there and not _fits(card, there[0]):
                wrong["not as last said"].append(f"{card.mark}: {there[0].content[:60]!r}")
        wrong["of nobody"] = sorted(found)
        wrong["answers that cannot be true"] = self.wrong_answers
        return wrong


def _fits(card: Card, row: Row) -> bool:
    return row.content in card.may and row.key == card.key and card.id in {None, row.id}
