"""The clients' record of requests and answers, from which follows what must be true in the end.

A card is a memory that one client alone writes. It holds every state that the memory may be in: a
text, or None where it may not be there. A request adds the state that it asks for; its answer
leaves the acknowledged state alone; without an answer both stay possible. A request without an
answer may take effect at any later time, so its client sends nothing else about that card.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

#: What a card may be besides a text.
ABSENT = None


@dataclass
class Card:
    """A memory as its client knows it. `tag` is the first word of every text it was given."""

    tag: str
    kind: str
    key: str | None
    session: str | None
    user: str
    may: set[str | None] = field(default_factory=lambda: {ABSENT})
    id: int | None = None
    answered: bool = True
    edits: int = 0

    def wish(self, text: str | None) -> None:
        """Add the state that a request, about to be sent, asks for."""
        self.may.add(text)

    def granted(self, text: str | None) -> None:
        """Leave the state that was acknowledged."""
        self.may = {text}

    def unanswered(self) -> None:
        """Remember that a request has no answer: it may take effect later, or never."""
        self.answered = False

    @property
    def kept(self) -> bool:
        """Whether the memory is certainly there, and no request about it is open."""
        return self.answered and self.id is not None and ABSENT not in self.may


@dataclass(frozen=True)
class Row:
    """A memory as the database has it."""

    id: int
    key: str | None
    content: str

    @property
    def tag(self) -> str:
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
        rows_of: dict[str, list[Row]] = {}
        for row in rows:
            rows_of.setdefault(row.tag, []).append(row)
        wrong: dict[str, list[str]] = {
            name: [] for name in ("lost", "stored twice", "back though erased", "not as last said")
        }
        for card in self.cards:
            there = rows_of.pop(card.tag, [])
            if len(there) > 1:
                wrong["stored twice"].append(f"{card.tag}: ids {[row.id for row in there]}")
            elif not there and ABSENT not in card.may:
                wrong["lost"].append(f"{card.tag}, acknowledged as {card.id}")
            elif there and card.may == {ABSENT}:
                wrong["back though erased"].append(card.tag)
            elif there and not _fits(card, there[0]):
                wrong["not as last said"].append(f"{card.tag}: {there[0].content[:60]!r}")
        wrong["of nobody"] = sorted(rows_of)
        wrong["answers that cannot be true"] = self.wrong_answers
        return wrong


def _fits(card: Card, row: Row) -> bool:
    return row.content in card.may and row.key == card.key and card.id in {None, row.id}
