"""Times: what Python cannot read is refused, or moved when it is there already."""

from __future__ import annotations

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from recall.base.queries import SQL
from recall.contract.errors import Invalid
from recall.contract.values import Message, Note, Question
from recall.memory import memories, sessions
from recall.schema import migrate, shape

if TYPE_CHECKING:
    from pathlib import Path

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher

pytestmark = pytest.mark.anyio

EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
#: Each is a time in its own zone; in UTC none lies in the years 2 to 9998.
OUTSIDE = (
    "0001-01-01T00:00:00+00:01",
    "0001-01-01T00:00:00Z",
    "0001-12-31T23:59:59Z",
    "0002-01-01T00:00:00+00:01",
    "9998-12-31T23:59:59-00:01",
    "9999-12-31T23:59:59-23:59",
    "9999-01-01T00:00:00Z",
)
#: The server's own zones that move a time furthest.
ZONES = ("Etc/GMT+12", "Pacific/Kiritimati", "<+15>-15:59", "<-15>+15:59")

zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ends = st.one_of(
    st.datetimes(max_value=datetime(3, 1, 1)), st.datetimes(min_value=datetime(9998, 1, 1))
)


@pytest.mark.parametrize("at", OUTSIDE)
async def test_a_time_that_in_utc_lies_outside_is_refused_wherever_it_stands(at: str) -> None:
    for field, make in (
        ("created_at", lambda: Message(session_id="s", role="r", content="c", created_at=at)),  # type: ignore[arg-type]
        ("created_at", lambda: Note(content="c", created_at=at)),  # type: ignore[arg-type]
        ("since", lambda: Question(query="q", since=at)),  # type: ignore[arg-type]
        ("until", lambda: Question(query="q", until=at)),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValidationError) as caught:
            make()
        (wrong,) = caught.value.errors()
        assert wrong["loc"] == (field,)
        assert "between the years 2 and 9998" in wrong["msg"]


@given(ends, zones)
@example(datetime(2, 1, 1), UTC)
@example(datetime(9998, 12, 31, 23, 59, 59, 999999), UTC)
async def test_a_time_that_is_taken_is_read_back_in_any_zone_of_the_server(
    database: Database, caller: Caller, at: datetime, zone: timezone
) -> None:
    try:
        note = Note(content="x", created_at=at.replace(tzinfo=zone))
    except ValidationError:
        return
    (id,) = (await memories.save_notes(database, caller, [note])).ids
    for name in ZONES:

        async def read(connection: Connection, name: str = name) -> Any:
            await connection.execute("select set_config('timezone', %s, true)", [name])
            statement = "select created_at from memory where id = %s"
            return await (await connection.execute(statement, [id])).fetchone()

        assert await database.as_caller(caller, read) == (note.created_at,)


@pytest.mark.parametrize("offset", ["+23:59", "-23:59", "+16:00", "-16:00"])
async def test_an_offset_that_postgres_does_not_know_is_converted(
    offset: str, database: Database, caller: Caller, searcher: Searcher, worker: Worker
) -> None:
    at = f"2025-01-02T00:00:00{offset}"
    await memories.save_notes(database, caller, [Note(content="hello", created_at=at)])  # type: ignore[arg-type]
    await worker.drain()
    for scope, found in ({"since": at}, 1), ({"until": at}, 0):
        answer = await searcher.recall(caller, Question(query="hello", **scope))  # type: ignore[arg-type]
        assert len(answer.results) == found


@pytest.mark.parametrize("at", [*OUTSIDE, "2025-01-02T00:00:00+24:00", "infinity", 1e400])
async def test_a_cursor_with_such_a_time_is_refused(
    at: object, database: Database, caller: Caller
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([at, 1, True]).encode()).decode()
    with pytest.raises(Invalid, match="cursor"):
        await sessions.list_sessions(database, caller, cursor, 5)


async def test_the_database_refuses_such_times_itself(database: Database, caller: Caller) -> None:
    for at in ("-infinity", "infinity", "0001-12-31 23:59:59+00", "9999-01-01 00:00:00+00"):

        async def write(connection: Connection, at: str = at) -> None:
            await connection.execute(
                "insert into memory (tenant_id, kind, content, created_at)"
                " values (current_tenant(), 'note', 'x', %s::timestamptz)",
                [at],
            )

        with pytest.raises(Invalid, match="refuses this value"):
            await database.as_caller(caller, write)


@pytest.fixture
def before_times(tmp_path: Path) -> Path:
    """SQL as it was before the migration."""
    older = tmp_path / "sql"
    shutil.copytree(SQL, older)
    for file in (older / "migrations").glob("*.sql"):
        if file.stem >= "0004":
            file.unlink()
    return older


THERE_ALREADY = (
    ("-infinity", EARLIEST),
    ("4713-01-01 00:00:00+00 BC", EARLIEST),
    ("0001-01-01 00:00:00+00:01", EARLIEST),
    ("0001-06-01 00:00:00+00", EARLIEST),
    ("2025-01-01 00:00:00+00", datetime(2025, 1, 1, tzinfo=UTC)),
    ("9999-06-01 00:00:00+00", LATEST - timedelta(days=1)),
    ("294276-01-01 00:00:00+00", LATEST - timedelta(days=1)),
    ("infinity", LATEST - timedelta(days=1)),
)


async def test_times_that_are_there_already_are_moved_and_indexed_again(
    empty_url: str, before_times: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrate, "SQL", before_times)
        older.setattr(shape, "mend", lambda *_: None)  # it knows the constraint of today
        migrate.migrate(empty_url)
    options = "-c search_path=recall,public"
    with psycopg.connect(empty_url, autocommit=True, options=options) as owner:
        for at, _ in THERE_ALREADY:
            owner.execute(
                "with s as (insert into session (tenant_id, key, created_at, last_at)"
                " values (1, %(at)s::text, %(at)s::timestamptz, %(at)s::timestamptz) returning id)"
                " insert into memory (tenant_id, kind, session_id, role, content, created_at)"
                " select 1, 'message', id, 'user', %(at)s::text, %(at)s::timestamptz from s",
                {"at": at},
            )
        assert "0004_times" in migrate.migrate(empty_url)
        expected = [(at, at, at) for _, at in THERE_ALREADY]
        for name in ("UTC", *ZONES):
            owner.execute("select set_config('timezone', %s, false)", [name])
            found = owner.execute(
                "select m.created_at, s.created_at, s.last_at"
                " from memory as m join session as s on s.id = m.session_id order by m.id"
            ).fetchall()
            assert found == expected
        queued = owner.execute("select count(*) from job").fetchone()
        assert queued == (len(THERE_ALREADY) - 1,)
