"""The ground of a migration: a connection that trusts nothing of others', an owner, pgvector.

A migration is one transaction. Its search path holds Postgres's own schema alone until a step sets
another, so that no name resolves to somebody else's object; it acts as the owner of recall's
schema, whoever connects, so that all parts have one owner.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from recall.base import connecting
from recall.base.queries import query
from recall.contract.errors import Misconfigured, RecallError, SchemaRefused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Connection = psycopg.Connection[tuple[Any, ...]]

#: Oldest pgvector that has halfvec and iterative scans.
OLDEST_VECTOR = (0, 8, 0)
RUN = "run `recall migrate`"


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """Yield a connection in a transaction whose search path holds Postgres's own schema alone.

    Raises Unavailable when the database does not answer or cannot finish, Misconfigured when it
    refuses a right, SchemaRefused when it is read-only or refuses a step; nothing is changed then.
    """
    try:
        connection = connecting.connect(url)
    except Misconfigured as error:
        raise Unavailable(str(error)) from error
    with connection:
        try:
            with connection.transaction():
                connection.execute(query("enter_migration"))
                yield connection
        except psycopg.Error as error:
            raise _told(error) from error


def _told(error: psycopg.Error) -> RecallError:
    """Return the error of recall's tree for one of psycopg's, with what to do about it."""
    said = connecting.server_words(error)
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return SchemaRefused(
            "The schema must be brought up to date, and the database is read-only; "
            f"{RUN} where it can be written."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Misconfigured(
            f"The database refuses what recall's schema needs: {said}; connect as the owner of "
            "schema recall, or let an administrator grant the right (`grant create on database …`, "
            "`create extension vector`, `grant recall_service to …`)."
        )
    if isinstance(error, psycopg.OperationalError):
        return Unavailable(f"The database could not finish it, and nothing was changed: {said}.")
    return SchemaRefused(f"The database refused a step, and nothing was changed: {said}.")


def ground(connection: Connection) -> tuple[str | None, str | None, bool]:
    """Return the schema's owner, pgvector's schema (quoted), and whether the ledger is there.

    Raises Misconfigured when the role may not act for that owner, or pgvector is too old.
    """
    there = connection.cursor(row_factory=dict_row).execute(query("ground")).fetchone()
    assert there is not None
    owner, version = there["owner"], there["version"]
    if owner is not None and not there["ours"]:
        raise Misconfigured(
            f"Schema recall belongs to {owner}, whom the role of the URL may not act for; connect "
            f"as {owner}, or let an administrator give all of the schema to that role."
        )
    if version and numbers(version) < OLDEST_VECTOR:
        raise Misconfigured(
            f"pgvector {version} is too old; recall needs 0.8.0: "
            "run `alter extension vector update`."
        )
    return owner, there["vector"], there["ledger"]


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version starts with, whatever is behind them.

    >>> numbers("0.8.0-dev"), numbers("16.4 (Debian 16.4-1.pgdg120+2)"), numbers("17beta1")
    ((0, 8, 0), (16, 4), (17,))
    """
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


def prepare(connection: Connection) -> str:
    """Make the ledger and the extension where they are missing; return pgvector's schema.

    Raises Misconfigured as `ground` does, and when the server has no pgvector to install.
    """
    owner, vector, ledger = ground(connection)
    if owner is not None:  # all parts have one owner, whoever migrates
        connection.execute(query("ready_role"))
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(owner)))
    if not ledger or vector is None:
        try:
            connection.execute(query("create_ledger"))
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            raise Misconfigured(
                "This Postgres has no pgvector; install the extension `vector` 0.8.0 or later."
            ) from error
        _, vector, _ = ground(connection)
    assert vector is not None
    return vector
