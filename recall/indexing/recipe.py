"""The recipe by which a memory becomes chunks; a profile records its number.

The model reads a heading before the text: "Author: ", or a note's title. Words are those of the
text, and apart from them those of the head: the speaker and the date spelled out ("8 May 2023
Monday"), or the title. The turns around a turn are added when a question is asked
(`recall/retrieval/fuse.py`): so the index holds every word once, a later turn rewrites nothing, and
erasing a turn leaves nothing of it with its neighbours.
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
    # ASCII never has more tokens than characters, so most texts need no tokenizer to be short.
    long = [job for job in jobs if len(job.content) >= limit or not job.content.isascii()]
    offsets = embedder.token_offsets([job.content for job in long])
    tokens_of = {job.memory_id: of_text for job, of_text in zip(long, offsets, strict=True)}
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


@lru_cache(maxsize=4096)  # a speaker has many turns on one day
def _said(author: str, on: date) -> tuple[str, ...]:
    return _words(f"{author} {on.day} {_MONTHS[on.month - 1]} {on.year} {_DAYS[on.weekday()]}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(token.text for token in tokens(text))


def _heading(job: Job) -> str:
    """Return what the model reads before a piece of text."""
    if job.kind == "note":
        return f"{job.title[:LONGEST_HEADING]}\n" if job.title else ""
    return f"{job.author[:LONGEST_HEADING]}: " if job.author else ""
