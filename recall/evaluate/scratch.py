"""A database for a measurement, beside the user's own and removed afterwards."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from pydantic import SecretStr

from recall.base import connecting
from recall.contract.errors import Misconfigured, Unavailable
from recall.embedded import keeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.base.settings import Settings


@contextmanager
def scratch_database(settings: Settings, keep: bool = False) -> Iterator[Settings]:
    """Yield settings for a new database on the same server; drop it at the end, unless kept.

    Raises Misconfigured when the server does not answer or the role may not make databases,
    Unavailable when a statement fails.
    """
    name = f"recall_scratch_{uuid.uuid4().hex[:12]}"
    use = keeper.start(settings.home) if settings.embedded else None
    url = use.server.url() if use else settings.direct_url
    try:
        _execute(url, sql.SQL("create database {}").format(sql.Identifier(name)))
        own = SecretStr(_renamed(url, name))
        try:
            yield settings.model_copy(update={"database_url": own, "database_direct_url": own})
        finally:
            if not keep:
                _execute(url, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    finally:
        if use:
            use.release()


def _execute(url: str, statement: sql.Composed) -> None:
    try:
        with connecting.connect(url) as connection:
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Misconfigured(
            "A measurement is made in a database of its own, and the role of the URL may not make "
            "one; grant it createdb, or unset DATABASE_URL to measure on the embedded Postgres."
        ) from error
    except psycopg.Error as error:
        raise Unavailable(f"The scratch database: {connecting.server_words(error)}.") from error


def _renamed(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
