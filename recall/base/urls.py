"""Database URLs, read into the one form that everything here understands.

What is copied from a console or from another program's `.env` has a driver's name in its scheme,
parameters that only that driver knows, and a password that was never encoded. A URL is split as
libpq splits it; where libpq would go wrong, it is refused in a sentence that says what to write.
No sentence repeats what was given, but for well-known names: all else may be part of a password.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import quote, unquote_to_bytes

from recall.base.pasted import unwrapped
from recall.contract.errors import Misconfigured

FORM = "postgresql://USER:PASSWORD@HOST/DATABASE"

_POSTGRES = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_SCHEME = re.compile(r"(?:jdbc:)?([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PAIRS = re.compile(r"[a-z_ ]+=", re.IGNORECASE)
_CONNECTION = re.compile(r"\b(?:password|dbname|host|service)\s*=|^psql\s", re.IGNORECASE)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\[\]:]*))(?::(\d*))?")

#: Schemes of other systems and misspellings of Postgres', which a sentence may name.
_OTHERS = {"mysql", "mariadb", "sqlite", "mongodb", "mongodb+srv", "redis", "rediss", "http"} | {
    *("https", "mssql", "oracle", "file", "prisma", "cockroachdb", "postgre", "postgresq", "pgsql")
}

#: Parameters of drivers and their pools, which Postgres itself never sees.
_OF_DRIVERS = frozenset(
    [
        *("pgbouncer", "schema", "currentschema", "search_path", "schema_search_path", "encoding"),
        *("connection_limit", "pool", "pool_size", "pool_timeout", "max_overflow", "min_size"),
        *("max_size", "pool_max_conns", "pool_min_conns", "pool_recycle", "pool_pre_ping"),
        *("prepared_statements", "prepared_statement_cache_size", "prepared_statement_name_func"),
        *("statement_cache_size", "statement_cache_capacity", "preparethreshold", "prepare"),
        *("prefer_simple_protocol", "default_query_exec_mode", "binary_parameters"),
        *("single_use_connections", "async_fallback", "command_timeout", "timeout", "direct_tls"),
        *("socket_timeout", "sockettimeout", "logintimeout", "server_settings", "conn_max_age"),
        *("sslaccept", "sslidentity", "sslfactory", "uselibpqcompat", "workaround", "charset"),
        *("stringtype", "rewritebatchedinserts", "tcpkeepalive", "statement_timeout", "pooling"),
    ]
)
#: Other spellings of what libpq has.
_SPELLINGS = {
    "applicationname": "application_name",
    "connecttimeout": "connect_timeout",
    "channelbinding": "channel_binding",
    "username": "user",
    "pwd": "password",
    "database": "dbname",
    "server": "host",
    "tls": "ssl",
}
#: What `ssl` and `sslmode` are given elsewhere, as libpq's `sslmode`.
_SSL = {
    **dict.fromkeys(["true", "1", "yes", "on", "no-verify", ""], "require"),
    **dict.fromkeys(["false", "0", "no", "off"], "disable"),
    **{
        mode: mode for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    },
}


@dataclass(frozen=True)
class Url:
    """A database's URL in decoded parts. Its text is for a driver, with the password."""

    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, str], ...]  # a name and a port, either may be empty
    database: str
    parameters: dict[str, str]

    def __str__(self) -> str:
        login = _encoded(self.user or "")
        if self.password is not None:
            login += f":{_encoded(self.password)}"
        hosts = ",".join(
            (f"[{host}]" if ":" in host else _encoded(host)) + (port and f":{port}")
            for host, port in self.hosts
        )
        path = f"/{_encoded(self.database)}" if self.database or self.parameters else ""
        asked = "&".join(
            f"{name}={_encoded(value, '/')}" for name, value in self.parameters.items()
        )
        return f"postgresql://{login and login + '@'}{hosts}{path}{asked and '?' + asked}"


def read_url(given: str, name: str = "DATABASE_URL") -> str:
    """Return the Postgres URL in what was given, "" when there is nothing in it.

    Raises Misconfigured, which says of the setting `name` what is wrong and what to write.
    """
    text = unwrapped(given)
    if not text:
        return ""
    scheme = _POSTGRES.match(text)
    if scheme:
        return str(_parsed(text[scheme.end() :], name))
    other = _SCHEME.match(text)
    if other:
        kind = other[1].lower()
        begins = f"begins with {kind}://" if kind in _OTHERS else "is a URL of something else"
        raise Misconfigured(f"{name} {begins}, and recall needs Postgres; write {FORM}.")
    if _PAIRS.match(text):
        return str(_from_pairs(text, name))
    raise Misconfigured(f"{name} is not a URL of Postgres; write {FORM}.")


