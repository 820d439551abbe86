"""Triggers on a source's tables: a source in recall's own database tells when it changes.

They ring a bell for recall's followers and cannot fail the application's statement; what they call
is a function of recall's schema, and goes with it. The role that the source is read as must own
the tables, or hold TRIGGER on them and USAGE on recall's schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from recall.base.queries import query
from recall.contract.errors import SourceUnreadable
from recall.sources.tables.chapters import TableSource

if TYPE_CHECKING:
    from recall.sources.source import Source

_TRIGGER = sql.Identifier("recall_follow")
_INSTALL = sql.SQL(
    "create or replace trigger {} after insert or update or delete or truncate on {}"
    " for each statement execute function recall.source_changed()"
)
_UNINSTALL = sql.SQL("drop trigger if exists {} on {}")


def install(url: str, source: Source) -> None:
    """Let the tables of `source` ring at every statement that changes them.

    Raises SourceUnreadable when they are not in recall's own Postgres, or take no trigger.
    """
    _apply(_INSTALL, url, source)


def uninstall(url: str, source: Source) -> None:
    """Let the tables of `source` be silent again.

    Raises SourceUnreadable when they are not in recall's own Postgres, or keep their triggers.
    """
    _apply(_UNINSTALL, url, source)


def _apply(statement: sql.SQL, url: str, source: Source) -> None:
    if not isinstance(source, TableSource) or not source.origin.startswith("postgresql://"):
        raise SourceUnreadable(f"{source.origin} has no tables in Postgres for a trigger.")
    try:
        with psycopg.connect(url, connect_timeout=15, prepare_threshold=None) as connection:
            if not _beside_recall(connection):
                raise SourceUnreadable(
                    f"{source.origin} is not recall's own database, and only there a trigger can "
                    "tell it; without --trigger it is asked every now and then."
                )
            # A lock that waits for a long transaction makes the application wait behind it.
            connection.execute(query("patience"))
            for table in source.tables():
                at = sql.Identifier(table.schema, table.name)
                connection.execute(statement.format(_TRIGGER, at))
    except psycopg.Error as error:
        message = error.diag.message_primary or str(error)
        raise SourceUnreadable(f"{source.origin} takes no trigger: {message}.") from error


def _beside_recall(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(query("has_source_changed")).fetchone()
    return bool(row and row[0])
