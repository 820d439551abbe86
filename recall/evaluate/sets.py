"""Evaluation sets: conversations with questions whose relevant memories are known.

One JSON object a line: a message or a note with the `conversation` it belongs to, or
`{"type": "question", conversation, query, evidence: [keys], category}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from recall.contract.errors import SourceUnreadable
from recall.contract.refusals import sentence
from recall.contract.values import Message, Note

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class JudgedQuestion:
    """A question with the keys of the memories that answer it."""

    conversation: str
    query: str
    relevant: frozenset[str]
    category: str


@dataclass(frozen=True)
class EvaluationSet:
    """Memories by conversation, and the questions asked within them."""

    messages: dict[str, list[Message]]
    notes: dict[str, list[Note]]
    questions: list[JudgedQuestion]

    @property
    def conversations(self) -> list[str]:
        """Every conversation's name, in order of first appearance."""
        return list(dict.fromkeys([*self.messages, *self.notes]))


def read_set(path: Path) -> EvaluationSet:
    """Return the evaluation set in `path`; raises SourceUnreadable, which names the bad line."""
    chosen = EvaluationSet({}, {}, [])
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    _add(chosen, line, f"{path}, line {number}")
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SourceUnreadable(f"{path} is not text in UTF-8.") from error
    if not chosen.questions:
        raise SourceUnreadable(f"{path} has no questions; see `recall eval --help` for the form.")
    return chosen


def _add(chosen: EvaluationSet, line: str, where: str) -> None:
    try:
        value = json.loads(line)
        kind, conversation = value.pop("type"), value.pop("conversation")
        if kind == "question":
            relevant = frozenset(value["evidence"])
            category = str(value.get("category") or "")
            chosen.questions.append(
                JudgedQuestion(conversation, value["query"], relevant, category)
            )
        elif not value.get("content", "x"):
            return  # an empty turn: recall stores none, and no question names one
        elif kind == "message":
            chosen.messages.setdefault(conversation, []).append(Message(**value))
        elif kind == "note":
            chosen.notes.setdefault(conversation, []).append(Note(**value))
        else:
            raise SourceUnreadable(f"{where}: there is no type {kind!r}.")
    except ValidationError as error:
        raise SourceUnreadable(f"{where}: {sentence(error)[1]}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceUnreadable(f"{where} is not of the form: {error!r}.") from error
