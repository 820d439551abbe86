"""A corpus to store and to ask: a file's messages or a made-up history, at any size.

Every twentieth line is held out: it is never stored, and questions are cut from it. The lines of a
corpus that is too small are repeated, each time with two other words at their end.
"""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from recall.contract.errors import SourceUnreadable
from recall.contract.refusals import sentence
from recall.contract.values import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELD_OUT = 20  # one line in so many
FEWEST_LINES = 40
QUESTION_WORDS = (3, 8)
#: Between a repeated line and what was added to it.
ADDED = " \N{MIDDLE DOT} "


@dataclass(frozen=True)
class Corpus:
    """Lines to store, lines to ask about, and where they come from."""

    name: str
    lines: list[Message]
    held_out: list[str]

    def messages(self, begin: int, end: int) -> list[Message]:
        """Return the messages [begin, end) of the history, its lines repeated if need be."""
        return [self._message(place) for place in range(begin, end)]

    def _message(self, place: int) -> Message:
        copy, line = divmod(place, len(self.lines))
        message = self.lines[line]
        if not copy:
            return message
        chance = random.Random(place)
        words = [chance.choice(chance.choice(self.held_out).split()) for _ in range(2)]
        changed = {
            "key": f"{message.key}~{copy}"[-255:],
            "session_id": f"{message.session_id}~{copy}"[-255:],
            "content": message.content + ADDED + " ".join(words),
        }
        return message.model_copy(update=changed)


def read_corpus(path: Path) -> Corpus:
    """Return the messages of an evaluation set or corpus, JSONL, gzipped or not.

    Raises SourceUnreadable, naming the line, when it is no such file or too small.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    messages: list[Message] = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                value = _value(line, f"{path}, line {number}")
                if value.get("type", "message") == "message" and value.get("content", "").strip():
                    messages.append(_message(value, number, path))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise SourceUnreadable(f"{path} cannot be read: {error}.") from error
    if len(messages) < FEWEST_LINES:
        raise SourceUnreadable(
            f"{path} has {len(messages)} messages; a benchmark takes 40 and more."
        )
    return _divided(path.name, messages)


def _value(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line) if line.strip() else {"type": "blank"}
    except ValueError as error:
        raise SourceUnreadable(f"{where} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise SourceUnreadable(f"{where} is not an object.")
    return value


def _message(value: dict[str, Any], number: int, path: Path) -> Message:
    known = {name: value[name] for name in Message.model_fields if name in value}
    try:
        return Message(**{"key": f"line/{number}"} | known)
    except ValidationError as error:
        raise SourceUnreadable(f"{path}, line {number}: {sentence(error)[1]}") from error


def _divided(name: str, messages: list[Message]) -> Corpus:
    lines = [message for place, message in enumerate(messages) if place % HELD_OUT]
    held_out = [message.content for message in messages[::HELD_OUT]]
    return Corpus(name, lines, held_out)


def made_up(messages: list[Message]) -> Corpus:
    """Return a generated history as a corpus."""
    return _divided("made up", messages)


def questions(corpus: Corpus) -> Iterator[str]:
    """Yield short questions without end, no two alike: nothing may be answered from a cache."""
    chance = random.Random(1)
    lines = [words for line in corpus.held_out if len(words := _plain(line)) >= QUESTION_WORDS[0]]
    everything = [word for line in corpus.held_out for word in _plain(line)] or ["what"]
    seen: set[str] = set()
    while True:
        chance.shuffle(lines)
        before = len(seen)
        for words in lines:
            length = chance.randint(*QUESTION_WORDS)
            begin = chance.randint(0, max(0, len(words) - length))
            text = " ".join(words[begin : begin + length])
            if text not in seen:
                seen.add(text)
                yield text
        if len(seen) - before <= len(lines) // 10:  # nearly all pieces were asked: mix words
            mixed = [chance.choices(everything, k=QUESTION_WORDS[1]) for _ in range(100)]
            lines.extend(mixed)


def _plain(line: str) -> list[str]:
    """Return a line's words without quotes or a leading minus, which a question gives a sense."""
    return [word for word in line.replace('"', " ").split() if not word.startswith("-")]
