"""Bring a database's schema to this code's: run-once migrations, functions, and lost parts.

`sql/migrations/NNNN_TOPIC.sql` run once, in order, and never change: their checksums are kept in a
table, the ledger, and verified. `sql/functions/*.sql` are defined in a schema of this version.
Parts that a restore lost are made again (`recall/schema/shape.py`). Everything happens in one
transaction on the direct URL, under a transaction-scoped advisory lock, so any number of processes
may start at once; where nothing is to be done, nothing is written.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import dict_row, scalar_row

from recall.base.queries import SQL, query
from recall.contract.errors import SchemaRefused
from recall.schema import functions, shape
from recall.schema.ground import RUN, ground, prepare, transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Connection = psycopg.Connection[tuple[Any, ...]]

log = logging.getLogger("recall.migrate")

#: The line that marks a migration beside which older versions may run.
_COMPATIBLE = re.compile(r"^-- compatible$", re.MULTILINE)


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
    """Apply the migrations that `url`'s database lacks and return their names.

    Parts that a restore lost are made again and logged. Raises SchemaRefused when the database is
    newer than this code, a migration that it has was changed or fails, or a lost table or column
    held rows that only a backup has; Misconfigured when pgvector is missing or too old or the role
    may not do it; Unavailable when nobody answers.
    """
    with transaction(url) as connection:
        connection.execute(query("lock_migrations"))
        vector = prepare(connection)
        ledger = _compare(connection)
        for migration in ledger.pending:
            _apply(connection, migration, vector)
            log.info("Applied migration %s", migration.name)
        if not ledger.newer:
            shape.mend(connection, vector)
        functions.define(connection, functions.read_functions(vector, SQL / "functions"))
        return [migration.name for migration in ledger.pending]


def status(url: str) -> list[Migration]:
    """Return every migration of this code and whether `url`'s database has it; changes nothing.

    Raises SchemaRefused when the database is newer than this code, or has a migration as it was
    before it was changed.
    """
    with transaction(url) as connection:
        return _compare(connection).migrations


def known(url: str) -> None:
    """Raise SchemaRefused unless `url`'s database has every migration of this code, unchanged."""
    with transaction(url) as connection:
        _known(connection)


def check(url: str) -> None:
    """Raise SchemaRefused unless `url`'s database is whole and this code's; changes nothing."""
    with transaction(url) as connection:
        parts, _ = _differences(connection)
        if parts:
            raise SchemaRefused(
                f"The database has lost {len(parts)} parts of recall's schema, as a restore may "
                f"({shape.named(parts[0])}); {RUN}."
            )


def differences(url: str) -> tuple[list[str], list[str]]:
    """Return the lost parts of `url`'s database, and policies and grants beyond recall's own.

    Both as statements; changes nothing. Raises SchemaRefused unless this code has migrated it.
    """
    with transaction(url) as connection:
        return _differences(connection)


def first(url: str, otherwise: Callable[[str], object]) -> Callable[[str], object]:
    """Return `migrate` for an embedded database that is new (has no ledger), else `otherwise`."""
    with transaction(url) as connection:
        return otherwise if _has_ledger(connection) else migrate


def prune(url: str) -> list[str]:
    """Drop the functions of all other versions, which must no longer run; return the statements."""
    with transaction(url) as connection:
        connection.execute(query("lock_migrations"))
        own = functions.read_functions(prepare(connection), SQL / "functions").schema
        cursor = connection.cursor(row_factory=scalar_row)
        drops: list[str] = cursor.execute(query("other_functions"), {"own": own}).fetchall()
        for statement in drops:
            connection.execute(statement.encode())
        connection.execute(query("forget_other_functions"), [own])
        return drops


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _has_ledger(connection: Connection) -> bool:
    cursor = connection.cursor(row_factory=scalar_row)
    return bool(cursor.execute(query("has_ledger")).fetchone())


def _compare(connection: Connection) -> Ledger:
    kept: dict[str, tuple[str, bool]] = {}
    if _has_ledger(connection):
        cursor = connection.cursor(row_factory=dict_row)
        rows = cursor.execute(query("applied_migrations")).fetchall()
        kept = {row["name"]: (row["checksum"], row["compatible"]) for row in rows}
    migrations = []
    for file in sorted((SQL / "migrations").glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        checksum = _checksum(text)
        ran, _ = kept.pop(file.stem, (None, False))
        if ran not in {None, checksum}:
            raise SchemaRefused(
                f"The migration {file.stem} was changed after this database ran it; "
                "migrations are immutable: restore the file and add a new one."
            )
        migrations.append(Migration(file.stem, checksum, text, applied=ran is not None))
    if refused := sorted(name for name, (_, compatible) in kept.items() if not compatible):
        raise SchemaRefused(
            f"The database is newer than this recall: it has {', '.join(refused)}; upgrade recall."
        )
    return Ledger(migrations, sorted(kept))


def _apply(connection: Connection, migration: Migration, vector: str) -> None:
    functions.walk(connection, "recall, pg_temp")
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
    functions.walk(connection)
    connection.execute(query("record_migration"), row)


def _known(connection: Connection) -> tuple[Ledger, str]:
    """Return the ledger and pgvector's schema of a database that this code has migrated."""
    _, vector, _ = ground(connection)
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


def _differences(connection: Connection) -> tuple[list[str], list[str]]:
    ledger, vector = _known(connection)
    # A newer version knows parts that this code's list does not have: only it can say what is lost.
    parts, beyond = ([], []) if ledger.newer else shape.compared(connection, vector)
    wanted = functions.read_functions(vector, SQL / "functions")
    lacking = functions.lacking(connection, wanted)
    return [*parts, *(f"create function {wanted.schema}.{name}" for name in lacking)], beyond
