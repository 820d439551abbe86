"""Measuring: metrics by numbers that a person can check, and a set through the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from recall.contract.errors import SourceUnreadable
from recall.evaluate.asked import Outcome, summarise
from recall.evaluate.measures import interval, recall_at, reciprocal_rank
from recall.evaluate.sets import read_set

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Databases

    from recall.embedding import Embedder


def test_recall_is_the_share_of_the_relevant_among_the_first_k() -> None:
    ranked = ["a", "b", "c", "d"]
    assert recall_at(ranked, {"a"}, 1) == 1
    assert recall_at(ranked, {"b"}, 1) == 0
    assert recall_at(ranked, {"a", "d"}, 2) == 0.5
    assert recall_at(ranked, {"a", "x", "y"}, 4) == pytest.approx(1 / 3)
    assert recall_at([], {"a"}, 5) == 0


def test_reciprocal_rank_is_one_over_the_first_place() -> None:
    assert reciprocal_rank(["a", "b"], {"a"}) == 1
    assert reciprocal_rank(["x", "b", "a"], {"a", "b"}) == 0.5
    assert reciprocal_rank(["x"], {"a"}) == 0


def test_an_interval_holds_the_mean_and_is_the_same_every_time() -> None:
    values = [0.0] * 30 + [1.0] * 70
    low, high = interval(values)
    assert 0.55 < low < 0.7 < high < 0.85
    assert interval(values) == (low, high)
    assert interval([1.0] * 9) == (1.0, 1.0)


def test_a_summary_is_the_mean_overall_and_by_category() -> None:
    def outcome(category: str, found: float, took: float) -> Outcome:
        return Outcome(category, {5: found, 10: found, 25: found, 50: 1.0}, found, took)

    summary = summarise(
        [outcome("x", 1, 1), outcome("x", 0, 2), outcome("y", 1, 9), outcome("", 0, 4)]
    )
    assert summary.questions == 4
    assert summary.recall[5] == 0.5 and summary.recall[50] == 1
    assert summary.mrr == 0.5
    assert (summary.p50_ms, summary.p95_ms) == (3, 9)
    assert summary.categories["x"][5] == 0.5 and summary.categories["y"][5] == 1
    assert set(summary.categories) == {"x", "y"}


ROWS = [
    {"type": "message", "conversation": "c1", "session_id": "s", "key": "k1", "role": "user",
     "content": "My dog is ill and the vet cannot see him today."},
    {"type": "message", "conversation": "c1", "session_id": "s", "key": "k2", "role": "user",
     "content": "The quarterly figures are due on Thursday."},
    {"type": "message", "conversation": "c1", "session_id": "s", "key": "k3", "role": "user",
     "content": ""},
    {"type": "note", "conversation": "c2", "key": "k1", "title": "Boats",
     "content": "The harbour is closed because of the storm."},
    {"type": "question", "conversation": "c1", "query": "figures of the quarter",
     "evidence": ["k2"], "category": "easy"},
    {"type": "question", "conversation": "c2", "query": "why is the harbour closed?",
     "evidence": ["k1"], "category": "easy"},
]  # fmt: skip


@pytest.fixture
def set_file(tmp_path: Path) -> Path:
    file = tmp_path / "set.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return file


def test_a_set_is_read_by_conversation(set_file: Path) -> None:
    found = read_set(set_file)
    assert found.conversations == ["c1", "c2"]
    assert [m.key for m in found.messages["c1"]] == ["k1", "k2"]
    assert [q.relevant for q in found.questions] == [{"k2"}, {"k1"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no questions"),
        ("{", "line 1 is not of the form"),
        ('{"type": "letter", "conversation": "c"}', "no type 'letter'"),
        ('{"type": "question", "conversation": "c"}', "line 1 is not of the form"),
        ('{"type": "message", "conversation": "c", "content": "x"}', "session_id is missing"),
        ("[]", "line 1 is not of the form"),
    ],
)
def test_a_set_that_cannot_be_read_is_said_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    with pytest.raises(SourceUnreadable, match=said):
        read_set(file)
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        read_set(tmp_path / "missing.jsonl")


def test_the_command_measures_every_mode_and_leaves_no_database(
    set_file: Path,
    database_url: str,
    databases: Databases,
    embedder: Embedder,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conftest import ENGINE

    from recall.cli import app

    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("RECALL_HOME", str(home))
    monkeypatch.setenv("RECALL_ENGINE", ENGINE)
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)
    runner = CliRunner()
    answer = runner.invoke(app, ["eval", str(set_file), "--json"], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    summaries = json.loads(answer.stdout)
    assert set(summaries) == {"hybrid", "semantic", "keyword"}
    for summary in summaries.values():
        assert summary["questions"] == 2
        assert summary["recall"]["5"] == summary["mrr"] == 1.0
    table = runner.invoke(app, ["eval", str(set_file), "--mode", "keyword"])
    assert "R@10" in table.stdout and "MRR" in table.stdout
    wrong = runner.invoke(app, ["eval", str(set_file), "--mode", "guess"])
    assert wrong.exit_code == 1
    import psycopg

    with psycopg.connect(databases.maintenance) as connection:
        left = connection.execute("select from pg_database where datname like 'recall_scratch%'")
        assert left.fetchall() == []
