"""The parts that recall's schema should consist of, and how a lost part is made again.

`sql/schema/shape.sql` lists every part (a table, a column, an index, a grant …) as the statement
that makes it, exactly as the query `parts` reads it from the catalogue; a test holds the two
together. A part that the list has and the catalogue has not is lost.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import scalar_row

from recall.base.queries import SQL, query
from recall.contract.errors import SchemaRefused
from recall.schema.functions import spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Connection = psycopg.Connection[tuple[Any, ...]]

log = logging.getLogger("recall.shape")

_END = re.compile(r";\n+(?=alter|create|grant|revoke|\Z)", re.IGNORECASE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)

#: Tables that are derived from memories, or say which memories wait to be indexed: a lost one is
#: made again empty, and `recall doctor --fix` has it filled.
_DERIVED = r"(?:job|committed|chunk|embedding|word_count|corpus_count)(?:_\d+)?"
_OF_TRUTH = re.compile(
    rf"(?:create|alter) table recall\.(?!{_DERIVED} )(\w+) (?:\(|add column if not exists \"?(\w+))"
)

#: Beginnings of statements that let a role see more.
_OPENS = ("create policy ", "grant ")

#: What must go before a lost part can be made: an object of its name that is switched off, invalid
#: or changed; or rows derived from memories that were erased while no foreign key held the two
#: together. A pattern of the part, and the statement that clears the way.
_IN_THE_WAY = (
    (
        re.compile(r"alter table (recall\.(?:chunk|job)) .* FOREIGN KEY \(memory_id\)"),
        r"delete from \1 as d where not exists"
        r" (select from recall.memory as m where m.id = d.memory_id)",
    ),
    (re.compile(r"create policy (\S+) on (\S+) "), r"drop policy if exists \1 on \2"),
    (re.compile(r"CREATE (?:UNIQUE )?INDEX (\S+) "), r"drop index if exists recall.\1"),
    (
        re.compile(r"(alter table \S+) add constraint (\S+) (?:CHECK|FOREIGN)"),
        r"\1 drop constraint if exists \2",
    ),
)


@cache
def _listed() -> tuple[str, ...]:
    text = _COMMENT.sub("", (SQL / "schema" / "shape.sql").read_text(encoding="utf-8"))
    return tuple(part.strip() for part in _END.split(text) if part.strip())


def expected(profiles: Sequence[str], vector: str) -> list[str]:
    """Return every part of a whole schema, in an order in which they can be made.

    `profiles` are the ids of the profiles, each of which has partitions of its own.
    """
    return [
        part.replace("{profile}", profile)
        for part in _listed()
        for profile in (profiles if "{profile}" in part else [""])
        for part in [spelled(part, vector)]
    ]


def compared(connection: Connection, vector: str) -> tuple[list[str], list[str]]:
    """Return the parts that should be there and are not, and policies and grants beyond them."""
    cursor = connection.cursor(row_factory=scalar_row)
    there = set(cursor.execute(query("parts")))
    profiles: list[str] = []
    if "create table recall.profile ()" in there:
        profiles = cursor.execute(query("profiles_there")).fetchall()
    wanted = expected(profiles, vector)
    beyond = sorted(part for part in there.difference(wanted) if part.startswith(_OPENS))
    return [part for part in wanted if part not in there], beyond


def mend(connection: Connection, vector: str) -> None:
    """Make the lost parts again; raises SchemaRefused when only a backup can bring one back."""
    parts, _ = compared(connection, vector)
    if gone := irreplaceable(parts):
        raise SchemaRefused(
            f"The database lacks {', '.join(gone)} as recall made it, and only a backup can bring "
            "that back; restore one into an empty database, and read what pg_restore says it skips."
        )
    if parts:
        log.warning("The schema has lost %d parts (%s); made again.", len(parts), named(parts[0]))
    for part in parts:
        log.info("Lost: %s", named(part))
        try:
            for statement in statements_that_make(part):
                connection.execute(statement.encode())
        except (psycopg.errors.InsufficientPrivilege, psycopg.OperationalError):
            raise
        except psycopg.Error as error:
            raise SchemaRefused(
                f"The database has lost a part that cannot be made again ({named(part)}): "
                f"{error.diag.message_primary}."
            ) from error
    connection.execute(query("advance_sequences"))
    if parts and (left := compared(connection, vector)[0]):
        raise SchemaRefused(
            f"The database has a part that is not recall's own: {named(left[0])} was meant."
        )


def irreplaceable(parts: Iterable[str]) -> list[str]:
    """Return the names of lost tables and columns whose rows only a backup can bring back."""
    matches = [match.groups() for part in parts if (match := _OF_TRUTH.match(part))]
    tables = {table for table, column in matches if not column}
    return [
        f"{table}.{column}" if column else table
        for table, column in matches
        if not (column and table in tables)
    ]


def statements_that_make(part: str) -> list[str]:
    """Return the statements that make `part` again."""
    cleared = [then for pattern, to in _IN_THE_WAY for then in _cleared(pattern, to, part)]
    return [*cleared, part]


def _cleared(pattern: re.Pattern[str], to: str, part: str) -> list[str]:
    match = pattern.match(part)
    return [match.expand(to)] if match else []


def holds_rows(part: str) -> bool:
    """Return whether rows can be read and written as meant only with this part."""
    made = part.startswith(("create table", "create sequence"))
    return made or " add column " in part or part.endswith("as identity")


def named(part: str) -> str:
    """Return a part's first line as far as it says what the part is."""
    first = " ".join(part.splitlines()[0].split())
    return first if len(first) <= 90 else first[:89] + "…"
