"""Bring a database's schema to this code's: run-once migrations, functions, and what was lost.

`sql/migrations/NNNN_what.sql` run once, in order, and never change: their checksums are kept and
verified. `sql/functions/*.sql` are defined in a schema of this version. What a restore lost is made
again (`recall/shape.py`). Everything happens in one transaction on the direct URL, under a
transaction-scoped advisory lock, so any number of processes may start at once; where nothing is to
be done, nothing is written.
"""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from recall import functions, shape
from recall.errors import Misconfigured, SchemaRefused, Unavailable
from recall.queries import SQL, query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from recall.functions import Functions

    Connection = psycopg.Connection[tuple[Any, ...]]

log = logging.getLogger("recall.migrate")

#: Oldest pgvector that has halfvec and iterative scans.
OLDEST_VECTOR = (0, 8, 0)
#: A line of a migration with which older versions may live.
_COMPATIBLE = re.compile(r"^-- compatible$", re.MULTILINE)
RUN = "run `recall migrate`"


@dataclass(frozen=True)
class Migration:
    """One file of `sql/migrations`, and whether this database has it."""

    name: str
    checksum: str
    text: str
    applied: bool = False

    @property
    def compatible(self) -> bool:
        """Whether an older version may run beside it."""
        return _COMPATIBLE.search(self.text) is not None


@dataclass(frozen=True)
class Ledger:
    """This code's migrations, and the names of those that only a newer version knows."""

    migrations: list[Migration]
    newer: list[str]

    @property
    def pending(self) -> list[Migration]:
        """The migrations that this database lacks."""
        return [migration for migration in self.migrations if not migration.applied]


def migrate(url: str) -> list[str]:
    """Apply what `url`'s database lacks and return the names of the migrations applied.

    Makes again what a restore lost, and logs it. Raises SchemaRefused when the database is newer
    than this code, a migration that it has was changed or fails, or rows are lost that nothing can
    make again; Misconfigured when pgvector is missing or too old or the role may not do it;
    Unavailable when nobody answers.
    """
    with _transaction(url) as connection:
        connection.execute(query("lock_migrations"))
        vector = _prepare(connection)
        ledger = _compare(connection)
        for migration in ledger.pending:
            _apply(connection, migration, vector)
        if not ledger.newer:
            _mend(connection, vector)
        _define(connection, functions.read(vector, SQL / "functions"))
        return [migration.name for migration in ledger.pending]


def status(url: str) -> list[Migration]:
    """Return every migration of this code and whether `url`'s database has it; changes nothing."""
    with _transaction(url) as connection:
        return _compare(connection).migrations


def known(url: str) -> None:
    """Raise SchemaRefused unless this code has migrated `url`'s database; changes nothing."""
    with _transaction(url) as connection:
        _known(connection)


def check(url: str) -> None:
    """Raise SchemaRefused unless `url`'s database is whole and this code's; changes nothing."""
    with _transaction(url) as connection:
        if parts := _lost(connection, *_known(connection)):
            raise SchemaRefused(
                f"The database has lost {len(parts)} parts of recall's schema, as a restore may "
                f"({shape.named(parts[0])}); {RUN}."
            )


def lost(url: str) -> list[str]:
    """Return what `url`'s database should consist of and does not, as statements."""
    with _transaction(url) as connection:
        return _lost(connection, *_known(connection))


def untouched(url: str) -> bool:
    """Return whether recall has never been in `url`'s database."""
    with _transaction(url) as connection:
        return not _has_ledger(connection)


def prune(url: str) -> list[str]:
    """Drop the functions of all other versions, which must no longer run; return what was run."""
    with _transaction(url) as connection:
        connection.execute(query("lock_migrations"))
        own = functions.read(_prepare(connection), SQL / "functions").schema
        found = connection.execute(query("other_functions"), {"own": own}).fetchall()
        for (statement,) in found:
            connection.execute(statement)
        connection.execute(query("forget_other_functions"), [own])
        return [statement for (statement,) in found]