def source(given: str, name: str = "The URL") -> str:
    """Return the file or URL to read memories from: a URL of Postgres as `read` does.

    A URL of another database loses what was pasted around it; anything else stays as it is.
    Raises Misconfigured for a URL that no source can be.
    """
    text = unwrapped(given)
    scheme = _SCHEME.match(text)
    if _POSTGRES.match(text):
        return read_url(text, name)
    if scheme is None and "://" not in given:
        # Never said back as a file that is not there: it may hold a password.
        return read_url(text, name) if _CONNECTION.search(text) else given
    kind = scheme[1].lower().partition("+")[0] if scheme else ""
    if kind not in {"mysql", "mariadb", "sqlite"}:
        raise Misconfigured(
            f"{name} is not one that recall reads: postgresql://, mysql:// or sqlite:///FILE."
        )
    return text


def holds_password(url: str) -> bool:
    """Return whether a database's URL has a password in it, wherever it stands."""
    _, _, rest = url.partition("://")
    before, at, _ = rest.rpartition("@")
    asked = re.search(r"[?&][a-z]*(?:password|passwd|pwd)=[^&]", rest, re.IGNORECASE)
    return bool((at and ":" in before) or asked)


def direct(url: str) -> str:
    """Return `url` with Neon's `-pooler` taken from the first label of each host.

    Raises Misconfigured when `url` cannot be read.

    >>> direct("postgresql://u@ep-a-1-pooler.eu-central-1.aws.neon.tech/db")
    'postgresql://u@ep-a-1.eu-central-1.aws.neon.tech/db'
    """
    scheme, _, rest = url.rpartition("://")
    parsed = _parsed(rest, "")
    hosts = tuple((_without_pooler(host), port) for host, port in parsed.hosts)
    parameters = dict(parsed.parameters)
    if "host" in parameters:
        parameters["host"] = ",".join(map(_without_pooler, parameters["host"].split(",")))
    if (hosts, parameters) == (parsed.hosts, parsed.parameters):
        return url
    changed = Url(parsed.user, parsed.password, hosts, parsed.database, parameters)
    return scheme + str(changed).removeprefix("postgresql")


def hosts_of(url: str) -> str:
    """Return the hosts of `url` for a sentence, and nothing else of it, which may be secret.

    Raises Misconfigured when `url` cannot be read.
    """
    parsed = _parsed(url.rpartition("://")[2], "")
    hosts = [f"{host}:{port}" if port else host for host, port in parsed.hosts if host]
    if "host" in parsed.parameters:
        hosts = [parsed.parameters["host"]]
    if "service" in parsed.parameters and not hosts:
        return f"the service {parsed.parameters['service']}"
    return ", ".join(hosts) or "this machine"


def _without_pooler(host: str) -> str:
    label, dot, rest = host.partition(".")
    return label.removesuffix("-pooler") + dot + rest


def _parsed(rest: str, name: str) -> Url:
    """Split what stands behind `postgresql://`."""
    login, hosts, path, asked = _split(rest, name)
    parameters = _parameters(asked, name, quiet="@" in asked)
    if login is not None:
        user, colon, password = login.partition(":")
        parameters |= {"user": _decoded(user, "user", name)} if user else {}
        parameters |= {"password": _decoded(password, "password", name)} if colon else {}
    secret = parameters.pop("password", None)
    if secret and set(secret) <= {"*", "\u2022"}:
        raise Misconfigured(f"{name} has stars for a password; show it before you copy the URL.")
    database = _decoded(path, "database", name)
    return Url(parameters.pop("user", None), secret, _hosts(hosts, name), database, parameters)


