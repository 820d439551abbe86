"""A database for a measurement, beside the user's own and removed afterwards."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from pydantic import SecretStr

from recall import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.settings import Settings


@contextmanager
def scratch_database(settings: Settings, keep: bool = False) -> Iterator[Settings]:
    """Yield settings for a new database on the same server; drop it at the end, unless kept."""
    name = f"recall_scratch_{uuid.uuid4().hex[:12]}"
    use = embedded.start(settings.home) if settings.embedded else None
    url = use.server.url() if use else settings.direct_url
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        own = SecretStr(_renamed(url, name))
        try:
            yield settings.model_copy(update={"database_url": own, "database_direct_url": own})
        finally:
            if not keep:
                drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(drop)
    finally:
        if use:
            use.release()


def _renamed(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))
