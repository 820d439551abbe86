"""The command line: every command, its sentences when something is wrong, and a light start."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ENGINE
from typer.testing import CliRunner

from recall.cli import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from recall.embedding import Embedder

COMMANDS = ("serve", "worker", "migrate", "search", "status", "backfill", "eval", "keys")


@pytest.fixture
def environment(
    database_url: str, home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("RECALL_HOME", str(home))
    monkeypatch.setenv("RECALL_ENGINE", ENGINE)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)


def recall(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def done(*arguments: str) -> str:
    result = recall(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {"session_id": "s", "role": "user", "key": "k1", "content": "My dog is ill today."},
        {"session_id": "s", "role": "user", "key": "k2", "content": "The figures are due."},
        {"content": "The harbour is closed.", "title": "Boats", "key": "k3"},
        {"type": "letter", "content": "x"},
    ]
    file = tmp_path / "history.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.usefixtures("environment")
def test_a_history_is_stored_indexed_and_found(history: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    said = done("backfill", "jsonl", str(history), "--skipped", str(rejects))
    assert "4 rows = 3 stored + 0 already there + 1 skipped (1 unknown type)" in said
    assert [json.loads(line)["reason"] for line in rejects.read_text().splitlines()] == [
        "unknown type"
    ]
    assert "0 stored + 3 already there" in done("backfill", "jsonl", str(history))
    found = json.loads(done("search", "sick puppy", "--mode", "semantic", "--json"))
    assert found["results"][0]["key"] == "k1"
    shown = done("search", "harbour", "--explain")
    assert "The harbour is closed." in shown and "Boats" in shown
    for reading in (("search", "harbour"), ("status",), ("language", "german")):
        mistyped = recall(*reading, "--tenant", "nobody")
        assert (mistyped.exit_code, mistyped.stderr) == (
            1,
            "recall: There is no tenant 'nobody'.\n",
        )
    status = json.loads(done("status", "--json"))
    assert (status["memories"], status["chunks"], status["pending"]) == (3, 3, 0)
    assert "pgvector" in done("status")


@pytest.mark.usefixtures("environment")
def test_a_history_may_be_left_to_a_worker(history: Path) -> None:
    done("backfill", str(history), "--no-index")
    assert json.loads(done("status", "--json"))["pending"] == 3
    assert "3 memories indexed" in done("worker", "--once")
    assert json.loads(done("status", "--json"))["pending"] == 0


@pytest.mark.usefixtures("environment")
def test_migrations_are_shown_and_applied(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    assert "pending  0001_" in done("migrate", "--status")
    assert "applied  0001_" in done("migrate")
    assert "nothing to apply" in done("migrate")
    assert "pending" not in done("migrate", "--status")


@pytest.mark.usefixtures("environment")
def test_a_key_is_shown_once_listed_without_it_and_revoked() -> None:
    key = done("keys", "create", "laptop", "--tenant", "ann").strip()
    assert key.startswith("recall_")
    listed = done("keys", "list")
    assert "laptop" in listed and "ann" in listed and "live" in listed
    assert key not in listed
    done("keys", "revoke", listed.split("\t")[0])
    assert "revoked" in done("keys", "list")
    again = recall("keys", "revoke", listed.split("\t")[0])
    assert again.exit_code == 1 and "no live key" in again.stderr


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search", " "), "query must not be blank."),
        (("search", "x", "--mode", "fuzzy"), "mode must be 'hybrid', 'semantic' or 'keyword'."),
        (("search", "x", "--since", "soon"), "since"),
        (("backfill", "jsonl", "/nowhere.jsonl"), "There is no file /nowhere.jsonl."),
        (("backfill", "fax", "/nowhere"), "no source 'fax'"),
        (("eval", "/nowhere.jsonl"), "/nowhere.jsonl cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    result = recall(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("recall: ")
    assert said in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("environment")
def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALL_POOL_SIZE", "many")
    for arguments in (("status",), ("migrate",), ("serve",), ("search", "x")):
        result = recall(*arguments)
        assert result.exit_code == 1
        assert "RECALL_POOL_SIZE='many' cannot be used" in result.stderr, arguments


@pytest.mark.usefixtures("environment")
def test_a_database_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://me:hush@/recall?host={tmp_path}"
    monkeypatch.setenv("DATABASE_URL", url)
    for arguments in (("status",), ("migrate",), ("keys", "list")):
        result = recall(*arguments)
        assert result.exit_code == 1
        assert "does not answer" in result.stderr
        assert "hush" not in result.output


def test_help_names_every_command() -> None:
    shown = done("--help")
    for command in COMMANDS:
        assert command in shown
        assert done(command, "--help")


def modules_of(*arguments: str) -> set[str]:
    """Return what a command imports, in a process of its own."""
    code = (
        "import sys; sys.argv = ['recall', *sys.argv[1:]]\n"
        "from recall.cli import app\n"
        "try:\n    app()\n"
        "except SystemExit:\n    pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    return set(subprocess.run(command, capture_output=True, text=True).stderr.split())


HEAVY = {"torch", "transformers", "sentence_transformers", "onnxruntime", "sklearn"}


def test_help_imports_nothing_heavy() -> None:
    for arguments in (("--help",), ("search", "--help")):
        assert modules_of(*arguments) & (HEAVY | {"numpy", "psycopg", "fastapi"}) == set()


@pytest.mark.usefixtures("environment")
def test_a_command_that_needs_no_model_imports_none() -> None:
    for arguments in (("status",), ("migrate",), ("keys", "list")):
        assert modules_of(*arguments) & HEAVY == set(), arguments
