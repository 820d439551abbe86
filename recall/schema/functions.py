"""SQL functions: every version calls its own, in a schema named after their text.

`sql/functions/*.sql` define them in `recall_XXXXXXXX`, where the digits are a checksum of the text.
So an older and a newer version run beside each other, and neither redefines what the other calls.
The schema stands first on the path of every unit. The path ends at recall's own schemas: nobody
else may create there, so nobody's operator can stand in for Postgres's. What pgvector brings lies
in a schema that others may write to; its names are spelled out when a file is read.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import dict_row

from recall.base.queries import SQL, query
from recall.contract.errors import Misconfigured, SchemaRefused

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_CREATED = re.compile(r"^create or replace function (\w+)", re.MULTILINE)
_GRANTED = re.compile(r"^grant execute on function ([\w,\s]+?)\s+to recall_service", re.MULTILINE)
_OF_VECTOR = re.compile(r"(?<![\w.])halfvec(?:_cosine_ops)?\b")


@dataclass(frozen=True)
class Functions:
    """One version's functions: their text, the schema that they live in, and who calls which."""

    schema: str
    checksum: str
    text: str

    @property
    def path(self) -> str:
        """The search path of whoever calls them; what Postgres brings comes before all of it."""
        return f"{self.schema}, recall, pg_temp"

    @property
    def names(self) -> set[str]:
        """Every function's name."""
        return set(_CREATED.findall(self.text))

    @property
    def granted(self) -> set[str]:
        """The names of those that recall_service may call."""
        return {name for group in _GRANTED.findall(self.text) for name in re.split(r",\s*", group)}


def read_functions(vector: str, folder: Path = SQL / "functions") -> Functions:
    """Return the functions of `folder` for a database with pgvector in the schema `vector`.

    Raises Misconfigured when that schema's name cannot be written into them.
    """
    files = sorted(folder.glob("*.sql"))
    text = spelled("\n".join(file.read_text(encoding="utf-8") for file in files), vector)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return Functions(f"recall_{checksum[:8]}", checksum, text)


def spelled(text: str, vector: str) -> str:
    """Return SQL with pgvector's names spelled out: `vector`.halfvec, operator(`vector`.<=>).

    Raises Misconfigured when the name `vector` holds a quote, a percent sign or a backslash.
    """
    if re.search(r"['%\\]", vector):
        raise Misconfigured(
            f"pgvector lies in the schema {vector}; recall needs one whose name holds no quote, "
            "percent sign or backslash: `alter extension vector set schema …`."
        )
    text = _OF_VECTOR.sub(lambda name: f"{vector}.{name[0]}", text)
    return text.replace("<=>", f"operator({vector}.<=>)")


def walk(connection: Connection, path: str = "pg_catalog, pg_temp") -> None:
    """Set the search path to `path` until the transaction ends or this is called again."""
    connection.execute("select pg_catalog.set_config('search_path', %s, true)", [path])


def lacking(connection: Connection, wanted: Functions) -> list[str]:
    """Return the names of this version's functions that are missing, or whose rights are wrong.

    Rights are wrong when recall does not own the function, everybody may call it, or recall_service
    may, and is not `granted` it, or the other way round.
    """
    cursor = connection.cursor(row_factory=dict_row)
    sound = {
        there["name"]
        for there in cursor.execute(query("functions_there"), [wanted.schema])
        if there["owned"]
        and not there["by_all"]
        and there["by_service"] == (there["name"] in wanted.granted)
    }
    return sorted(wanted.names - sound)


def define(connection: Connection, wanted: Functions) -> None:
    """Define this version's functions, unless none is lacking, as the schema's owner.

    Raises SchemaRefused when their schema belongs to somebody else.
    """
    if not lacking(connection, wanted):
        return
    schema = sql.Identifier(wanted.schema)
    cursor = connection.cursor(row_factory=dict_row)
    there = cursor.execute(query("schema_owner"), [wanted.schema]).fetchone()
    if there is None:
        connection.execute(sql.SQL("create schema {}").format(schema))
    elif not there["ours"]:
        raise SchemaRefused(
            f"The schema {wanted.schema} belongs to {there['owner']}, not to recall."
        )
    connection.execute(query("any_order"))
    walk(connection, wanted.path)
    connection.execute(wanted.text.encode())
    walk(connection)
    for rights in (
        "revoke execute on all functions in schema {} from public",
        "grant usage on schema {} to recall_service",
    ):
        connection.execute(sql.SQL(rights).format(schema))
    connection.execute(query("record_functions"), [wanted.schema, wanted.checksum])
