"""Ranking's constants: what Python and SQL both weigh by is one value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from recall.retrieval import fuse

if TYPE_CHECKING:
    import psycopg


def value(owner: psycopg.Connection[Any], name: str) -> Any:
    row = owner.execute(f"select {name}()".encode()).fetchone()
    assert row is not None
    return row[0]


def test_candidates_are_looked_around_by_the_weight_that_scores_them(
    owner: psycopg.Connection[Any],
) -> None:
    assert value(owner, "weight_of_meaning") == fuse.MEANING


def test_a_phrase_counts_as_a_word_that_stands_once(owner: psycopg.Connection[Any]) -> None:
    assert value(owner, "rank_of_one") == pytest.approx(6 / math.pi**2)
