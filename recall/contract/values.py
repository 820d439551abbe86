"""The values that everything speaks in: frozen, checked where they are made.

Limits are stated once, here; the HTTP service, the client and every backfill share them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

LONGEST_CONTENT = 200_000
LONGEST_ID = 255
LONGEST_TITLE = 1_000
LARGEST_METADATA = 16 * 1024
DEEPEST_METADATA = 32
MOST_FIELDS = 64
LARGEST_BATCH = 1_000
LARGEST_ID = 2**63 - 1
LARGEST_LIMIT = 100
LONGEST_QUERY = 20_000
#: Quoted phrases of a question, excluded words and phrases of a question, and words of a phrase.
MOST_PHRASES = 32
LONGEST_PHRASE = 1_000
#: Values, at whatever depth, of the metadata that a question asks for: each is looked for in turn.
MOST_WANTED = 32
#: Names that a list of a question may hold, sessions aside.
MOST_NAMES = 100

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


def sentence(error: ValidationError, root: str = "") -> tuple[str, str]:
    """Return the first thing wrong as (field, sentence); `root` is where the value stood.

    The field reads like the JSON: "messages[3].content".
    """
    first = error.errors(include_url=False)[0]
    return explain(first["loc"], first, root)


def explain(loc: Sequence[int | str], wrong: Mapping[str, Any], root: str = "") -> tuple[str, str]:
    """Return (field, sentence) for one of pydantic's error records."""
    field = root
    for part in loc:
        if isinstance(part, str) and len(part) > LONGEST_ID:
            part = f"{part[:LONGEST_ID]}…"  # a caller's own word
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    kind, limits = wrong["type"], wrong.get("ctx", {})
    said = {
        "missing": "is missing",
        "extra_forbidden": "is not a field that recall knows",
        "string_too_short": f"must have at least {limits.get('min_length')} character",
        "string_too_long": f"must have at most {limits.get('max_length'):,} characters"
        if "max_length" in limits
        else "",
        "too_short": f"must have at least {limits.get('min_length')} element",
        "too_long": f"must have at most {limits.get('max_length')} elements",
        "greater_than_equal": f"must be at least {limits.get('ge')}",
        "less_than_equal": f"must be at most {limits.get('le')}",
        "literal_error": f"must be {limits.get('expected')}",
        "string_pattern_mismatch": "must not be blank",
        "value_error": str(limits.get("error", "")),
    }.get(kind) or _lowered(wrong["msg"].removeprefix("Input "))
    return field, f"{field or 'The value'} {said if ' ' in said else f'is wrong: {said}'}."


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


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


@dataclass(frozen=True, slots=True)
class Profile:
    """An embedding model at a revision, with the recipe that its chunks were made by."""

    id: int
    model: str
    revision: str
    dimension: int
    recipe: str


#: Lanes of the queue: live memories go before those of a backfill.
LIVE, BACKFILL = 0, 1


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker holds; `token` proves it. `bytes` is the size of the memory's text."""

    memory_id: int
    tenant_id: int
    token: int
    lane: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed memory with what indexing it needs. `token` proves the claim."""

    memory_id: int
    tenant_id: int
    token: int
    lane: int
    language: str
    kind: str
    content: str
    title: str | None
    role: str | None
    author: str | None
    user_id: str | None
    session_id: int | None
    created_at: datetime
    indexed: bool  # has chunks: of an older text, or another profile's


class Token(NamedTuple):
    """A lower-case token at its place; parts of one word share or follow the place of the whole."""

    text: str
    place: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a memory, ready for the index; `starts` and `ends` are character offsets.

    `head` are the tokens of what stands over the text: speaker and date, or title.
    `embedded` is what the model reads.
    """

    piece: int
    starts: int
    ends: int
    tokens: list[Token]
    head: tuple[str, ...]
    embedded: str
