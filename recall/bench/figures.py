"""What was measured: figures with their floors, and the sections that they make up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value, its floor of the same minute, what that is, and value / floor."""

    value: float
    floor: float
    ratio: float
    unit: str
    against: str


def figure(value: float, floor: float, unit: str, against: str) -> Figure:
    """Return the figure; without a floor its ratio is 0."""
    ratio = value / floor if floor else 0.0
    return Figure(round(value, 4), round(floor, 4), round(ratio, 4), unit, against)


@dataclass(frozen=True)
class Timings:
    """What `clients` asking at once waited, in seconds, and how long all of it took."""

    seconds: tuple[float, ...] = ()
    wall: float = 0.0
    errors: int = 0

    def __add__(self, other: Timings) -> Timings:
        return Timings(
            self.seconds + other.seconds, self.wall + other.wall, self.errors + other.errors
        )

    def ms(self, share: float) -> float:
        """Return the quantile of the waits, in milliseconds."""
        return 1000 * float(np.quantile(self.seconds, share)) if self.seconds else 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.wall if self.wall else 0.0


@dataclass(frozen=True, slots=True)
class Embedding:
    """The engine against the library that it stands in for."""

    engine: str
    texts: int
    texts_per_second: Figure
    question_ms: Figure
    mean_cosine: float
    least_cosine: float
    padding: float | None


@dataclass(frozen=True, slots=True)
class Ingest:
    """Rows a second into `memory` and the queue, and out of the queue into the index."""

    rows: int
    stored_per_second: Figure
    read_and_stored_per_second: Figure
    indexed: int
    indexed_per_second: Figure


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions over one path, in one mode, by so many clients at once."""

    path: str
    mode: str
    clients: int
    questions: int
    errors: int
    p50_ms: Figure
    p95_ms: Figure
    p99_ms: Figure
    per_second: Figure
    sql_p50_ms: Figure
    embed_p50_ms: float


@dataclass(frozen=True, slots=True)
class Quality:
    """What the candidates of each leg miss of the best ten, found by looking at everything.

    `part` of the tenant's memories were asked, those of a span of time; 1 is all of them.
    """

    part: float
    questions: int
    semantic_at_10: Figure
    keyword_at_10: Figure
    hnsw_at_10: Figure | None = None  # of a bare search, which knows no scope


@dataclass(frozen=True, slots=True)
class Point:
    """The service at one size; `bytes` by kind of index, and tables with all of it."""

    memories: int
    asked: Asked
    quality: Quality
    stored_per_second: float
    indexed_per_second: Figure
    embedded_anew: int
    build_seconds: float
    index_bytes: dict[str, int]
    bytes_per_memory: float


@dataclass(frozen=True, slots=True)
class Tenants:
    """A tenant's questions beside many others; the floor is the same tenant alone."""

    tenants: int
    memories_each: int
    errors: int
    p50_ms: Figure
    p95_ms: Figure
    sql_p50_ms: Figure


@dataclass(frozen=True)
class Results:
    """Everything that a run measured."""

    machine: dict[str, Any]
    embedding: Embedding
    ingest: Ingest
    questions: list[Asked]
    quality: Quality
    scopes: list[Quality]
    growth: list[Point]
    tenants: Tenants | None = None
    notes: list[str] = field(default_factory=list)
