"""Why a row of a source is no memory: the words that are counted, shown and kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A reason, by its word.

    A `damaged` row cannot be what it was meant to be; other rows are left out on purpose. The
    words stand in files of skipped rows and in positions that are kept: none may change.
    """

    damaged: bool

    def __new__(cls, word: str, damaged: bool = False) -> Self:
        """Return the reason of that word."""
        reason = str.__new__(cls, word)
        reason._value_ = word
        reason.damaged = damaged
        return reason

    BAD_VALUE = "bad value", True
    GONE = "gone", True
    LINE_TOO_LONG = "line too long", True
    NO_KEY = "no key", True
    NOT_AN_OBJECT = "not an object", True
    NOT_A_SESSION = "not a session", True
    NOT_JSON = "not JSON", True
    UNKNOWN_TYPE = "unknown type", True
    UNREADABLE = "unreadable", True

    #: Older than what a backfill was asked for.
    TOO_OLD = "before --since"
    DO_NOT_REMEMBER = "do not remember"
    EMPTY = "empty"
    EMPTY_CONVERSATION = "empty conversation"
    EMPTY_SESSION = "empty session"
    EMPTY_THREAD = "empty thread"
    ENCRYPTED = "encrypted"
    HIDDEN = "hidden"
    HIDDEN_CONTEXT = "hidden context"
    NO_TEXT = "no text"
    OTHER_BRANCH = "other branch"
    QUESTION = "question"
    REASONING = "reasoning"
    REMOVED_ROOM = "removed room"
    SUMMARY = "summary"
    SYSTEM_PROMPT = "system prompt"
    TOOL_LIST = "tool list"
