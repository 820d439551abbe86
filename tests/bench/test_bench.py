"""`recall bench`, end to end and tiny: every figure beside its floor, and nothing left behind."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from recall.bench.benchmark import Plan
from recall.bench.corpus import ADDED, made_up, questions, read_corpus
from recall.bench.load import Repeating
from recall.bench.made_up_history import made_up_history
from recall.cli import app
from recall.contract.errors import Invalid, SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Databases

    from recall.embedding import Embedder

ENGINE = "cpu-float32"
TINY = ["--memories=300", "--questions=4", "--clients=1,3", "--growth=150", "--tenants=2"]


@pytest.fixture
def here(
    databases: Databases, home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of the shared server's own database; the model is the run's."""
    url = databases.maintenance
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)
    for name, value in {"DATABASE_URL": url, "RECALL_HOME": home, "RECALL_ENGINE": ENGINE}.items():
        monkeypatch.setenv(name, str(value))
    return url


def figures(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every figure of a run's JSON by its path."""
    if isinstance(value, dict) and "floor" in value:
        yield path, value
    elif isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            yield from figures(inner, f"{path}/{name}")


def test_a_run_measures_each_figure_beside_its_floor_and_leaves_nothing(
    here: str, tmp_path: Path
) -> None:
    file, folder = tmp_path / "bench.json", tmp_path / "plots"
    command = ["bench", *TINY, "--json", str(file), "--plot", str(folder)]
    told = CliRunner().invoke(app, command, catch_exceptions=False)
    assert told.exit_code == 0, told.output
    results = json.loads(file.read_text())
    found = dict(figures(results))
    for path, each in found.items():
        assert each["value"] >= 0 and each["floor"] > 0 and each["ratio"] > 0, path
        # Each number is rounded by itself.
        ratio = each["value"] / each["floor"]
        assert each["ratio"] == pytest.approx(ratio, rel=0.2, abs=1e-3), path
        assert each["unit"] and each["against"], path
    for section in ("embedding", "ingest", "questions/0", "quality", "growth/1", "tenants"):
        assert any(path.startswith(f"/{section}/") for path in found), section
    asked = {(r["path"], r["mode"], r["clients"]): r for r in results["questions"]}
    modes = [("in process", mode) for mode in ("hybrid", "semantic", "keyword")]
    ways = [*modes, ("HTTP", "hybrid")]
    assert set(asked) == {(*way, clients) for way in ways for clients in (1, 3)}
    assert all(row["errors"] == 0 for row in asked.values())
    # Of many clients each asks sixty at least.
    assert all(row["questions"] == {1: 4, 3: 180}[clients] for (*_, clients), row in asked.items())
    assert [point["memories"] for point in results["growth"]] == [150, 300]
    assert results["quality"]["semantic_at_10"]["value"] == 1
    assert results["quality"]["keyword_at_10"]["value"] == 1
    assert {path.name for path in folder.iterdir()} == {"latency.png", "growth.png", "ingest.png"}
    assert scratch_databases(here) == []


def scratch_databases(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        named = "select datname from pg_database where datname like 'recall\\_scratch\\_%'"
        return [name for (name,) in connection.execute(named).fetchall()]


def test_a_run_that_fails_leaves_nothing(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Invalid("no figure today")

    monkeypatch.setattr("recall.bench.benchmark.compare_with_library", fail)
    told = CliRunner().invoke(app, ["bench", *TINY])
    assert (told.exit_code, "no figure today" in told.output) == (1, True)
    assert scratch_databases(here) == []


@pytest.mark.parametrize(
    "given", [{"memories": 1}, {"clients": ()}, {"clients": (1_000,)}, {"growth": (5,)}]
)
def test_what_is_out_of_bounds_is_named(given: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"corpus": None, "memories": 300, "clients": (1,), "questions": 5}
    with pytest.raises(Invalid, match=next(iter(given))):
        Plan(**whole | given).check()


def test_a_made_up_history_is_the_same_every_time() -> None:
    assert made_up_history(100) == made_up_history(100)
    assert len({message.content for message in made_up_history(100)}) > 95


def test_a_corpus_told_again_has_other_keys_and_other_words() -> None:
    corpus = made_up(made_up_history(100))
    twice = corpus.messages(0, 3 * len(corpus.lines))
    assert len({message.key for message in twice}) == len(twice)
    assert len({message.content for message in twice}) > 2.8 * len(corpus.lines)
    assert twice[len(corpus.lines)].content.startswith(corpus.lines[0].content + ADDED)


def test_no_question_is_asked_twice_and_none_is_long() -> None:
    fresh = list(islice(questions(made_up(made_up_history(60))), 2_000))
    assert len(set(fresh)) == len(fresh)
    assert all(3 <= len(text.split()) <= 8 for text in fresh)


def test_a_corpus_is_read_zipped_and_what_is_held_out_is_not_stored(tmp_path: Path) -> None:
    file = tmp_path / "corpus.jsonl.gz"
    lines = [m.model_dump(mode="json", exclude_none=True) for m in made_up_history(100)]
    told = [{"type": "message", "conversation": "c", **line} for line in lines]
    told += [{"type": "question", "query": "what?"}, {"type": "message", "content": ""}]
    with gzip.open(file, "wt") as out:
        out.write("\n".join(json.dumps(line) for line in told))
    corpus = read_corpus(file)
    assert (len(corpus.lines), len(corpus.held_out)) == (95, 5)
    assert {message.content for message in corpus.lines}.isdisjoint(corpus.held_out)


@pytest.mark.parametrize("content", [b"", b"{", b"\x1f\x8b broken", b'{"type": "message"}'])
def test_a_file_that_is_no_corpus_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    for name in ("a.jsonl", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceUnreadable, match=name):
            read_corpus(tmp_path / name)


def test_a_line_told_again_is_moved_a_little_and_not_embedded() -> None:
    class Counting:
        calls: list[str]

        def __init__(self) -> None:
            self.calls = []

        def embed_documents(self, texts: list[str]) -> np.ndarray:
            self.calls += texts
            return np.eye(384, dtype=np.float32)[[len(text) for text in texts]]

    model = Counting()
    repeating = Repeating(model)  # type: ignore[arg-type]  # only what it calls
    first = repeating.embed_documents(["red", "blue"])
    again = repeating.embed_documents([f"blue{ADDED}a b", f"red{ADDED}c d", f"red{ADDED}e f"])
    assert model.calls == ["red", "blue"]
    assert np.sum(again * first[[1, 0, 0]], axis=1) == pytest.approx([0.98] * 3, abs=0.02)
    assert not np.allclose(again[1], again[2])
