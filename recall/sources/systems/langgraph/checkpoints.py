"""LangGraph: the messages of each thread's newest checkpoint, in Postgres or SQLite.

Every checkpoint repeats the whole conversation, so only the newest of a thread is read, through
LangGraph's own saver: messages are packed with the names of LangChain's classes. Keys are
`langgraph:THREAD/MESSAGE`. Messages have no time; they get that of the first checkpoint that is
kept, and a millisecond more than the one before. A thread with a new checkpoint is read again.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.contract.errors import SourceUnreadable
from recall.contract.values import Message
from recall.sources.reading.clock import UNKNOWN, instant
from recall.sources.reading.content import call, flatten, joined, listing, mapping, name, text_of
from recall.sources.reading.extras import extra
from recall.sources.reading.files import file_fingerprint
from recall.sources.reading.rows import Skip, items_of, key_of, short_hash
from recall.sources.reading.steps import Step, keys, resumed
from recall.sources.reason import Reason
from recall.sources.systems.langgraph import LANGGRAPH
from recall.sources.tables.databases import connected, is_url, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from recall.sources.reading.rows import Item
    from recall.sources.source import Found, Position, Skipped

_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
    "system": "system",
    "developer": "system",
}


def langgraph_history(
    target: str, *, channel: str = "messages", include_hidden: bool = False
) -> Checkpoints:
    """Return the checkpoints at `target`; `channel` is where a graph keeps its messages.

    `include_hidden` stores system prompts as well.
    """
    return Checkpoints(target, channel, include_hidden)


class Thread(NamedTuple):
    """A thread and its newest checkpoint: their order is the order of reading."""

    checkpoint: str
    id: str
    first: str


class Checkpoints:
    """The threads by the time of their newest checkpoint, whose ids grow with time."""

    system = LANGGRAPH

    def __init__(self, target: str, channel: str, hidden: bool) -> None:
        self.origin = origin_of(target)
        self._target = target
        self._channel = channel
        self._hidden = hidden

    def count(self) -> None:
        """Return None: the messages are known once the checkpoints are unpacked."""

    def read(self, after: Position | None = None) -> Iterator[Found | Skipped]:
        """Yield the messages of every thread that has a checkpoint behind `after`."""
        return resumed(self._steps, after)

    def rewind(self, position: Position) -> Position | None:
        """Return the start: a checkpoint's id is made by whoever writes it, before the commit."""
        return None

    def fingerprint(self) -> str | None:
        """Return the newest checkpoint there is."""
        if "://" not in self.origin:
            return file_fingerprint(self.origin)
        threads = self._threads()
        return short_hash(*threads)

    def ids(self) -> Iterator[str]:
        """Yield the keys of all messages that are there now."""
        return keys(self.read())

    def _threads(self) -> list[Thread]:
        with connected(self._target) as database:
            # A subgraph's checkpoints, of another namespace, repeat what the graph's hold.
            sql = (
                "select max(checkpoint_id), thread_id, min(checkpoint_id) from checkpoints "
                "where checkpoint_ns = '' group by thread_id order by 1, 2"
            )
            with database.run(sql, ()) as rows:
                return [Thread(*map(text_of, row)) for row in rows]

    def _steps(self, after: Position | None) -> Iterator[Step]:
        threads = sorted(self._threads())
        with _saver(self._target) as saver:
            for thread in threads:
                stand = [thread.checkpoint, thread.id]
                if after is None or stand > after:
                    yield Step(stand, self._rows(saver, thread))

    def _rows(self, saver: Any, thread: Thread) -> list[list[Item]]:
        with warnings.catch_warnings():
            # Of classes that LangGraph does not know; we read what it makes of them anyway.
            warnings.simplefilter("ignore")
            try:
                newest = _checkpoint(saver, thread.id, thread.checkpoint)
                first = _checkpoint(saver, thread.id, thread.first)
            except (ValueError, TypeError, LookupError, AttributeError, ImportError) as error:
                return [[Skip(Reason.UNREADABLE, thread.id, f"{type(error).__name__}: {error}")]]
        messages = mapping(newest.get("channel_values")).get(self._channel)
        if not isinstance(messages, list) or not messages:
            return [[Skip(Reason.EMPTY_THREAD, thread.id)]]
        started = instant(first.get("ts")) or instant(newest.get("ts")) or UNKNOWN
        return [
            self._row(thread, _fields(message), started + timedelta(milliseconds=number))
            for number, message in enumerate(messages)
        ]

    def _row(self, thread: Thread, message: dict[str, Any], time: datetime) -> list[Item]:
        text = _text(message)
        own = name(message.get("id")) or short_hash(message.get("type"), text, time.isoformat())
        key = key_of(LANGGRAPH.name, thread.id, own)
        role = _ROLES.get(text_of(message.get("type")) or text_of(message.get("role")))
        if role is None and not text:
            return [Skip(Reason.UNKNOWN_TYPE, key, text_of(message.get("type")))]
        if role == "system" and not self._hidden:
            return [Skip(Reason.SYSTEM_PROMPT, key)]
        facts = mapping(message.get("additional_kwargs"))
        return items_of(
            Message,
            key,
            text,
            session_id=thread.id,
            role=role or "assistant",
            author=name(message.get("name")) if role != "tool" else None,
            created_at=time,
            metadata={
                "source": LANGGRAPH.name,
                "tool": name(message.get("name")) if role == "tool" else None,
                "call_id": name(message.get("tool_call_id")),
                "summary": facts.get("summary") is True or None,
                "time_estimated": True,
            },
        )


