"""Checks before a start: what would make it fail later, slowly or half done, refuses it at once.

One connection and one query of the catalogue. A process that only reads is refused for fewer
reasons: a read-only server can serve it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row, scalar_row

from recall.base import connecting, urls
from recall.base.queries import query
from recall.contract.errors import Misconfigured
from recall.schema.ground import OLDEST_VECTOR, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    Facts = dict[str, Any]

log = logging.getLogger("recall.preflight")

#: Seconds for all checks: one attempt to connect, and a query.
PATIENCE = connecting.SECONDS + 1.5
OLDEST_POSTGRES = 140000


async def check_server(url: str, direct: str, writes: bool = True) -> None:
    """Raise Misconfigured when recall cannot run on `url`, with `direct` for its schema.

    `writes` is whether the caller stores anything. Takes up to PATIENCE seconds where nobody
    answers, and changes nothing.
    """
    try:
        # getaddrinfo takes no timeout, so the thread that waits for it is abandoned.
        await asyncio.wait_for(asyncio.to_thread(_look, url, direct, writes), PATIENCE)
    except TimeoutError as error:
        raise Misconfigured(
            f"The database at {urls.hosts_of(direct)} does not answer: nothing came within "
            f"{PATIENCE:.0f} seconds; check the host, the port, and any proxy or firewall."
        ) from error


def _look(url: str, direct: str, writes: bool) -> None:
    began = time.monotonic()
    name = "DATABASE_URL" if direct == url else "DATABASE_DIRECT_URL"
    with connecting.connect(direct, name) as connection:
        facts = _facts(connection)
        for complaint in complaints(facts, writes):
            raise Misconfigured(complaint)
        if writes and _pooled(connection, direct):
            log.warning(
                "%s leads through a pooler that hands out a server for each transaction, and "
                "passes on no notifications: what others store is noticed late. Set "
                "DATABASE_DIRECT_URL to the server itself.",
                name,
            )
    if direct != url:
        left = connecting.SECONDS - (time.monotonic() - began)
        connecting.connect(url, "DATABASE_URL", left).close()


def _facts(connection: connecting.Connection) -> Facts:
    try:
        return connection.cursor(row_factory=dict_row).execute(query("preflight")).fetchone() or {}
    except psycopg.Error as error:
        said = connecting.server_words(error)
        raise Misconfigured(
            f"The server does not answer as Postgres 14 or later does: {said}."
        ) from error


def complaints(facts: Facts, writes: bool) -> Iterator[str]:
    """Yield a sentence for each reason not to start, the gravest first."""
    if facts["number"] < OLDEST_POSTGRES:
        yield f"This is Postgres {facts['version']}, and recall needs 14 or later."
    if facts["encoding"] != "UTF8":
        yield (
            f"The database {facts['database']} is encoded in {facts['encoding']}, which cannot "
            "hold every text; make one by `create database … encoding 'UTF8' template template0`."
        )
    if facts["has_schema"] and facts["holds"] and not facts["has_ledger"]:
        yield (
            f"The database {facts['database']} has a schema recall that is not this recall's (it "
            f"holds {facts['holds']}); `alter schema recall rename to …`, or use another database."
        )
    if facts["vector"] and numbers(facts["vector"]) < OLDEST_VECTOR:
        yield (
            f"pgvector {facts['vector']} is too old; recall needs 0.8.0: "
            "run `alter extension vector update`."
        )
    if writes and facts["read_only"]:
        yield _read_only(facts)
    if facts["has_ledger"]:
        yield from _later_start(facts)
    elif writes:
        yield from _first_start(facts)


def _read_only(facts: Facts) -> str:
    reason = "it is a standby" if facts["standby"] else "default_transaction_read_only is on"
    return (
        f"The database lets nothing be written ({reason}), and this command writes; connect to the "
        "primary. `recall search`, `status`, `doctor`, `keys list` and `migrate --status` work "
        "here."
    )


def _first_start(facts: Facts) -> Iterator[str]:
    """Yield what keeps this role from making the schema."""
    role = facts["quoted_role"]
    if not facts["vector"] and not facts["vector_available"]:
        yield "This Postgres has no pgvector; install the extension `vector` 0.8.0 or later."
    if not facts["has_schema"] and not facts["creates"]:
        yield (
            f"The role {facts['role']} may not make the schema recall; let an administrator run "
            f'`grant create on database "{facts["database"]}" to {role}`.'
        )
    if not facts["makes_roles"]:
        orders = [f"alter role {role} createrole"]
        if facts["has_service"] and not facts["is_member"]:
            orders.append(f"grant recall_service to {role}")
        yield (
            f"The role {facts['role']} may not make the role recall_service, which keeps tenants "
            f"apart; let an administrator run `{'; '.join(orders)}` and then run `recall migrate` "
            f"(`alter role {role} nocreaterole` takes it back afterwards)."
        )


def _later_start(facts: Facts) -> Iterator[str]:
    """Yield what keeps this role from using the schema that is there."""
    if not facts["is_owner"]:
        yield (
            f"Schema recall belongs to {facts['owner']}, whom the role {facts['role']} may not act "
            f"for; connect as {facts['owner']}, or let it run "
            f"`grant {facts['quoted_owner']} to {facts['quoted_role']}`."
        )
    if facts["has_service"] and not facts["is_member"]:
        yield (
            f"The role {facts['role']} may not act as recall_service; let an administrator run "
            f"`grant recall_service to {facts['quoted_role']}`."
        )


def _pooled(connection: connecting.Connection, url: str) -> bool:
    """Return whether a pooler gives another client the server that `connection` had.

    Poolers and proxies make up the process number that they greet with; behind them a second
    client is sent to the server that was used last, if transactions are what is pooled.
    """
    backend = _backend(connection)
    if backend == connection.info.backend_pid:
        return False
    with connecting.connect(url) as other:
        return _backend(other) == backend


def _backend(connection: connecting.Connection) -> int | None:
    backend: int | None
    backend = connection.cursor(row_factory=scalar_row).execute(query("backend")).fetchone()
    return backend
