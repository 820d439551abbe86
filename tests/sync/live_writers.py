"""The real writers, told by lines on stdin what to do: run by test_live.py, in their own Python.

    live_writers.py agents|chatkit|praisonai PLACE

A line is {"do": "say", "text": …}, {"do": "edit", "old": …, "text": …} or {"do": "delete",
"old": …}; each is answered by a line once it is committed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any


class Agents:
    """The Agents SDK's SQLiteSession; what it edits it pops and adds again."""

    def __init__(self, place: str) -> None:
        from agents import SQLiteSession

        self._session = SQLiteSession("user-1", place)

    async def say(self, text: str) -> None:
        await self._session.add_items([{"role": "user", "content": text}])

    async def edit(self, old: str, text: str) -> None:
        await self.delete(old)
        await self.say(text)

    async def delete(self, old: str) -> None:
        behind = []
        while (item := await self._session.pop_item()) and item["content"] != old:
            behind.append(item)
        await self._session.add_items(behind[::-1])


def postgres_store(place: str) -> Any:
    """Return a ChatKit store in the layout of the official guide."""
    import psycopg2
    from chatkit.store import NotFoundError, Store
    from chatkit.types import Page, ThreadItem, ThreadMetadata
    from pydantic import TypeAdapter

    item_of: TypeAdapter[Any] = TypeAdapter(ThreadItem)

    class PostgresStore(Store[str]):  # type: ignore[misc]
        def __init__(self) -> None:
            self._connection = psycopg2.connect(place)
            self._connection.autocommit = True
            self._run("create table if not exists threads (id text primary key, user_id text,"
                      " created_at timestamptz, data jsonb)")  # fmt: skip
            self._run("create table if not exists items (id text primary key, thread_id text"
                      " references threads on delete cascade, user_id text,"
                      " created_at timestamptz, data jsonb)")  # fmt: skip

        def _run(self, statement: str, *values: Any) -> list[Any]:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

        async def load_thread(self, thread_id: str, context: str) -> Any:
            rows = self._run("select data from threads where id = %s", thread_id)
            if not rows:
                raise NotFoundError(thread_id)
            return ThreadMetadata.model_validate(rows[0][0])

        async def save_thread(self, thread: Any, context: str) -> None:
            self._run(
                "insert into threads values (%s, %s, %s, %s)"
                " on conflict (id) do update set data = excluded.data",
                thread.id, context, thread.created_at, thread.model_dump_json(),
            )  # fmt: skip

        async def load_threads(
            self, limit: int, after: str | None, order: str, context: str
        ) -> Any:
            rows = self._run("select data from threads where user_id = %s", context)
            return Page(data=[ThreadMetadata.model_validate(row[0]) for row in rows])

        async def load_thread_items(
            self, thread_id: str, after: str | None, limit: int, order: str, context: str
        ) -> Any:
            rows = self._run(
                "select data from items where thread_id = %s order by created_at desc limit %s",
                thread_id, limit,
            )  # fmt: skip
            items = [item_of.validate_python(row[0]) for row in rows]
            return Page(data=items if order == "desc" else items[::-1])

        async def add_thread_item(self, thread_id: str, item: Any, context: str) -> None:
            await self.save_item(thread_id, item, context)

        async def save_item(self, thread_id: str, item: Any, context: str) -> None:
            self._run(
                "insert into items values (%s, %s, %s, %s, %s)"
                " on conflict (id) do update set data = excluded.data",
                item.id, thread_id, context, item.created_at, item.model_dump_json(),
            )  # fmt: skip

        async def load_item(self, thread_id: str, item_id: str, context: str) -> Any:
            rows = self._run("select data from items where id = %s", item_id)
            return item_of.validate_python(rows[0][0])

        async def delete_thread(self, thread_id: str, context: str) -> None:
            self._run("delete from threads where id = %s", thread_id)

        async def delete_thread_item(self, thread_id: str, item_id: str, context: str) -> None:
            self._run("delete from items where id = %s", item_id)

        async def save_attachment(self, attachment: Any, context: str) -> None:
            raise NotImplementedError

        async def load_attachment(self, attachment_id: str, context: str) -> Any:
            raise NotImplementedError

        async def delete_attachment(self, attachment_id: str, context: str) -> None:
            raise NotImplementedError

    return PostgresStore()