@contextmanager
def _transaction(url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction whose path holds nothing of others'."""
    try:
        connection = psycopg.connect(
            url, autocommit=True, connect_timeout=15, prepare_threshold=None
        )
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database does not answer: {error}".strip()) from error
    with connection:
        try:
            with connection.transaction():
                connection.execute(query("enter_migration"))
                yield connection
        except psycopg.errors.ReadOnlySqlTransaction as error:
            raise SchemaRefused(
                f"The database needs recall's schema brought up to date, and it is read-only; {RUN} "
                "where it can be written."
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise Misconfigured(
                f"The database refuses what recall's schema needs: {error.diag.message_primary}; "
                "connect as the owner of schema recall, or let an administrator grant the right "
                "(`create extension vector`, `grant recall_service to …`)."
            ) from error
        except psycopg.OperationalError as error:
            raise Unavailable(f"The database went away, and nothing was changed: {error}") from error


def _ground(connection: Connection) -> tuple[str | None, str | None, bool]:
    """Return the schema's owner, pgvector's schema (quoted), and whether the ledger is there."""
    row = connection.execute(query("ground")).fetchone()
    assert row is not None
    owner, ours, ledger, vector, version = row
    if owner is not None and not ours:
        raise Misconfigured(
            f"Schema recall belongs to {owner}, whom the role of the URL may not act for; connect "
            f"as {owner}."
        )
    if version and tuple(int(part) for part in version.split(".")) < OLDEST_VECTOR:
        raise Misconfigured(
            f"pgvector {version} is too old; recall needs 0.8.0: "
            "run `alter extension vector update`."
        )
    return owner, vector, ledger


def _prepare(connection: Connection) -> str:
    """Make the ledger and the extension where they are missing; return pgvector's schema."""
    owner, vector, ledger = _ground(connection)
    if owner is not None:  # whoever migrates, what it makes is the owner's
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(owner)))
    if not ledger or vector is None:
        try:
            connection.execute(query("create_ledger"))
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            raise Misconfigured(
                "This Postgres has no pgvector; install the extension `vector` 0.8.0 or later."
            ) from error
        _, vector, _ = _ground(connection)
    assert vector is not None
    return vector


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _has_ledger(connection: Connection) -> bool:
    row = connection.execute(query("has_ledger")).fetchone()
    return bool(row and row[0])


