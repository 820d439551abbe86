"""ChatKit, self-hosted: threads and items in a layout that each app made up for itself.

Every item table with a `thread_id` is read, in any schema, whatever its columns are called; the
item itself is a JSON in one of them, or the columns are the item. Keys are
`chatkit:THREAD/ITEM@TIME`: item ids have 32 random bits, models without ids give `__fake_id__` to
every answer, and an edit changes neither the id nor the item's time.

An item's own time is naive, in the zone of the server that wrote it: say it with `assume_tz`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant, stamp, zone
from recall.sources.reading.content import mapping, name, parsed, text_of
from recall.sources.reading.rows import Skip, items_of, key_of
from recall.sources.reason import Reason
from recall.sources.systems.chatkit import CHATKIT, JSON_COLUMNS, item_tables, thread_table
from recall.sources.systems.chatkit.chatkit_items import chatkit_utterance, role_of
from recall.sources.tables.chapters import Chapter, TableSource
from recall.sources.tables.pages import Beside, Select

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from recall.sources.catalog import Catalog, Table
    from recall.sources.reading.rows import Item
    from recall.sources.reading.utterance import Utterance
    from recall.sources.tables.dialect import SourceDatabase

_KIND_COLUMNS = ("type", "item_type", "role")
_ORDER_COLUMNS = ("sort_key", "sequence_number", "item_index")
_TIME_COLUMNS = ("created_at", "created")
#: Columns of an item that an app exploded: its fields, some behind a prefix.
_FIELD_PREFIXES = ("tool_", "task_", "workflow_", "attachment_", "widget_")
_FIELDS = ("attachments", "arguments", "call_id", "name", "output", "quoted_text", "status", "text")
_THREAD_COLUMNS = ("user_id", "title", "data", "json", "metadata", "metadata_json")


class Layout(NamedTuple):
    """The columns of an app's item table, by what they hold, and how its rows are read."""

    table: Table
    json: str | None
    kinds: tuple[str, ...]
    time: str | None
    naive: tzinfo  # the zone of times that name none
    hidden: bool  # whether hidden turns are stored


def chatkit_history(
    target: str, *, assume_tz: str = "UTC", include_hidden: bool = False
) -> TableSource:
    """Return the ChatKit store at `target`.

    `include_hidden` stores hidden context, system prompts and reasoning as well.
    """
    naive = zone(assume_tz)

    def chapters(catalog: Catalog, _: SourceDatabase) -> list[Chapter]:
        return [_chapter(catalog, t, naive, include_hidden) for t in item_tables(catalog)]

    return TableSource(CHATKIT, target, chapters)


def _chapter(catalog: Catalog, table: Table, naive: tzinfo, hidden: bool) -> Chapter:
    time = table.first(*_TIME_COLUMNS)
    kinds = table.present(*_KIND_COLUMNS)
    layout = Layout(table, table.first(*JSON_COLUMNS), kinds, time, naive, hidden)
    fields = [c for c in table.columns if c.startswith(_FIELD_PREFIXES) or c in _FIELDS]
    columns = dict.fromkeys(
        [
            "id",
            "thread_id",
            *table.present("user_id", "metadata", *_TIME_COLUMNS),
            *kinds,
            *table.present(*JSON_COLUMNS),
            *fields,
        ]
    )
    # Within one time the app's own counter decides, then the ids that tell items apart.
    order = dict.fromkeys(
        [*([time] if time else []), *table.present(*_ORDER_COLUMNS), "thread_id", "id"]
    )
    beside = None
    threads = thread_table(catalog, table)
    if threads:
        shown = threads.present(*_THREAD_COLUMNS, "thread_metadata", "created_at")
        beside = Beside(threads, "id", "thread_id", shown)
    select = Select(table, tuple(columns), tuple(order), beside)
    return Chapter(table.path, select, partial(_row, layout))


def _row(layout: Layout, row: dict[str, Any]) -> list[list[Item]]:
    where = f"{row['thread_id']}/{row['id']}"
    item = _item(layout, row)
    utterance = chatkit_utterance(item)
    if utterance.reason is Reason.UNKNOWN_TYPE and utterance.text:
        utterance = utterance._replace(reason=None, facts={"type": text_of(item.get("type"))})
    if utterance.reason and not (layout.hidden and utterance.text):
        return [[Skip(utterance.reason, where, text_of(item.get("type")))]]
    return [_message(layout, row, item, utterance)]


