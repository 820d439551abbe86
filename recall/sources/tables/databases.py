"""Where tables lie: a file or a URL, and the system that opens it, always read-only."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recall.sources.tables.dialect import SourceDatabase

#: SQLAlchemy's spelling, with a driver behind the system, included.
_SCHEME = re.compile(r"^(postgres|postgresql|mysql|mariadb|sqlite)(\+\w+)?://")


def is_url(target: str) -> bool:
    """Return whether `target` names a database by its URL."""
    return _SCHEME.match(target) is not None


def origin_of(target: str) -> str:
    """Return what `target` points at, without user, password and options."""
    system = _system(target)
    if system == "sqlite":
        return str(_file(target).absolute())
    parts = urlsplit(target)
    host = parts.hostname or "".join(parse_qs(parts.query).get("host", ["localhost"]))
    if "," in parts.netloc:  # several hosts, each with a port of its own
        return f"{system}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    port = f":{parts.port}" if parts.port else ""
    return f"{system}://{host}{port}{parts.path}"


@contextmanager
def connected(target: str) -> Iterator[SourceDatabase]:
    """Open the database at `target` for one reading; every failure is SourceUnreadable."""
    # Imported here: a reader of one system needs no driver of another.
    system = _system(target)
    if system == "sqlite":
        from recall.sources.tables.sqlite import open_sqlite

        with open_sqlite(_file(target)) as database:
            yield database
    elif system == "postgresql":
        from recall.sources.tables.postgres import open_postgres

        with open_postgres(_SCHEME.sub("postgresql://", target), origin_of(target)) as database:
            yield database
    else:
        from recall.sources.tables.mysql import open_mysql

        with open_mysql(target, origin_of(target)) as database:
            yield database


def _system(target: str) -> str:
    scheme = _SCHEME.match(target)
    if scheme is None:
        return "sqlite"
    return {"postgres": "postgresql", "mariadb": "mysql"}.get(scheme[1], scheme[1])


def _file(target: str) -> Path:
    """Return the file of a path or of a URL: `sqlite:///near.db`, `sqlite:////far/away.db`."""
    return Path(_SCHEME.sub("", target).removeprefix("/") if is_url(target) else target)
