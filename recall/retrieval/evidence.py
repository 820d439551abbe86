"""What a question found, laid out as arrays of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Evidence:
    """What a question found: one row a chunk, candidates and their neighbours.

    Arrays are [rows], `body` and `head` [rows, words]. A `joined` row's predecessor in its thread
    is a row too. A row out of scope is context only. `times` are microseconds.
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


def read_evidence(found: Mapping[str, Any]) -> Evidence:
    """Return the row of `evidence` (sql/functions/search.sql, which says what its columns are)."""
    ids, words = found["chunk_ids"], found["words"]
    # Two ids side by side, neither of them the 0 behind a run, are a turn and its predecessor.
    earlier, later = found["earlier"], found["later"]
    followers = np.concatenate((earlier[:-1][earlier[1:] > 0], later[1:][later[:-1] > 0]))
    joined = np.zeros(len(ids), np.bool_)
    joined[_places(ids, followers)[0]] = True
    similarities = np.zeros(len(ids), np.float32)
    here, there = _places(ids, found["embedded_ids"])
    similarities[here] = found["similarities"][there]
    body, head = np.zeros((2, len(ids), len(words)), np.float32)
    if words:  # of rows that hold none nothing came
        body[found["matches"]] = found["body"].reshape(-1, len(words))
        head[found["matches"]] = found["head"].reshape(-1, len(words))
    known = {name: found[name] for name in Evidence.__annotations__ if name in found}
    return Evidence(
        **known | {"joined": joined, "similarities": similarities, "body": body, "head": head}
    )


def _places(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the `wanted` that are among the sorted `ids` are, in `ids` and in `wanted`."""
    if not len(ids):
        return wanted[:0], wanted[:0]
    places = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    there = np.flatnonzero(ids[places] == wanted)
    return places[there], there
