"""The values that everything speaks in: frozen, checked where they are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recall.contract.fields import Content, Id, Metadata, Query, Time, Title, WantedMetadata
from recall.contract.limits import LARGEST_LIMIT, MOST_FIELDS, MOST_NAMES

Kind = Literal["message", "note"]
Mode = Literal["hybrid", "semantic", "keyword"]


class Value(BaseModel):
    """A frozen value that refuses fields it does not know: a typing error is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, value: Any) -> Any:
        """Refuse too many fields at once: each unknown one would be explained apart."""
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
    metadata: WantedMetadata | None = None  # contained in the memory's


class Around(Value):
    """How many turns before and after a hit to return with it."""

    before: Annotated[int, Field(ge=0, le=20)] = 0
    after: Annotated[int, Field(ge=0, le=20)] = 0


class Question(Scope):
    """What to find, in which scope, and how to hand it back."""

    query: Query
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
