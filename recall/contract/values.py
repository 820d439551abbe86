"""The values that everything speaks in: frozen, checked where they are made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from recall.contract.limits import (
    DEEPEST_METADATA,
    LARGEST_LIMIT,
    LARGEST_METADATA,
    LONGEST_CONTENT,
    LONGEST_ID,
    LONGEST_QUERY,
    LONGEST_TITLE,
    MOST_FIELDS,
    MOST_NAMES,
    MOST_WANTED,
)

_PLAIN = json.JSONEncoder(ensure_ascii=False)

Kind = Literal["message", "note"]
Mode = Literal["hybrid", "semantic", "keyword"]


def _clean(value: object) -> object:
    """Drop what Postgres cannot store in text: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        value = value.replace("\x00", "")
        if value.isascii():  # costs nothing to know
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _clean_json(value: Any) -> Any:
    return _clean_at(value, 0)


def _clean_at(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping | list | tuple) and depth == DEEPEST_METADATA:
        raise ValueError(f"must be nested at most {DEEPEST_METADATA} deep")
    if isinstance(value, Mapping):
        return {_clean(str(key)): _clean_at(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_at(item, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not contain NaN or infinity")
    return _clean(value)


def _small(value: dict[str, Any]) -> dict[str, Any]:
    size = len(_PLAIN.encode(value).encode())
    if size > LARGEST_METADATA:
        raise ValueError(f"must take at most {LARGEST_METADATA} bytes as JSON, not {size}")
    return value


def _few(value: dict[str, Any]) -> dict[str, Any]:
    inside: list[Any] = [value]
    held = 0
    while inside:
        one = inside.pop()
        if isinstance(one, dict | list):
            held += len(one)
            inside.extend(one.values() if isinstance(one, dict) else one)
    if held > MOST_WANTED:
        raise ValueError(f"must hold at most {MOST_WANTED} values, not {held}")
    return value


def _utc(value: datetime) -> datetime:
    """Return a time in UTC, a naive one read as such.

    Its year is judged there, a year away from either end of what Python can say: whoever reads it
    back may read it in another zone.
    """
    try:
        at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        at = None
    if at is None or not 2 <= at.year <= 9998:
        raise ValueError("must lie between the years 2 and 9998, in UTC")
    return at


Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID), BeforeValidator(_clean)]
Content = Annotated[str, Field(min_length=1, max_length=LONGEST_CONTENT), BeforeValidator(_clean)]
Title = Annotated[str, Field(max_length=LONGEST_TITLE), BeforeValidator(_clean)]
Time = Annotated[datetime, AfterValidator(_utc)]
Metadata = Annotated[dict[str, Any], BeforeValidator(_clean_json), AfterValidator(_small)]


class Value(BaseModel):
    """A frozen value that refuses fields it does not know: a typing error is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        """Refuse a crowd of fields at once: each unknown one would be explained apart."""
        if isinstance(value, dict) and len(value) > MOST_FIELDS:
            raise ValueError(f"must have at most {MOST_FIELDS} fields, not {len(value)}")
        return value


class Message(Value):
    """One turn of a session."""

    session_id: Id
    role: Id
    content: Content
    key: Id | None = None
    author: Id | None = None
    user_id: Id | None = None
    created_at: Time | None = None
    metadata: Metadata = Field(default_factory=dict)
    session_title: Title | None = None


class Note(Value):
    """One text that stands by itself."""

    content: Content
    title: Title | None = None
    key: Id | None = None
    category: Id | None = None
    user_id: Id | None = None
    created_at: Time | None = None
    metadata: Metadata = Field(default_factory=dict)


class Scope(Value):
    """Which memories a question is about; every given filter must hold."""

    kinds: Annotated[list[Kind], Field(min_length=1, max_length=MOST_NAMES)] | None = None
    session_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)] | None = None
    exclude_session_ids: Annotated[list[Id], Field(max_length=1000)] | None = None
    roles: Annotated[list[Id], Field(min_length=1, max_length=MOST_NAMES)] | None = None
    authors: Annotated[list[Id], Field(min_length=1, max_length=MOST_NAMES)] | None = None
    user_id: Id | None = None
    since: Time | None = None  # inclusive
    until: Time | None = None  # exclusive
    metadata: Annotated[Metadata, AfterValidator(_few)] | None = None  # contained in the memory's


class Around(Value):
    """How many turns before and after a hit to return with it."""

    before: Annotated[int, Field(ge=0, le=20)] = 0
    after: Annotated[int, Field(ge=0, le=20)] = 0


class Question(Scope):
    """What to find, in which scope, and how to hand it back."""

    query: Annotated[
        str, Field(min_length=1, max_length=LONGEST_QUERY, pattern=r"\S"), BeforeValidator(_clean)
    ]
    limit: Annotated[int, Field(ge=1, le=LARGEST_LIMIT)] = 10
    mode: Mode = "hybrid"
    neighbors: Around | None = None
    group_by: Literal["session"] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    rerank: Annotated[int, Field(ge=1, le=LARGEST_LIMIT)] | None = None  # candidates to look at
    recency_half_life: Annotated[float, Field(gt=0)] | None = None  # days
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A neighbour of a hit."""

    id: int
    role: str
    author: str | None
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The turns around a hit in its session, oldest first."""

    before: tuple[Turn, ...]
    after: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory found, with its score in [0, 1] and, when asked, where the score comes from."""

    id: int
    key: str | None
    kind: str
    session_id: str | None
    title: str | None
    role: str | None
    author: str | None
    user_id: str | None
    content: str
    created_at: datetime
    metadata: dict[str, Any]
    score: float
    count: int = 1  # memories with this very text, by this author, that were found
    neighbors: Neighbors | None = None
    explain: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits, best first, with timings in milliseconds.

    `pending` counts memories that are stored but not yet searchable, up to 1,000. `left_out` are
    the ids of hits that did not fit into `max_tokens`.
    """

    results: tuple[Hit, ...]
    took_ms: dict[str, float]
    profile: str
    pending: int
    left_out: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What a write did: the memories' ids in the caller's order; `duplicates` were known keys.

    `new` says of each memory whether this write stored it, `differs` whether it is known from
    the same source with other content.
    """

    ids: tuple[int, ...]
    accepted: int
    duplicates: int
    new: tuple[bool, ...] = ()
    differs: tuple[bool, ...] = ()