def _split(rest: str, name: str) -> tuple[str | None, str, str, str]:
    """Return the login, the hosts, the path and the parameters, as libpq takes them apart."""
    before, _, _ = rest.partition("/")
    login, at, _ = before.partition("@")
    rest = rest[len(login) + 1 :] if at else rest
    where, _, asked = rest.partition("?")
    hosts, _, path = where.partition("/")
    if "@" in where:
        raise Misconfigured(
            f"{name} seems to have an @ or a / in its password; write them as %40 and %2F there."
        )
    if re.search(r"\s", rest):
        raise Misconfigured(f"{name} has white space in it; take it out, or write it as %20.")
    return (login if at else None), hosts, path, asked


def _hosts(text: str, name: str) -> tuple[tuple[str, str], ...]:
    hosts = []
    for each in text.split(","):
        match = _HOST.fullmatch(each)
        if match is None:
            raise Misconfigured(
                f"{name} names no host that can be read; write HOST:PORT with digits or "
                "[IPv6]:PORT, and in a password : / @ as %3A %2F %40."
            )
        port = (match[3] or "").lstrip("0") or match[3] or ""
        if port and not (len(port) <= 5 and 0 < int(port) < 65536):
            raise Misconfigured(f"{name} names a port that cannot be: it must be 1 to 65535.")
        hosts.append((match[1] or _decoded(match[2], "host", name), port))
    return tuple(hosts)


def _parameters(text: str, name: str, quiet: bool) -> dict[str, str]:
    """Return the parameters that libpq knows; those of drivers are dropped or translated."""
    given: dict[str, str] = {}
    # What follows a password may be part of the password: then no sentence names a parameter.
    quiet = quiet or "pass" in text.lower() or "pwd" in text.lower()
    for part in filter(None, text.split("&")):
        key, equals, value = part.partition("=")
        key = _SPELLINGS.get(key.lower(), key.lower())
        if key == "ssl" or (equals and key in libpq_parameters()):
            given[key] = _decoded(value, "parameters", name)
        elif key not in _OF_DRIVERS:
            raise _unknown(key, name, quiet)
    return _with_sslmode(given, name)


def _with_sslmode(given: dict[str, str], name: str) -> dict[str, str]:
    """Give `sslmode`, and `ssl` as others say, the words of libpq."""
    ssl = given.pop("ssl", None)
    asked = given.get("sslmode", ssl)
    if asked is not None:
        mode = _SSL.get(asked.strip().lower().replace("_", "-"))
        if mode is None:
            raise Misconfigured(
                f"{name} has an sslmode that Postgres does not know; write disable, allow, prefer, "
                "require, verify-ca or verify-full."
            )
        given["sslmode"] = mode
    return given


@cache
def libpq_parameters() -> frozenset[str]:
    """Return the names of the parameters that libpq knows."""
    from psycopg import pq

    return frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def _unknown(key: str, name: str, quiet: bool) -> Misconfigured:
    near = difflib.get_close_matches(key, libpq_parameters(), 1)
    shown = "" if quiet or not re.fullmatch(r"[a-z_]{2,30}", key) else f" {key}"
    said = f"did you mean {near[0]}?" if near else "take it out."
    return Misconfigured(f"{name} has a parameter{shown} that Postgres does not know; {said}")


def _from_pairs(text: str, name: str) -> Url:
    """Read `host=… dbname=…`, libpq's other form, and `Host=…;Database=…`, that of .NET."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if ";" in text:
        pairs = (part.partition("=") for part in text.split(";") if part.strip())
        asked = "&".join(f"{key.strip()}={quote(value.strip())}" for key, _, value in pairs)
        given = _parameters(re.sub("(?i)ssl mode", "sslmode", asked), name, quiet=True)
    else:
        try:
            values = conninfo_to_dict(text)
        except psycopg.Error:  # its message may hold the password
            raise Misconfigured(
                f"{name} cannot be read: it is neither a URL nor pairs such as `host=HOST "
                f"dbname=DATABASE`; write {FORM}."
            ) from None
        given = _with_sslmode({key: str(value) for key, value in values.items()}, name)
    user, password = given.pop("user", None), given.pop("password", None)
    return Url(user, password, (("", ""),), given.pop("dbname", ""), given)


def _decoded(text: str, part: str, name: str) -> str:
    if _BAD_PERCENT.search(text):
        raise Misconfigured(f"{name} has a % in its {part} that encodes nothing; write it as %25.")
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _encoded(text: str, plain: str = "") -> str:
    return quote(text.encode("utf-8", "surrogateescape"), plain)
