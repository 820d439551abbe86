"""Bring a database's schema to this code's: run-once migrations, then re-runnable functions.

`sql/migrations/NNNN_what.sql` run once, in order, and never change: their checksums are kept and
verified. `sql/functions/*.sql` define functions and run again whenever their text changed.
Everything happens in one transaction on the direct URL, under a transaction-scoped advisory lock,
so any number of processes may start at once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from recall.errors import Misconfigured, SchemaRefused, Unavailable
from recall.queries import SQL, query

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    Connection = psycopg.Connection[tuple[Any, ...]]

#: Oldest pgvector that has halfvec and iterative scans.
OLDEST_VECTOR = (0, 8, 0)


@dataclass(frozen=True)
class Migration:
    """One file of `sql/migrations`, and whether this database has it."""

    name: str
    checksum: str
    text: str
    applied: bool = False


def migrate(url: str) -> list[str]:
    """Apply what `url`'s database lacks and return the names of the migrations applied.

    Raises SchemaRefused when the database is newer than this code or a migration that it has was
    changed, Misconfigured when pgvector is missing or too old, Unavailable when nobody answers.
    """
    with _connect(url) as connection, connection.transaction():
        connection.execute(query("lock_migrations"))
        _prepare(connection)
        pending = [m for m in _compare(connection) if not m.applied]
        for migration in pending:
            connection.execute(migration.text)
            connection.execute(query("record_migration"), [migration.name, migration.checksum])
        _define_functions(connection)
        return [migration.name for migration in pending]


def status(url: str) -> list[Migration]:
    """Return every migration of this code and whether `url`'s database has it; changes nothing."""
    with _connect(url) as connection, connection.transaction(force_rollback=True):
        _prepare(connection)
        return _compare(connection)


def _connect(url: str) -> Connection:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=15, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database does not answer: {error}".strip()) from error


def _prepare(connection: Connection) -> None:
    try:
        connection.execute(query("create_ledger"))
    except psycopg.errors.FeatureNotSupported as error:
        raise Misconfigured(
            "This Postgres has no pgvector; install the extension `vector` 0.8.0 or later."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise Misconfigured(
            f"The database refuses what recall's schema needs: {error.diag.message_primary}; "
            "let an administrator run `create extension vector` in it, or grant the right."
        ) from error
    row = connection.execute(query("vector_version")).fetchone()
    schema, version = row if row is not None else ("public", "0")
    if tuple(int(part) for part in version.split(".")) < OLDEST_VECTOR:
        raise Misconfigured(
            f"pgvector {version} is too old; recall needs 0.8.0: "
            "run `alter extension vector update`."
        )
    # pg_temp last: nobody's temporary table may stand in for one of ours in a definer function.
    path = sql.SQL("set local search_path = recall, {}, pg_temp").format(sql.Identifier(schema))
    connection.execute(path)
    connection.execute(query("load_vector"))


def _files(folder: str) -> list[Path]:
    return sorted((SQL / folder).glob("*.sql"))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _compare(connection: Connection) -> list[Migration]:
    known: dict[str, str] = dict(connection.execute(query("applied_migrations")).fetchall())
    found = []
    for file in _files("migrations"):
        text = file.read_text(encoding="utf-8")
        checksum = _checksum(text)
        kept = known.pop(file.stem, None)
        if kept not in {None, checksum}:
            raise SchemaRefused(
                f"The migration {file.stem} was changed after this database ran it; "
                "migrations are immutable: restore the file and add a new one."
            )
        found.append(Migration(file.stem, checksum, text, applied=kept is not None))
    if known:
        raise SchemaRefused(
            f"The database is newer than this recall: it has {', '.join(sorted(known))}; "
            "upgrade recall."
        )
    return found


def _define_functions(connection: Connection) -> None:
    kept: dict[str, str] = dict(connection.execute(query("defined_functions")).fetchall())
    connection.execute(query("any_order"))
    for file in _files("functions"):
        text = file.read_text(encoding="utf-8")
        if kept.get(file.stem) != (checksum := _checksum(text)):
            connection.execute(text)
            connection.execute(query("record_functions"), [file.stem, checksum])
