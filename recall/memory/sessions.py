"""Reading sessions back, a page at a time, in both directions."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictBool, StrictInt, TypeAdapter

from recall.base.queries import query
from recall.contract.errors import Invalid, NotFound
from recall.contract.fields import Time
from recall.database.fetching import Row, fetch_all, fetch_value

if TYPE_CHECKING:
    from datetime import datetime
    from typing import LiteralString

    from recall.database.caller import Caller
    from recall.database.units import Connection, Database

#: A cursor's time, its id, and whether it leads back.
_FIELDS = TypeAdapter(tuple[Time, Annotated[StrictInt, Field(ge=0, lt=2**63 - 1)], StrictBool])


@dataclass(frozen=True, slots=True)
class Cursor:
    """The row behind or before which a page begins, and which way it reads; opaque outside."""

    at: datetime
    id: int
    back: bool

    def __str__(self) -> str:
        packed = json.dumps([self.at.isoformat(), self.id, self.back]).encode()
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that `text` stands for.

        Raises Invalid when recall never gave it out.
        """
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return cls(*_FIELDS.validate_json(packed))
        except ValueError as error:  # base64's and pydantic's own are ValueErrors too
            raise Invalid("cursor is not one that recall gave out.", "cursor") from error


@dataclass(frozen=True, slots=True)
class Page:
    """Rows by column name, and the cursors of the pages before and behind them, if any."""

    rows: tuple[dict[str, Any], ...]
    previous: str | None
    next: str | None


async def list_sessions(database: Database, caller: Caller, cursor: str | None, limit: int) -> Page:
    """Return a page of `limit` sessions, those with the newest message first.

    Raises Invalid when recall never gave out this cursor.
    """

    async def work(connection: Connection) -> Page:
        statements = (query("sessions_page"), query("sessions_page_back"))
        return await _page(connection, statements, cursor, {"limit": limit}, "last_at")

    return await database.read(caller, work)


async def list_messages(
    database: Database, caller: Caller, session: str, cursor: str | None, limit: int
) -> Page:
    """Return a page of `limit` messages of a session, oldest first.

    Raises NotFound when there is no session of this key, Invalid when recall never gave out this
    cursor.
    """

    async def work(connection: Connection) -> Page:
        id = await fetch_value(connection, query("session_by_key"), [session])
        if id is None:
            raise NotFound(f"There is no session {session!r}.")
        statements = (query("messages_page"), query("messages_page_back"))
        values = {"session": id, "limit": limit}
        return await _page(connection, statements, cursor, values, "created_at")

    return await database.read(caller, work)


async def _page(
    connection: Connection,
    statements: tuple[LiteralString, LiteralString],
    given: str | None,
    values: dict[str, Any],
    time: str,
) -> Page:
    cursor = Cursor.parse(given) if given else None
    back = cursor is not None and cursor.back
    limit = values["limit"]
    # One row more than asked tells whether there is another page.
    values |= {
        "limit": limit + 1,
        "at": cursor.at if cursor else None,
        "id": cursor.id if cursor else 0,
    }
    rows = await fetch_all(connection, Row, statements[back], values)
    more = len(rows) > limit
    rows = rows[:limit]
    if back:
        rows.reverse()
    if not rows:  # the rows of this page were erased; those before it may be there
        before = Cursor(cursor.at, cursor.id + 1, back=True) if cursor and not back else None
        return Page((), str(before) if before else None, None)
    first = Cursor(rows[0][time], rows[0]["id"], back=True)
    last = Cursor(rows[-1][time], rows[-1]["id"], back=False)
    return Page(
        tuple(rows),
        str(first) if (more if back else cursor is not None) else None,
        str(last) if (True if back else more) else None,
    )
