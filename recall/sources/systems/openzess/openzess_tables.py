"""OpenZess: sessions, messages and notes in SQLite or Postgres; personas on request.

Keys. A message is `openzess:SESSION/ID@TIME`: its number alone repeats from one database to the
next, and so does a session such as `telegram_7`, but not with the same microsecond. Messages are
never edited, so the key holds. A note is `openzess:note/UUID`, a persona
`openzess:persona/ID@TIME`. The table `mcp_servers` holds secrets and is never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.values import Message, Note
from recall.sources.reading.clock import UNKNOWN, instant, stamp, zone
from recall.sources.reading.content import joined, name, text_of
from recall.sources.reading.rows import items_of, key_of
from recall.sources.systems.openzess import OPENZESS, openzess_schemas
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.pages import Beside, Select

if TYPE_CHECKING:
    from datetime import tzinfo

    from recall.sources.catalog import Catalog, Table
    from recall.sources.reading.rows import Item
    from recall.sources.tables.dialect import SourceDatabase

_PERSONA = ("description", "personality", "scenario", "first_mes", "mes_example")


def openzess_history(target: str, *, assume_tz: str = "UTC", personas: bool = False) -> TableSource:
    """Return the OpenZess database at `target`; `personas` reads those as notes too."""
    naive = zone(assume_tz)

    def chapters(catalog: Catalog, _: SourceDatabase) -> list[Chapter]:
        return [
            chapter
            for schema in openzess_schemas(catalog)
            for chapter in _chapters(catalog, schema, naive, personas)
        ]

    return TableSource(OPENZESS, target, chapters)


def _chapters(catalog: Catalog, schema: str, naive: tzinfo, personas: bool) -> list[Chapter]:
    messages, sessions = catalog.get("messages", schema), catalog.get("sessions", schema)
    # The published guide calls the column `timestamp`; the code has always said `created_at`.
    time = messages.first("created_at", "timestamp")
    columns = ("id", "session_id", "role", "content") + ((time,) if time else ())
    beside = Beside(sessions, "id", "session_id", sessions.present("title", "created_at"))

    def message(row: dict[str, Any]) -> list[list[Item]]:
        return [_message(row | {"time": row.get(time or "")}, naive)]

    chapters = [Chapter(messages.path, Select(messages, columns, ("id",), beside), message)]
    notes = catalog.find("notes", schema)
    if notes and notes.has("id", "content"):
        chapters.append(_notes(notes, naive))
    people = catalog.find("personas", schema)
    if personas and people and people.has("id", "name"):
        shown = people.present("id", "name", *_PERSONA, "created_at")
        select = Select(people, shown, ("id",))
        chapters.append(Chapter(people.path, select, lambda row: [_persona(row, naive)]))
    return chapters


def _notes(notes: Table, naive: tzinfo) -> Chapter:
    columns = notes.present("id", "title", "content", "category", "created_at", "updated_at")
    # An edit moves `updated_at`, and with it the note behind the position: it is read again.
    order = (*notes.present("updated_at"), "id")
    return Chapter(notes.path, Select(notes, columns, order), lambda row: [_note(row, naive)])


def _message(row: dict[str, Any], naive: tzinfo) -> list[Item]:
    session = name(row["session_id"]) or OPENZESS.name
    role, _, persona = text_of(row["role"]).partition(":")
    time = instant(row["time"], naive)
    created = time or instant(row.get("beside.created_at"), naive) or UNKNOWN
    return items_of(
        Message,
        key_of(OPENZESS.name, session, f"{row['id']}@{stamp(row['time'])}"),
        text_of(row["content"]),
        session_id=session,
        session_title=name(row.get("beside.title")),
        role={"agent": "assistant", "": "user"}.get(role, role),
        author=persona or None,
        created_at=created,
        metadata={"source": OPENZESS.name, "time_estimated": time is None or None},
    )


def _note(row: dict[str, Any], naive: tzinfo) -> list[Item]:
    time = instant(row.get("created_at"), naive)
    updated = instant(row.get("updated_at"), naive)
    return items_of(
        Note,
        key_of(OPENZESS.name, "note", row["id"]),
        text_of(row["content"]) or text_of(row.get("title")),
        title=name(row.get("title")),
        category=name(row.get("category")),
        created_at=time or updated or UNKNOWN,
        metadata={
            "source": OPENZESS.name,
            "updated_at": updated.isoformat() if updated else None,
            "time_estimated": time is None or None,
        },
    )


def _persona(row: dict[str, Any], naive: tzinfo) -> list[Item]:
    time = instant(row.get("created_at"), naive)
    return items_of(
        Note,
        key_of(OPENZESS.name, "persona", f"{row['id']}@{stamp(row.get('created_at'))}"),
        joined(*(text_of(row.get(field)) for field in ("name", *_PERSONA))),
        title=name(row.get("name")),
        category="persona",
        created_at=time or UNKNOWN,
        metadata={"source": OPENZESS.name, "time_estimated": time is None or None},
    )