def _checkpoint(saver: Any, thread: str, checkpoint: str) -> dict[str, Any]:
    where = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint}
    saved = saver.get_tuple({"configurable": where})
    return mapping(saved.checkpoint) if saved else {}


def _fields(message: Any) -> dict[str, Any]:
    """Return a message's fields, whether LangChain knows its class or not."""
    if isinstance(message, dict):
        return {**mapping(message.get("kwargs")), **message}
    dump = getattr(message, "model_dump", None)
    if dump is not None:
        return mapping(dump())
    if isinstance(message, list | tuple) and len(message) == 2:
        return {"type": message[0], "content": message[1]}
    return {"content": message if isinstance(message, str) else ""}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    parts = listing(content) or [content]
    spoken = [p for p in parts if not (isinstance(p, dict) and _silent(text_of(p.get("type"))))]
    calls = [
        call(mapping(c).get("name"), mapping(c).get("args"))
        for c in listing(message.get("tool_calls"))
    ]
    return joined(flatten(spoken), *calls)


def _silent(kind: str) -> bool:
    return kind in {"thinking", "reasoning", "redacted_thinking", "tool_use", "tool_call"}


@contextmanager
def _saver(target: str) -> Iterator[Any]:
    """Open LangGraph's own reader of the checkpoints."""
    if is_url(target) and not target.startswith("sqlite"):
        module = extra("langgraph.checkpoint.postgres", "langgraph")
        psycopg = extra("psycopg", "langgraph")
        try:
            with module.PostgresSaver.from_conn_string(target) as saver:
                yield saver
        except psycopg.Error as error:
            raise SourceUnreadable(f"{origin_of(target)} cannot be read: {error}.") from error
        return
    module = extra("langgraph.checkpoint.sqlite", "langgraph")
    sqlite3 = extra("sqlite3", "langgraph")
    # Its own opening would write the tables that are there already.
    uri = f"file:{origin_of(target)}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
    try:
        saver = module.SqliteSaver(connection)
        saver.is_setup = True
        yield saver
    except sqlite3.Error as error:
        raise SourceUnreadable(f"{origin_of(target)} cannot be read: {error}.") from error
    finally:
        connection.close()
