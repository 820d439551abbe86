"""Versions beside each other, older ones on newer databases, and commands that only read."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import ENGINE, name_of
from typer.testing import CliRunner

from recall.base.queries import SQL
from recall.base.settings import Settings
from recall.cli import app
from recall.contract.errors import SchemaRefused
from recall.contract.values import Note, Question
from recall.database.units import Database
from recall.indexing import doctor
from recall.memory import keys, memories
from recall.retrieval.search import Searcher
from recall.schema import functions, migrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typer.testing import Result

    from recall.database.caller import Caller
    from recall.embedding import Embedder, Model
    from recall.indexing.profiles import Profile
    from recall.indexing.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return the SQL of a version by its name, a copy that may be changed, and run as it."""

    def become(name: str) -> Path:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(SQL, folder)
        monkeypatch.setattr(migrate, "SQL", folder)
        return folder

    return become


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "functions" / "evidence.sql"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def rows(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


#: Schema, and how many parameters its `evidence` takes.
EVIDENCE = """
select n.nspname, p.pronargs from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
where p.proname = 'evidence' order by p.oid
"""


def test_an_old_version_that_restarts_leaves_the_new_ones_functions_alone(
    empty_url: str, version: Callable[[str], Path]
) -> None:
    old, new = version("old"), version("new")
    change(new, "p_around integer,  ", "p_extra integer,\n  p_around integer,  ")
    for folder in (old, new, old, new):
        version(folder.name)
        migrate.migrate(empty_url)
    takes = dict(rows(empty_url, EVIDENCE))
    by_version = [functions.read_functions("public", f / "functions").schema for f in (old, new)]
    assert takes == {by_version[0]: 10, by_version[1]: 11}


async def test_both_versions_answer_by_their_own_functions(
    database: Database,
    worker: Worker,
    searcher: Searcher,
    profile: Profile,
    model: Model,
    settings: Settings,
    caller: Caller,
    version: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await memories.save_notes(database, caller, [Note(content="The lamp is green.")])
    await worker.drain()
    new = version("new")
    change(new, "select count(*) into pending\n", "select count(*) + 77 into pending\n")
    migrate.migrate(settings.pooled_url)
    newer = functions.read_functions("public", new / "functions")
    monkeypatch.setattr(functions, "read_functions", lambda *_: newer)
    other = Database(settings.pooled_url, settings)
    await other.open()
    for _ in range(2):
        asked = Question(query="green lamp")
        assert (await searcher.recall(caller, asked)).pending == 0
        answer = await Searcher(other, profile, model.questions).recall(caller, asked)
        assert (answer.pending, len(answer.results)) == (77, 1)
    await other.close()


def test_only_prune_drops_what_other_versions_call(
    empty_url: str, version: Callable[[str], Path]
) -> None:
    version("old")
    migrate.migrate(empty_url)
    change(version("new"), "limit 1000) as j", "limit 1001) as j")
    migrate.migrate(empty_url)
    run(empty_url, "create schema recall_00000000")  # somebody else's, by chance
    assert len(rows(empty_url, EVIDENCE)) == 2
    (dropped,) = migrate.prune(empty_url)
    ((left, _),) = rows(empty_url, EVIDENCE)
    assert dropped.startswith("drop schema recall_") and left not in dropped
    assert migrate.prune(empty_url) == []
    assert rows(empty_url, "select from pg_namespace where nspname = 'recall_00000000'")
    # An old version that starts after all makes its own again.
    version("old")
    migrate.migrate(empty_url)
    assert len(rows(empty_url, EVIDENCE)) == 2


def test_an_older_version_lives_with_a_migration_that_takes_nothing_away(
    empty_url: str, version: Callable[[str], Path]
) -> None:
    new = version("new")
    (new / "migrations" / "0998_more.sql").write_text(
        "-- More of the same.\n-- compatible\nalter table memory add column mood text;"
    )
    migrate.migrate(empty_url)
    version("old")
    assert migrate.migrate(empty_url) == []
    migrate.check(empty_url)
    assert migrate.differences(empty_url) == ([], [])
    assert all(file.applied for file in migrate.status(empty_url))
    # What the newer one made of the schema is not for the older one to put back.
    run(empty_url, "drop index recall.memory_by_user")
    assert migrate.migrate(empty_url) == []
    assert rows(empty_url, "select to_regclass('recall.memory_by_user')") == [(None,)]


def test_an_older_version_refuses_any_other_migration(
    empty_url: str, version: Callable[[str], Path]
) -> None:
    new = version("new")
    (new / "migrations" / "0998_more.sql").write_text("-- compatible\nselect 1;")
    (new / "migrations" / "0999_else.sql").write_text("alter table memory add column mood text;")
    migrate.migrate(empty_url)
    version("old")
    for attempt in (migrate.migrate, migrate.status, migrate.check, migrate.differences):
        with pytest.raises(SchemaRefused, match="newer than this recall: it has 0999_else;"):
            attempt(empty_url)


@pytest.fixture
def as_it_was(empty_url: str, version: Callable[[str], Path]) -> str:
    """A database of the version before functions had schemas of their own."""
    folder = version("before")
    for file in (folder / "migrations").glob("000[6-9]_*.sql"):
        file.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recall.schema.shape.mend", lambda *_: None)
        patch.setattr("recall.schema.functions.define", lambda *_: None)
        migrate.migrate(empty_url)
    text = functions.read_functions("public").text.replace("recall_service;", "public;")
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("set search_path = recall, public")
        connection.execute("set check_function_bodies = off")
        connection.execute(text.encode())
        connection.execute("alter table recall.migration drop column compatible")
        connection.execute(
            "insert into recall.function_file values ('search', 'x'), ('words', 'y')"
        )
    return empty_url


async def test_a_database_of_before_is_upgraded_under_what_runs(
    as_it_was: str, version: Callable[[str], Path]
) -> None:
    version("now")
    with pytest.raises(SchemaRefused, match="older than this recall: it lacks 0006_versions"):
        migrate.check(as_it_was)
    assert "0006_versions" in migrate.migrate(as_it_was)
    assert migrate.differences(as_it_was) == ([], [])
    assert len(rows(as_it_was, EVIDENCE)) == 2  # the one of before is there for those who call it
    with psycopg.connect(as_it_was) as connection:
        connection.execute("set role recall_service")
        connection.execute("set search_path = recall, public")
        connection.execute("select lexeme_of(1, 'x')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select compact()")
    database = Database(as_it_was, Settings.load(database_url=as_it_was))
    await database.open()
    assert not any(f.found for f in await doctor.examine(database, fix=False))
    run(as_it_was, "grant create on schema public to public")
    (found,) = [f for f in await doctor.examine(database, fix=True) if f.found]
    assert (found.found, found.repaired) == (2, False)
    assert "--prune" in found.counts
    assert any("drop function recall.evidence" in each for each in migrate.prune(as_it_was))
    assert not any(f.found for f in await doctor.examine(database, fix=False))
    assert [name for name, _ in rows(as_it_was, EVIDENCE)] != ["recall"]
    await keys.caller_of(database, "still")
    await database.close()


@pytest.fixture
def environment(
    database_url: str, home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("RECALL_HOME", str(home))
    monkeypatch.setenv("RECALL_ENGINE", ENGINE)
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)


def recall(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


#: Commands that only read.
READING = (
    ("status",),
    ("search", "lamp"),
    ("keys", "list"),
    ("doctor",),
    ("follow",),
    ("migrate", "--status"),
)


def dumped(url: str) -> list[Any]:
    """Return what a command that writes would change: schema, rows and transactions."""
    return rows(
        url,
        "select n.nspname, c.relname, c.xmin, pg_relation_size(c.oid) from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace where n.nspname ~ '^recall'"
        " order by 1, 2",
    )


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("command", READING, ids=" ".join)
async def test_a_command_that_reads_writes_nothing_and_works_on_a_read_only_server(
    command: tuple[str, ...], database: Database, worker: Worker, caller: Caller, database_url: str
) -> None:
    await memories.save_notes(database, caller, [Note(content="The lamp is green.")])
    await worker.drain()
    name = name_of(database_url)
    run(database_url, f"alter database {name} set default_transaction_read_only = on")
    before = dumped(database_url)
    result = await asyncio.to_thread(recall, *command)  # it makes a loop of its own
    assert result.exit_code == 0, result.output
    if command[0] in {"status", "search"}:
        result = await asyncio.to_thread(recall, *command, "--tenant", "nobody")
        assert "nobody" in result.stderr  # told of, and not made
    assert dumped(database_url) == before


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("command", [c for c in READING if c[0] != "migrate"], ids=" ".join)
def test_a_command_that_reads_asks_for_a_migration_and_makes_none(
    command: tuple[str, ...], empty_url: str, as_it_was: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "SQL", SQL)
    monkeypatch.setenv("DATABASE_URL", as_it_was)
    before = dumped(as_it_was)
    result = recall(*command)
    assert result.exit_code == 1
    assert "older than this recall: it lacks 0006_versions" in result.stderr
    assert "run `recall migrate`" in result.stderr
    assert dumped(as_it_was) == before
    run(as_it_was, "drop schema recall cascade")
    result = recall(*command)
    assert result.exit_code == 1
    assert "no schema of recall's yet; run `recall migrate`" in result.stderr
    assert dumped(as_it_was) == []


@pytest.mark.usefixtures("environment")
def test_the_doctor_names_what_is_lost_and_ends_with_status_1(
    owner: psycopg.Connection[Any],
) -> None:
    assert recall("doctor").exit_code == 0
    owner.execute("drop policy own_rows on memory")
    result = recall("doctor")
    assert result.exit_code == 1
    assert "WRONG         1  lost: create policy own_rows on recall.memory" in result.stdout
    refused = recall("status")
    assert refused.exit_code == 1 and "run `recall migrate`" in refused.stderr
    fixed = recall("doctor", "--fix")
    assert fixed.exit_code == 0
    assert "fixed         1  lost: create policy own_rows" in fixed.stdout
    assert recall("doctor").exit_code == 0


@pytest.mark.usefixtures("environment")
def test_the_doctor_says_what_it_knows_before_it_gives_up(owner: psycopg.Connection[Any]) -> None:
    owner.execute("drop table profile cascade")
    for arguments in (("doctor",), ("doctor", "--fix")):
        result = recall(*arguments)
        assert result.exit_code == 1
        assert "recall.profile" in result.stdout or "lacks profile as recall" in result.stderr


@pytest.mark.usefixtures("environment")
def test_migrate_prunes_when_it_is_asked_to(version: Callable[[str], Path]) -> None:
    assert "nothing to apply" in recall("migrate", "--prune").stdout
    change(version("new"), "limit 1000) as j", "limit 1001) as j")
    assert "drop schema recall_" in recall("migrate", "--prune").stdout


def test_a_new_embedded_database_is_made_ready_for_who_reads_first(
    prepared_home: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECALL_HOME", str(prepared_home))
    monkeypatch.setenv("RECALL_ENGINE", ENGINE)
    monkeypatch.setattr("recall.embedding.open_embedder", lambda *_: embedder)
    assert recall("status").exit_code == 0
    result = recall("search", "lamp")
    assert result.exit_code == 1
    assert "Nothing is indexed in this database yet" in result.stderr
