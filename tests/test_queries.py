"""Named statements: all of them used, all of them known, all of them fit for the schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import recall
from recall.base.queries import SQL, query, statements
from recall.schema import functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Databases

SOURCES = {
    file: file.read_text(encoding="utf-8") for file in Path(recall.__file__).parent.rglob("*.py")
}
#: Several statements under one name, for a connection that has no schema yet.
SCRIPTS = {"create_ledger", "ready_role"}


def test_every_statement_is_used() -> None:
    literals = {word for text in SOURCES.values() for word in re.findall(r'"(\w+)"', text)}
    assert set(statements()) - literals == set()


def test_every_statement_that_is_asked_for_exists() -> None:
    asked = {
        (file.name, word)
        for file, text in SOURCES.items()
        for word in re.findall(r'\bquery\("(\w+)"\)', text)
    }
    assert asked
    assert [where for where in asked if where[1] not in statements()] == []


def test_an_unknown_statement_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        query("no_such_statement")


@pytest.fixture(scope="module")
def schema(databases: Databases, template: str) -> Iterator[psycopg.Connection[Any]]:
    """One database for all statements: none of them is run."""
    url = databases.create(template)
    with psycopg.connect(url, autocommit=True) as connection:
        path = functions.read_functions("public").path
        connection.execute("select set_config('search_path', %s, false)", [path])
        yield connection
    databases.drop(url)


@pytest.mark.parametrize("file", sorted(SQL.rglob("*.sql")), ids=lambda file: file.name)
def test_every_file_opens_with_prose(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"-- [A-Z].*[.:]?$", first), first


@pytest.mark.parametrize("name", sorted(set(statements()) - SCRIPTS))
def test_every_statement_is_understood_by_the_schema(
    name: str, schema: psycopg.Connection[Any]
) -> None:
    numbers: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1] or str(len(numbers)), len(numbers) + 1)}"

    text = re.sub(r"%(?:\((\w+)\))?[sbt]", place, query(name)).replace("%%", "%")
    answer = schema.pgconn.prepare(b"", text.encode())
    assert not answer.error_message, answer.error_message.decode()


def test_the_functions_can_be_defined_again(owner: psycopg.Connection[Any]) -> None:
    owner.execute(functions.read_functions("public").text.encode())


def test_no_function_has_two_forms(owner: psycopg.Connection[Any]) -> None:
    twice = owner.execute(
        "select proname from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace"
        " where n.nspname ~ '^recall(_[0-9a-f]{8})?$' group by 1 having count(*) > 1"
    ).fetchall()
    assert twice == []
