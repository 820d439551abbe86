"""Connecting for the first time, with a sentence and a cure for every way in which that fails.

libpq explains a failed connection by text alone, without a SQLSTATE. The text chooses the cure that
the sentence offers and nothing else, because it differs by version and language; it is always
passed on.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq

from recall.base import urls
from recall.contract.errors import Misconfigured

if TYPE_CHECKING:
    Connection = psycopg.Connection[tuple[Any, ...]]

#: Seconds for one attempt to connect: a suspended Neon compute wakes within as long.
SECONDS = 8

#: A pattern of what a server or libpq says, and the cure; the first that matches is offered.
CURES = (
    (r"resolve host|translate host name|name or service", "check the host's name"),
    (
        r"connection refused|no such file",
        "start the server there, or correct the host and the port",
    ),
    (
        r"timeout|timed out|no route|unreachable",
        "check the host, the port and any firewall between",
    ),
    (
        r"password authentication|no password|empty password|scram",
        "check the user and the password",
    ),
    (r"database .* does not exist", "make it by `create database`, or correct its name"),
    (r"role .* does not exist", "make it by `create role`, or correct the user"),
    (
        r"too many|remaining connection slots|max_client_conn|query_wait_timeout",
        "close others, wait, or let the server take more",
    ),
    (r"channel binding", "take channel_binding=require out of the URL"),
    (r"does not support ssl", "take sslmode out of the URL, or turn TLS on at the server"),
    (
        r"no encryption|ssl off|connection is insecure|ssl.*required",
        "add sslmode=require to the URL",
    ),
    (r"pg_hba", "let the server's administrator add this user to pg_hba.conf"),
    (r"certificate|ssl|tls", "check sslmode and sslrootcert in the URL"),
    (r"starting up|shutting down|recovery", "wait a moment and start again"),
    (r"startup parameter", "take options= out of the URL"),
    (r"connect privilege|permission denied for database", "grant connect on the database"),
    (r"service", "check the name in the file ~/.pg_service.conf"),
)


def connect(url: str, setting: str = "DATABASE_URL", seconds: float = SECONDS) -> Connection:
    """Return a connection to `url`, the value of `setting`; `seconds` bound each address's attempt.

    Raises Misconfigured with the reason and a cure when there is none.
    """
    try:
        return psycopg.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=max(2, round(seconds)),
            client_encoding="UTF8",  # a database in SQL_ASCII gives bytes for text otherwise
            application_name="recall",
        )
    except (psycopg.Error, UnicodeError) as error:
        raise failed(error, url, setting) from error


def failed(error: Exception, url: str, setting: str) -> Misconfigured:
    """Return the sentence for a connection that could not be made."""
    said = server_words(error)
    cure = next((cure for pattern, cure in CURES if re.search(pattern, said, re.I)), None)
    others = [name for name in _variables() if name in os.environ]
    where = " and ".join([setting, *others])
    advice = f"{cure} ({where})" if cure else f"check {where}"
    return Misconfigured(f"The database at {urls.hosts_of(url)} does not answer: {said}; {advice}.")


def _variables() -> list[str]:
    """Return the names of the variables that libpq reads besides the URL."""
    return sorted(o.envvar.decode() for o in pq.Conninfo.get_defaults() if o.envvar)


def server_words(error: Exception) -> str:
    """Return what the server or libpq said, in one line and without what psycopg puts around it."""
    if isinstance(error, UnicodeError):
        return "failed to resolve host: it is no name"
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return " ".join(str(error).split()).rstrip(".")
    line = str(error).partition("Multiple connection attempts failed")[0]
    line = line.partition("\n\tIs the server running")[0]
    said = re.split(r"FATAL: +|\bfailed: (?!FATAL)|is bad: |ERROR: +", " ".join(line.split()))
    return re.sub(r": \[Errno [-\d]+\] .*", "", said[-1]).rstrip(". ") or "it closed the connection"
