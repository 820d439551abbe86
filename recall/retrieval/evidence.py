"""What a question found, asked for in one statement and laid out as arrays of one shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pgvector import HalfVector
from psycopg.rows import dict_row

from recall.base.queries import query
from recall.contract.errors import Invalid
from recall.contract.limits import LARGEST_LIMIT, LONGEST_PHRASE, MOST_PHRASES
from recall.contract.values import Scope
from recall.database.vectors import speak_binary
from recall.indexing.words import question_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recall.contract.values import Question
    from recall.database.units import Connection
    from recall.indexing.words import Words

#: Candidates of two legs each, or of one alone: enough for the largest limit, copies aside.
POOL = 100
POOL_ALONE = 150


@dataclass(frozen=True)
class Evidence:
    """What a question found: one row a chunk, candidates and their neighbours.

    Arrays are [rows], `body` and `head` [rows, words]. A `joined` row's predecessor in its thread
    is a row too. A row out of scope is context only. `times` are microseconds since 2000-01-01
    UTC. `words` are as they were asked, a phrase in quotes.
    """

    words: list[str]
    word_chunks: np.ndarray
    absent: int
    corpus_chunks: int
    corpus_length: int
    exact: bool
    chunk_ids: np.ndarray
    memory_ids: np.ndarray
    pieces: np.ndarray
    threads: np.ndarray
    times: np.ndarray
    lengths: np.ndarray
    digests: np.ndarray
    joined: np.ndarray
    in_scope: np.ndarray
    similarities: np.ndarray
    body: np.ndarray
    head: np.ndarray
    pending: int


def checked_words(text: str) -> Words:
    """Return the words of a question.

    Raises Invalid when it quotes or excludes more phrases, or longer ones, than are worth looking.
    """
    words = question_words(text)
    for does, phrases in ("quote", words.phrases), ("exclude", words.excluded):
        if len(phrases) > MOST_PHRASES:
            raise Invalid(
                f"query must {does} at most {MOST_PHRASES} words or phrases, not {len(phrases)}.",
                "query",
            )
        if (longest := max(map(len, phrases), default=0)) > LONGEST_PHRASE:
            raise Invalid(
                f"query must {does} phrases of at most {LONGEST_PHRASE:,} words, not {longest:,}.",
                "query",
            )
    return words


def looked_for(
    question: Question, words: Words, meaning: np.ndarray | None, profile: int, around: int
) -> dict[str, Any]:
    """Return the parameters of the statement `gather`: what the database is to look for.

    `around` counts the turns on each side of a candidate that are its context.
    """
    phrases = [" ".join(phrase) for phrase in words.phrases]
    # In keyword mode a hit must hold every quoted phrase; elsewhere a phrase counts as a word.
    demands = question.mode == "keyword"
    scope = question.model_dump(mode="json", include=set(Scope.model_fields), exclude_none=True)
    return {
        "profile": profile,
        "meaning": None if meaning is None else HalfVector(meaning),
        "tokens": [] if question.mode == "semantic" else list(words.tokens),
        "hints": [] if demands else phrases,
        "demanded": phrases if demands else [],
        "excluded": [" ".join(phrase) for phrase in words.excluded],
        "scope": json.dumps(scope),
        "pool": POOL if question.mode == "hybrid" else POOL_ALONE,
        "texts": LARGEST_LIMIT,
        "around": around,
    }


async def gather(connection: Connection, wanted: Mapping[str, Any]) -> Evidence:
    """Return the evidence for `wanted`, which `looked_for` returned."""
    cursor = connection.cursor(binary=True, row_factory=dict_row)
    speak_binary(cursor)
    row = await (await cursor.execute(query("gather"), wanted)).fetchone()
    assert row is not None
    return read_evidence(row)


def read_evidence(row: Mapping[str, Any]) -> Evidence:
    """Return the row of `evidence` (sql/functions/evidence.sql says what its columns are)."""
    ids, words = row["chunk_ids"], row["words"]
    # `earlier` is [chunk, previous, previous, …, 0, …] for each candidate, `later` [chunk, next,
    # next, …, 0, …]: of two ids side by side, neither of them 0, one is the other's predecessor.
    earlier, later = row["earlier"], row["later"]
    followers = np.concatenate((earlier[:-1][earlier[1:] > 0], later[1:][later[:-1] > 0]))
    joined = np.zeros(len(ids), np.bool_)
    joined[_positions(ids, followers)[0]] = True
    similarities = np.zeros(len(ids), np.float32)
    here, there = _positions(ids, row["embedded_ids"])
    similarities[here] = row["similarities"][there]
    body, head = np.zeros((2, len(ids), len(words)), np.float32)
    if words:  # the database sends weights of those rows only that hold any of the words
        body[row["matches"]] = row["body"].reshape(-1, len(words))
        head[row["matches"]] = row["head"].reshape(-1, len(words))
    known = {name: row[name] for name in Evidence.__annotations__ if name in row}
    return Evidence(
        **known | {"joined": joined, "similarities": similarities, "body": body, "head": head}
    )


def _positions(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the `wanted` that are among the sorted `ids` are, in `ids` and in `wanted`."""
    if not len(ids):
        return wanted[:0], wanted[:0]
    positions = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    there = np.flatnonzero(ids[positions] == wanted)
    return positions[there], there
