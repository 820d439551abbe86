"""Clients that write, edit and erase by turns, and write down what they were answered."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from recall.chaos.book import ABSENT, Book, Card

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds that a client waits for an answer: longer than the service may take.
PATIENCE = 20.0
#: Seconds between two requests of a client, on average.
PACE = 0.1
WORDS = [
    *("lamp", "boat", "river", "garden", "letter", "engine", "winter", "bridge", "coffee"),
    *("ticket", "harbour", "violin", "mountain", "invoice", "kitchen", "planet", "orange"),
    *("window", "station", "feather", "marble", "island", "copper", "candle", "meadow"),
]


class Answered(NamedTuple):
    """What a service answered: a status of HTTP, and the JSON.

    Without an answer the status is UNSENT, when the request cannot have arrived, or UNANSWERED.
    """

    status: int
    body: Any = None


UNSENT, UNANSWERED = 0, -1


class Endpoint:
    """One `recall serve`, asked over a connection of each request's own."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, method: str, path: str, body: Any = None, patience: float = PATIENCE) -> Answered:
        """Send a request and return the answer; never raises."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=patience)
        try:
            connection.connect()
        except OSError:
            return Answered(UNSENT)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            return Answered(answer.status, json.loads(answer.read() or b"null"))
        except (OSError, http.client.HTTPException, ValueError):
            return Answered(UNANSWERED)
        finally:
            connection.close()


class Client:
    """One client: its requests follow from its seed, their outcomes from the faults meanwhile."""

    def __init__(
        self,
        number: int,
        seed: int,
        services: Sequence[Endpoint],
        book: Book,
        stop: threading.Event,
    ) -> None:
        self._name = f"c{number}"
        self._random = random.Random(f"{seed}-{number}")
        self._services = services
        self._book = book
        self._stop = stop
        self._cards: list[Card] = []
        self._sessions = self._users = 0
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the client's last request is over."""
        self._thread.join()

    def _run(self) -> None:
        acts = (
            (self._post_messages, 50),
            (self._post_note, 15),
            (self._edit, 20),
            (self._erase, 15),
            (self._erase_session, 2),
            (self._erase_user, 2),
            (self._question, 10),
        )
        while not self._stop.is_set():
            (act,) = self._random.choices([a for a, _ in acts], [w for _, w in acts])
            act()
            self._stop.wait(self._random.uniform(0, 2 * PACE))

    # -- what it does -----------------------------------------------------------------------------

    def _post_messages(self) -> None:
        keyed = self._random.random() < 0.7
        session = f"{self._name}-s{self._sessions}"
        cards = [
            self._new("message", keyed, session) for _ in range(self._random.choice([1, 1, 1, 4]))
        ]
        self._post("/messages", "messages", cards)

    def _post_note(self) -> None:
        self._post("/notes", "notes", [self._new("note", self._random.random() < 0.7, None)])

    def _post(self, path: str, name: str, cards: list[Card]) -> None:
        texts = [self._text(card) for card in cards]
        body = {name: [_given(card, text) for card, text in zip(cards, texts, strict=True)]}
        for card, text in zip(cards, texts, strict=True):
            card.wish(text)
        while True:
            answer = self._ask("POST", path, body)
            if answer.status == 202:
                for card, text, id in zip(cards, texts, answer.body["ids"], strict=True):
                    card.id = id
                    card.granted(text)
                return
            if 400 <= answer.status < 500:
                return self._book.accuse(f"POST {path} is refused: {answer.body}")
            if answer.status == UNANSWERED:
                for card in cards:
                    card.unanswered()
            # The same key twice is the same memory: with keys a request may be sent again.
            if (cards[0].key is None and answer.status != UNSENT) or self._stop.wait(0.3):
                return

    def _edit(self) -> None:
        if card := self._any(kind="note"):
            text = self._text(card)
            body = {"content": text, "user_id": card.user}
            self._change([card], text, "PUT", f"/notes/{card.id}", body)

    def _erase(self) -> None:
        if card := self._any():
            self._change([card], ABSENT, "DELETE", f"/{card.kind}s/{card.id}")

    def _erase_session(self) -> None:
        session = f"{self._name}-s{self._sessions}"
        self._sessions += 1  # nothing is said there any more
        cards = [card for card in self._cards if card.session == session]
        self._erase_all(cards, f"/sessions/{quote(session)}")

    def _erase_user(self) -> None:
        user = f"{self._name}-u{self._users}"
        self._users += 1
        self._sessions += 1  # a user may be the only one of a session
        cards = [card for card in self._cards if card.user == user]
        self._erase_all(cards, f"/users/{quote(user)}")

    def _erase_all(self, cards: list[Card], path: str) -> None:
        """Erase cards by one request, unless an earlier one about any of them has no answer yet."""
        if cards and all(card.answered for card in cards):
            self._change(cards, ABSENT, "DELETE", path)

    def _change(
        self, cards: list[Card], text: str | None, method: str, path: str, body: Any = None
    ) -> None:
        before = {card.tag: set(card.may) for card in cards}
        certain = sum(card.kept for card in cards)
        for card in cards:
            card.wish(text)
        status, said = self._ask(method, path, body)
        done = said.get("deleted", 1) if status in {200, 202} else 0
        if status in {200, 202, 404} and done < certain:
            self._book.accuse(f"{method} {path}: of {certain} acknowledged, {status} {said}")
        for card in cards:
            if status in {200, 202, 404}:
                card.granted(text if status != 404 else ABSENT)
            elif status == UNSENT:
                card.may = before[card.tag]
            elif status == UNANSWERED:
                card.unanswered()

    def _question(self) -> None:
        self._ask("POST", "/recall", {"query": self._random.choice(WORDS), "limit": 3})

    # -- with what --------------------------------------------------------------------------------

    def _new(self, kind: str, keyed: bool, session: str | None) -> Card:
        tag = f"{self._name}x{len(self._cards)}"
        card = Card(tag, kind, tag if keyed else None, session, f"{self._name}-u{self._users}")
        self._cards.append(card)
        return self._book.open(card)

    def _any(self, kind: str | None = None) -> Card | None:
        """Return a card whose memory is certainly there, None when there is none."""
        cards = [card for card in self._cards if card.kept and kind in {None, card.kind}]
        return self._random.choice(cards) if cards else None

    def _text(self, card: Card) -> str:
        card.edits += 1
        words = self._random.choices(WORDS, k=self._random.choice([4, 12, 40]))
        return f"{card.tag} take {card.edits} {' '.join(words)}"

    def _ask(self, method: str, path: str, body: Any = None) -> Answered:
        began = time.monotonic()
        answer = self._random.choice(self._services).ask(method, path, body)
        named = {UNSENT: "refused", UNANSWERED: "no answer"}
        outcome = f"{method} {named.get(answer.status, answer.status)}"
        self._book.count(outcome, time.monotonic() - began)
        return answer


def _given(card: Card, text: str) -> dict[str, Any]:
    given: dict[str, Any] = {"content": text, "user_id": card.user, "key": card.key}
    if card.kind == "message":
        given |= {"session_id": card.session, "role": "user"}
    return given
