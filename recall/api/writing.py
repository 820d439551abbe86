"""Routes that write: messages, notes, and forgetting."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from recall.api.answers import Json
from recall.api.caller import Running, Tenant
from recall.api.unpacking import Batch
from recall.contract.limits import LARGEST_BATCH, LARGEST_ID
from recall.contract.values import Id, Message, Note, Stored, Value
from recall.indexing import queue
from recall.memory import memories
from recall.runtime.service import Service

routes = APIRouter(route_class=Batch)

MemoryId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Wait = Annotated[
    float, Query(ge=0, le=60, description="Seconds to wait until they are searchable.")
]


class Messages(Value):
    """A batch of messages: all are stored or none."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=LARGEST_BATCH)]


class Notes(Value):
    """A batch of notes: all are stored or none."""

    notes: Annotated[list[Note], Field(min_length=1, max_length=LARGEST_BATCH)]


@routes.post("/messages", status_code=202)
async def post_messages(
    request: Request, batch: Messages, tenant: Tenant, running: Running, wait: Wait = 0
) -> Json:
    """Store messages durably and index them soon."""
    stored = await memories.save_messages(running.database, tenant, batch.messages)
    return await _accepted(request, running, tenant, stored, wait)


@routes.post("/notes", status_code=202)
async def post_notes(
    request: Request, batch: Notes, tenant: Tenant, running: Running, wait: Wait = 0
) -> Json:
    """Store notes durably and index them soon."""
    stored = await memories.save_notes(running.database, tenant, batch.notes)
    return await _accepted(request, running, tenant, stored, wait)


@routes.get("/notes/{id}")
async def get_note(id: MemoryId, tenant: Tenant, running: Running) -> Json:
    """Return a note."""
    return Json(await memories.note(running.database, tenant, id))


@routes.put("/notes/{id}", status_code=202)
async def put_note(id: MemoryId, note: Note, tenant: Tenant, running: Running) -> Json:
    """Replace a note as a whole; its key stays."""
    await memories.replace_note(running.database, tenant, id, note)
    running.nudge()
    return Json({"id": id}, 202)


@routes.delete("/notes/{id}")
async def delete_note(id: MemoryId, tenant: Tenant, running: Running) -> Json:
    """Erase a note with everything derived from it."""
    await memories.forget(running.database, tenant, "note", id)
    return Json({"deleted": 1})


@routes.delete("/messages/{id}")
async def delete_message(id: MemoryId, tenant: Tenant, running: Running) -> Json:
    """Erase a message with everything derived from it."""
    await memories.forget(running.database, tenant, "message", id)
    return Json({"deleted": 1})


@routes.delete("/sessions/{session_id:path}")
async def delete_session(
    session_id: Annotated[Id, Path()], tenant: Tenant, running: Running
) -> Json:
    """Erase a session with all its messages."""
    return Json({"deleted": await memories.forget_session(running.database, tenant, session_id)})


@routes.delete("/users/{user_id:path}")
async def delete_user(user_id: Annotated[Id, Path()], tenant: Tenant, running: Running) -> Json:
    """Erase every message and note of a user, and the sessions that this empties."""
    return Json({"deleted": await memories.forget_user(running.database, tenant, user_id)})


async def _accepted(
    request: Request, running: Service, tenant: int, stored: Stored, wait: float
) -> Json:
    running.nudge()
    request.scope["recall.slot"].give_back()  # what is left is waiting, or little
    request.app.state.metrics.stored.inc(stored.accepted)
    body: dict[str, Any] = {
        "ids": stored.ids,
        "accepted": stored.accepted,
        "duplicates": stored.duplicates,
    }
    if wait:
        body["pending"], body["failed"] = await _after(running, tenant, stored, wait)
    return Json(body, 202)


async def _after(running: Service, tenant: int, stored: Stored, wait: float) -> tuple[int, int]:
    """Wait up to `wait` seconds for the index; return how many still wait, and were given up."""
    deadline = time.monotonic() + wait
    pause = 0.02
    while True:
        pending, failed = await queue.unindexed(running.database, tenant, stored.ids)
        if not pending or time.monotonic() + pause > deadline:
            return pending, failed
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.5)
