"""What a worker holds and makes: claims, jobs, and the chunks of a memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from recall.indexing.words import Token


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


class Unindexed(NamedTuple):
    """How many memories wait to be indexed, and how many were given up."""

    pending: int = 0
    failed: int = 0


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