class ChatKit:
    """A real ChatKitServer: its answers are the texts, its events store, replace and remove."""

    def __init__(self, place: str) -> None:
        from chatkit import server, types

        chat = self

        class Server(server.ChatKitServer[str]):  # type: ignore[misc]
            async def respond(self, thread: Any, item: Any, context: str) -> Any:
                yield chat.event(thread)

        self._types = types
        self._server = Server(postgres_store(place))
        self._thread: str | None = None
        self._items: dict[str, Any] = {}
        self._wish: tuple[str, str] = ("", "")

    def event(self, thread: Any) -> Any:
        """Return the event that does what is wished for."""
        old, text = self._wish
        known = self._items.pop(old, None)
        if known and not text:
            return self._types.ThreadItemRemovedEvent(item_id=known.id)
        content = [self._types.AssistantMessageContent(text=text)]
        item = self._types.AssistantMessageItem(
            id=known.id if known else f"msg_{len(self._items)}",
            thread_id=thread.id,
            created_at=known.created_at if known else datetime.now(),
            content=content,
        )
        self._items[text] = item
        kinds = self._types.ThreadItemReplacedEvent, self._types.ThreadItemDoneEvent
        return kinds[0 if known else 1](item=item)

    async def _ask(self, old: str, text: str) -> None:
        self._wish = old, text
        said = {
            "content": [{"type": "input_text", "text": "please"}],
            "attachments": [],
            "inference_options": {},
        }
        request: dict[str, Any] = {"type": "threads.create", "params": {"input": said}}
        if self._thread:
            params = {"input": said, "thread_id": self._thread}
            request = {"type": "threads.add_user_message", "params": params}
        stream = await self._server.process(json.dumps(request), "ann")
        async for line in stream:
            event = json.loads(line.removeprefix(b"data: "))
            assert event["type"] != "error", event
            if event["type"] == "thread.created":
                self._thread = event["thread"]["id"]

    async def say(self, text: str) -> None:
        await self._ask("", text)

    async def edit(self, old: str, text: str) -> None:
        await self._ask(old, text)

    async def delete(self, old: str) -> None:
        await self._ask(old, "")


class PraisonAI:
    """PraisonAI's store class; it deletes, and edits by storing an id again."""

    def __init__(self, place: str) -> None:
        from praisonai.persistence.conversation.base import ConversationSession
        from praisonai.persistence.conversation.postgres import PostgresConversationStore
        from praisonai.persistence.conversation.sqlite import SQLiteConversationStore

        if place.startswith("postgresql://"):
            self._store: Any = PostgresConversationStore(url=place)
        else:
            self._store = SQLiteConversationStore(path=place)
        self._store.create_session(ConversationSession(session_id="s", user_id="ann"))
        self._ids: dict[str, str] = {}

    async def say(self, text: str, id: str | None = None) -> None:
        from praisonai.persistence.conversation.base import ConversationMessage

        known = {"id": id} if id else {}
        message = ConversationMessage(session_id="s", role="user", content=text, **known)
        self._store.add_message("s", message)
        self._ids[text] = message.id

    async def edit(self, old: str, text: str) -> None:
        id = self._ids[old]
        await self.delete(old)
        await self.say(text, id)

    async def delete(self, old: str) -> None:
        assert self._store.delete_messages("s", [self._ids.pop(old)]) == 1


async def main(kind: str, place: str) -> None:
    writer = {"agents": Agents, "chatkit": ChatKit, "praisonai": PraisonAI}[kind](place)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        await getattr(writer, order.pop("do"))(**order)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
