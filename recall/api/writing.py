"""Routes that write: messages, notes, and forgetting."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field

from recall.api.answers import Json
from recall.api.gate import Asker, Running
from recall.api.unpacking import Batch
from recall.contract.fields import Id
from recall.contract.limits import LARGEST_BATCH, LARGEST_ID
from recall.contract.values import Message, Note, Stored, Value
from recall.database.caller import Caller
from recall.indexing import queue
from recall.indexing.jobs import Unindexed
from recall.memory import memories
from recall.memory.forget import forget_memory, forget_session, forget_user
from recall.runtime.service import Service

routes = APIRouter(route_class=Batch)

MemoryId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Seconds = Annotated[
    float, Query(ge=0, le=60, description="Seconds to wait until they are searchable.")
]


async def _wait(caller: Asker, wait: Seconds = 0) -> float:
    """Return the seconds to wait; who may not read is told so before anything is stored."""
    if wait:
        caller.need("read")
    return wait


Wait = Annotated[float, Depends(_wait)]


class Messages(Value):
    """A batch of messages: all are stored or none."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=LARGEST_BATCH)]


class Notes(Value):
    """A batch of notes: all are stored or none."""

    notes: Annotated[list[Note], Field(min_length=1, max_length=LARGEST_BATCH)]


@routes.post("/messages", status_code=202)
async def post_messages(
    request: Request, batch: Messages, caller: Asker, running: Running, wait: Wait
) -> Json:
    """Store messages durably and index them soon."""
    stored = await memories.save_messages(running.database, caller, batch.messages)
    return await _accepted(request, running, caller, stored, wait)


@routes.post("/notes", status_code=202)
async def post_notes(
    request: Request, batch: Notes, caller: Asker, running: Running, wait: Wait
) -> Json:
    """Store notes durably and index them soon."""
    stored = await memories.save_notes(running.database, caller, batch.notes)
    return await _accepted(request, running, caller, stored, wait)


@routes.get("/notes/{id}")
async def get_note(id: MemoryId, caller: Asker, running: Running) -> Json:
    """Return a note."""
    return Json(await memories.read_note(running.database, caller, id))


@routes.put("/notes/{id}", status_code=202)
async def put_note(id: MemoryId, note: Note, caller: Asker, running: Running) -> Json:
    """Replace a note as a whole; its key stays."""
    await memories.replace_note(running.database, caller, id, note)
    running.nudge()
    return Json({"id": id}, 202)


@routes.delete("/notes/{id}")
async def delete_note(id: MemoryId, caller: Asker, running: Running) -> Json:
    """Erase a note with everything derived from it."""
    await forget_memory(running.database, caller, "note", id)
    return Json({"deleted": 1})


@routes.delete("/messages/{id}")
async def delete_message(id: MemoryId, caller: Asker, running: Running) -> Json:
    """Erase a message with everything derived from it."""
    await forget_memory(running.database, caller, "message", id)
    return Json({"deleted": 1})


@routes.delete("/sessions/{session_id:path}")
async def delete_session(
    session_id: Annotated[Id, Path()], caller: Asker, running: Running
) -> Json:
    """Erase a session with all its messages."""
    return Json({"deleted": await forget_session(running.database, caller, session_id)})


@routes.delete("/users/{user_id:path}")
async def delete_user(user_id: Annotated[Id, Path()], caller: Asker, running: Running) -> Json:
    """Erase every message and note of a user, and the sessions that this empties."""
    return Json({"deleted": await forget_user(running.database, caller, user_id)})


async def _accepted(
    request: Request, running: Service, caller: Caller, stored: Stored, wait: float
) -> Json:
    running.nudge()
    request.scope["recall.slot"].give_back()  # the rest of this request is little, or waiting
    request.app.state.metrics.stored.inc(stored.accepted)
    body: dict[str, Any] = {
        "ids": stored.ids,
        "accepted": stored.accepted,
        "duplicates": stored.duplicates,
    }
    if wait:
        body |= (await _after(running, caller, stored, wait))._asdict()
    return Json(body, 202)


async def _after(running: Service, caller: Caller, stored: Stored, wait: float) -> Unindexed:
    """Wait up to `wait` seconds for the index; return how many still wait, and were given up."""
    deadline = time.monotonic() + wait
    pause = 0.02
    while True:
        unindexed = await queue.unindexed(running.database, caller, stored.ids)
        if not unindexed.pending or time.monotonic() + pause > deadline:
            return unindexed
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
