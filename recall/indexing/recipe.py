"""What of a memory goes into the index: the recipe that a profile records.

The model reads "Author: text", and a note under its title. Words are the memory's own, with its
speaker and its date spelled out ("8 May 2023 Monday"), or its title, labelled apart. What stands
around a turn is added when a question is asked (`recall/retrieval/fuse.py`): the index holds
every word once, a later turn rewrites nothing, and erasing a turn leaves nothing of it with its
neighbours.
"""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING

from recall.indexing.cutting import Span, split
from recall.indexing.jobs import Chunk
from recall.indexing.words import tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from recall.embedding import Embedder
    from recall.indexing.jobs import Job

#: Named in the profile: chunks of another recipe are another profile's.
RECIPE = "1"
#: Tokens of the model that the heading (speaker or title) may take from a chunk's room, and
#: characters that are sure to fit in them.
HEADING = 48
LONGEST_HEADING = 120
LONGEST_CHUNK = 200
OVERLAP = 24

# Not strftime: the index must not depend on a process's locale.
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def chunk_jobs(jobs: Sequence[Job], embedder: Embedder) -> dict[int, list[Chunk]]:
    """Return each job's chunks by memory id; every character of its content is in one."""
    limit = max(min(LONGEST_CHUNK, embedder.max_tokens - HEADING), 16)
    overlap = min(OVERLAP, limit // 4)
    # ASCII never has more tokens than characters: most texts are short enough at a glance.
    long = [job for job in jobs if len(job.content) >= limit or not job.content.isascii()]
    offsets = embedder.token_offsets([job.content for job in long])
    tokens_of = {job.memory_id: found for job, found in zip(long, offsets, strict=True)}
    return {
        job.memory_id: [
            _chunk(job, piece, span)
            for piece, span in enumerate(
                split(job.content, tokens_of.get(job.memory_id, ()), limit, overlap)
            )
        ]
        for job in jobs
    }


def _chunk(job: Job, piece: int, span: Span) -> Chunk:
    text = job.content[span.start : span.end]
    return Chunk(piece, span.start, span.end, tokens(text), _head(job), _heading(job) + text)


def _head(job: Job) -> tuple[str, ...]:
    """Return the words over a memory: who said it when, the date spelled out; or its title."""
    if job.kind == "note":
        return _words(job.title or "")
    return _said(job.author or "", job.created_at.astimezone(UTC).date())


@lru_cache(maxsize=4096)  # somebody says much on a day
def _said(author: str, on: date) -> tuple[str, ...]:
    return _words(f"{author} {on.day} {_MONTHS[on.month - 1]} {on.year} {_DAYS[on.weekday()]}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(token.text for token in tokens(text))


def _heading(job: Job) -> str:
    """Return what the model reads before a piece of text."""
    if job.kind == "note":
        return f"{job.title[:LONGEST_HEADING]}\n" if job.title else ""
    return f"{job.author[:LONGEST_HEADING]}: " if job.author else ""