def _compare(connection: Connection) -> Ledger:
    kept: dict[str, tuple[str, bool]] = {}
    if _has_ledger(connection):
        rows = connection.execute(query("applied_migrations")).fetchall()
        kept = {name: (checksum, compatible) for name, checksum, compatible in rows}
    found = []
    for file in sorted((SQL / "migrations").glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        checksum = _checksum(text)
        ran, _ = kept.pop(file.stem, (None, False))
        if ran not in {None, checksum}:
            raise SchemaRefused(
                f"The migration {file.stem} was changed after this database ran it; "
                "migrations are immutable: restore the file and add a new one."
            )
        found.append(Migration(file.stem, checksum, text, applied=ran is not None))
    if refused := sorted(name for name, (_, compatible) in kept.items() if not compatible):
        raise SchemaRefused(
            f"The database is newer than this recall: it has {', '.join(refused)}; upgrade recall."
        )
    return Ledger(found, sorted(kept))


def _apply(connection: Connection, migration: Migration, vector: str) -> None:
    _walk(connection, "recall, pg_temp")
    try:
        connection.execute(functions.spelled(migration.text, vector).encode())
    except (psycopg.errors.InsufficientPrivilege, psycopg.OperationalError):
        raise
    except psycopg.Error as error:
        raise SchemaRefused(
            f"The migration {migration.name} fails here, and nothing was changed: "
            f"{error.diag.message_primary or error}."
        ) from error
    row = [migration.name, migration.checksum, migration.compatible]
    _walk(connection)
    connection.execute(query("record_migration"), row)


def _walk(connection: Connection, path: str = "pg_catalog, pg_temp") -> None:
    connection.execute("select pg_catalog.set_config('search_path', %s, true)", [path])


def _known(connection: Connection) -> tuple[Ledger, str]:
    """Return the ledger and pgvector's schema of a database that this code has migrated."""
    _, vector, _ = _ground(connection)
    ledger = _compare(connection)
    if ledger.pending or vector is None:
        have = any(migration.applied for migration in ledger.migrations)
        lacks = ", ".join(migration.name for migration in ledger.pending) or "pgvector"
        raise SchemaRefused(
            f"The database is older than this recall: it lacks {lacks}; {RUN}."
            if have
            else f"The database has no schema of recall's yet; {RUN}."
        )
    return ledger, vector


def _lost(connection: Connection, ledger: Ledger, vector: str) -> list[str]:
    parts = [] if ledger.newer else _lost_parts(connection, vector)
    wanted = functions.read(vector, SQL / "functions")
    return [*parts, *(f"create function {wanted.schema}.{n}" for n in _lacking(connection, wanted))]


def _lost_parts(connection: Connection, vector: str) -> list[str]:
    there = [row[0] for row in connection.execute(query("parts")).fetchall()]
    profiles: list[str] = []
    if "create table recall.profile ()" in there:
        profiles = [row[0] for row in connection.execute(query("profiles_there")).fetchall()]
    return shape.lost(there, profiles, vector)


def _mend(connection: Connection, vector: str) -> None:
    """Make again what is lost; raise SchemaRefused when only a backup can."""
    parts = _lost_parts(connection, vector)
    if gone := shape.irreplaceable(parts):
        raise SchemaRefused(
            f"The database has lost {', '.join(gone)}, which only a backup can bring back; restore "
            "it into an empty database (pg_restore says what it skips)."
        )
    for part in parts:
        log.warning("Lost, and made again: %s", shape.named(part))
        try:
            for statement in shape.repair(part):
                connection.execute(statement.encode())
        except (psycopg.errors.InsufficientPrivilege, psycopg.OperationalError):
            raise
        except psycopg.Error as error:
            raise SchemaRefused(
                f"The database has lost a part that cannot be made again ({shape.named(part)}): "
                f"{error.diag.message_primary}."
            ) from error
    if parts and (left := _lost_parts(connection, vector)):
        raise SchemaRefused(
            f"The database has a part that is not recall's own: {shape.named(left[0])} was meant."
        )


def _lacking(connection: Connection, wanted: Functions) -> list[str]:
    """Return the names of this version's functions that are missing, or not as they should be."""
    there = connection.execute(query("functions_there"), [wanted.schema]).fetchall()
    sound = {
        name
        for name, owned, called, by_all in there
        if owned and not by_all and called == (name in wanted.granted)
    }
    return sorted(wanted.names - sound)


def _define(connection: Connection, wanted: Functions) -> None:
    """Define this version's functions unless they are there and whole."""
    if not _lacking(connection, wanted):
        return
    schema = sql.Identifier(wanted.schema)
    found = connection.execute(query("schema_owner"), [wanted.schema]).fetchone()
    if found is None:
        connection.execute(sql.SQL("create schema {}").format(schema))
    elif not found[1]:
        raise SchemaRefused(f"The schema {wanted.schema} belongs to {found[0]}, not to recall.")
    connection.execute(query("any_order"))
    _walk(connection, wanted.path)
    connection.execute(wanted.text.encode())
    _walk(connection)
    for rights in (
        "revoke execute on all functions in schema {} from public",
        "grant usage on schema {} to recall_service",
    ):
        connection.execute(sql.SQL(rights).format(schema))
    connection.execute(query("record_functions"), [wanted.schema, wanted.checksum])
