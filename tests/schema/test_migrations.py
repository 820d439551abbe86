"""Migrations: run once, in order, immutable, and by five processes at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from recall.base.queries import SQL
from recall.contract.errors import Misconfigured, SchemaRefused, Unavailable
from recall.schema import functions, migrate

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Databases

NAMES = sorted(file.stem for file in (SQL / "migrations").glob("*.sql"))


@pytest.fixture
def own_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `sql/` that a test may change."""
    copy = tmp_path / "sql"
    shutil.copytree(SQL, copy)
    monkeypatch.setattr(migrate, "SQL", copy)
    return copy


def rows(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def shape(url: str) -> dict[str, list[Any]]:
    """Return what the schema consists of, as Postgres describes it."""
    return {
        "columns": rows(
            url,
            "select table_name, column_name, data_type, is_nullable, column_default"
            " from information_schema.columns where table_schema = 'recall' order by 1, 2",
        ),
        "indexes": rows(
            url, "select indexdef from pg_indexes where schemaname = 'recall' order by 1"
        ),
        "policies": rows(
            url,
            "select tablename, policyname, roles, cmd, qual, with_check from pg_policies"
            " where schemaname = 'recall' order by 1, 2",
        ),
        "functions": rows(
            url,
            "select p.oid::regprocedure::text, md5(prosrc), prosecdef, proconfig, proacl::text"
            " from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace"
            " where n.nspname ~ '^recall(_[0-9a-f]{8})?$' order by 1",
        ),
        "grants": rows(
            url,
            "select table_name, privilege_type from information_schema.role_table_grants"
            " where grantee = 'recall_service' order by 1, 2",
        ),
    }


def test_files_are_numbered_without_gaps() -> None:
    assert [int(name.partition("_")[0]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def test_an_empty_database_gets_every_migration_once(empty_url: str) -> None:
    assert migrate.migrate(empty_url) == NAMES
    assert migrate.migrate(empty_url) == []
    assert rows(empty_url, "select name from recall.migration order by 1") == [(n,) for n in NAMES]


def test_five_processes_that_start_at_once_migrate_once(empty_url: str) -> None:
    code = f"from recall.schema.migrate import migrate; print(*migrate({empty_url!r}))"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    assert sorted(said) == [[], [], [], [], NAMES]


def test_fresh_is_migrated_step_by_step(
    empty_url: str, databases: Databases, own_sql: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that met the migrations one at a time is like one that met them together."""
    migrate.migrate(empty_url)
    stepwise = databases.create()
    monkeypatch.setattr("recall.schema.shape.mend", lambda *_: None)  # what is to come is no loss
    held = [own_sql / "migrations" / f"{name}.sql" for name in NAMES]
    texts = [file.read_text() for file in held]
    for file in held:
        file.unlink()
    for file, text in zip(held, texts, strict=True):
        file.write_text(text)
        assert migrate.migrate(stepwise) == [file.stem]
    assert shape(stepwise) == shape(empty_url)
    databases.drop(stepwise)


def test_a_migration_that_was_changed_is_refused(empty_url: str, own_sql: Path) -> None:
    migrate.migrate(empty_url)
    with (own_sql / "migrations" / f"{NAMES[0]}.sql").open("a") as file:
        file.write("-- changed\n")
    for attempt in (migrate.migrate, migrate.status):
        with pytest.raises(SchemaRefused, match=f"{NAMES[0]} was changed after this database"):
            attempt(empty_url)


def test_a_database_newer_than_the_code_is_refused(empty_url: str) -> None:
    migrate.migrate(empty_url)
    run(empty_url, "insert into recall.migration values ('9999_future', 'x')")
    for attempt in (migrate.migrate, migrate.status):
        with pytest.raises(SchemaRefused, match="newer than this recall: it has 9999_future"):
            attempt(empty_url)


def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str, own_sql: Path) -> None:
    (own_sql / "migrations" / "0998_fine.sql").write_text("create table fine (id integer);")
    (own_sql / "migrations" / "0999_broken.sql").write_text("select 1 / 0;")
    with pytest.raises(SchemaRefused, match="0999_broken fails here, and nothing was changed: div"):
        migrate.migrate(empty_url)
    assert rows(empty_url, "select from pg_namespace where nspname = 'recall'") == []


def test_a_new_migration_is_applied_to_an_old_database(empty_url: str, own_sql: Path) -> None:
    migrate.migrate(empty_url)
    (own_sql / "migrations" / "0999_more.sql").write_text("create table more (id integer);")
    assert [m.name for m in migrate.status(empty_url) if not m.applied] == ["0999_more"]
    assert migrate.migrate(empty_url) == ["0999_more"]
    assert rows(empty_url, "select from recall.more") == []


def test_status_changes_nothing(empty_url: str) -> None:
    assert [(m.name, m.applied) for m in migrate.status(empty_url)] == [(n, False) for n in NAMES]
    assert rows(empty_url, "select from pg_namespace where nspname = 'recall'") == []
    migrate.migrate(empty_url)
    assert all(m.applied for m in migrate.status(empty_url))


def test_recall_lives_beside_an_applications_tables(empty_url: str) -> None:
    run(empty_url, "create table memory (mine text)")
    run(empty_url, "create schema extensions; create extension vector schema extensions")
    migrate.migrate(empty_url)
    assert rows(empty_url, "select count(*) from pg_class where relname = 'memory'") == [(2,)]
    path = functions.read_functions("extensions").path
    run(empty_url, f"set search_path = {path}; select create_profile('m','r',8,'1',true)")
    assert migrate.differences(empty_url) == ([], [])


def test_a_database_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        migrate.migrate(f"postgresql://postgres@/recall?host={tmp_path}")


def test_a_pgvector_that_is_too_old_is_said(empty_url: str) -> None:
    run(empty_url, "create extension vector")
    run(empty_url, "update pg_extension set extversion = '0.7.4' where extname = 'vector'")
    with pytest.raises(Misconfigured, match=r"0\.7\.4 is too old; recall needs 0\.8\.0"):
        migrate.migrate(empty_url)