def _item(layout: Layout, row: dict[str, Any]) -> dict[str, Any]:
    """Return the item as ChatKit means it, out of a JSON column or put together from columns."""
    content = row.get(layout.json or "")
    value = parsed(content)
    if isinstance(value, dict) and isinstance(value.get("item"), dict):
        value = value["item"]
    kind = next((k for k in (name(row.get(c)) for c in layout.kinds) if k), None)
    if isinstance(value, dict) and "type" in value and ("id" in value or "content" in value):
        return value
    if isinstance(value, dict) and layout.json != "content":
        return {"type": kind, **value}  # the app keeps the type in a column beside the JSON
    fields = {c: row[c] for c in row if c in _FIELDS or c.startswith(_FIELD_PREFIXES)}
    parts = isinstance(value, dict) or (isinstance(value, list) and _all_objects(value))
    return {
        "type": kind,
        "role": text_of(row.get("role")),
        **_exploded(fields),
        "content": value if parts else content,
    }


def _all_objects(parts: list[Any]) -> bool:
    return all(isinstance(part, dict) for part in parts)  # else somebody typed "[1, 2]"


def _exploded(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the columns `tool_name`, `task_title`… as the fields of the item that they were."""
    item: dict[str, Any] = {c: value for c, value in fields.items() if c in _FIELDS}
    inner: dict[str, dict[str, Any]] = {}
    for column, value in fields.items():
        start, _, field = column.partition("_")
        if field and column not in _FIELDS and value is not None:
            inner.setdefault(start, {})[field] = parsed(value) or value
    for start, values in inner.items():
        whole = values.pop("json", None) or values.pop("data", None)
        if start == "tool":
            item |= {f.removeprefix("call_") if f != "call_id" else f: v for f, v in values.items()}
        elif start == "attachment":
            item["attachments"] = [values]
        else:
            item[start] = whole if isinstance(whole, dict) else values
    return item


def _message(
    layout: Layout, row: dict[str, Any], item: dict[str, Any], utterance: Utterance
) -> list[Item]:
    thread = _thread(row)
    time, written = _time(layout, row, item)
    text = utterance.text
    if not text.strip():
        # An app's own column beside an empty item: the text is better than nothing.
        text = text_of(row.get("content")) if layout.json != "content" else ""
    return items_of(
        Message,
        key_of(CHATKIT.name, row["thread_id"], f"{row['id']}@{stamp(written)}"),
        text,
        session_id=name(row["thread_id"]) or CHATKIT.name,
        session_title=name(thread.get("title")),
        role=utterance.role
        if utterance.role
        else role_of(text_of(item.get("type"))) or "assistant",
        user_id=name(row.get("user_id")) or name(thread.get("user_id")),
        created_at=time or instant(thread.get("created_at"), layout.naive) or UNKNOWN,
        metadata={
            "source": CHATKIT.name,
            "type": text_of(item.get("type")),
            **utterance.facts,
            "time_estimated": time is None or None,
        },
    )


def _time(
    layout: Layout, row: dict[str, Any], item: dict[str, Any]
) -> tuple[datetime | None, object]:
    """Return an item's time and how it is written.

    The item's own comes first: a column was read in the zone of the database's session, which
    turns a naive time into a wrong one.
    """
    for written in (item.get("created_at"), row.get(layout.time or "")):
        time = instant(written, layout.naive)
        if time:
            return time, written
    return None, None


def _thread(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the thread, its columns before the JSON that an app keeps."""
    beside = {c.removeprefix("beside."): v for c, v in row.items() if c.startswith("beside.")}
    known: dict[str, Any] = {}
    for column in ("thread_metadata", "metadata_json", "metadata", "json", "data"):
        data = mapping(beside.get(column))
        inner = data.get("thread")
        data = inner if isinstance(inner, dict) else data
        known |= mapping(data.get("metadata")) | data
    return known | {c: v for c, v in beside.items() if v is not None}
