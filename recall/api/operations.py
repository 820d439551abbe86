"""Routes for those who run the service: how it stands, whether it lives."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from recall.api.answers import Json
from recall.api.counters import Metrics
from recall.api.gate import Asker, Running
from recall.contract.errors import NotReady
from recall.contract.limits import LARGEST_BATCH, LARGEST_ID
from recall.contract.values import Value
from recall.indexing import queue
from recall.runtime.status import read_status, ready

routes = APIRouter()

Limit = Annotated[int, Query(ge=1, le=200)]
MemoryId = Annotated[int, Field(ge=1, le=LARGEST_ID)]


class Chosen(Value):
    """Which memories to try again."""

    ids: Annotated[list[MemoryId], Field(min_length=1, max_length=LARGEST_BATCH)]


@routes.get("/status")
async def get_status(caller: Asker, running: Running) -> Json:
    """Return how much is remembered, how much of it waits, and what does not run."""
    figures = await read_status(running.database, caller, running.profile)
    watching = running.supervisor
    said = [*watching.complaints(needed=True), *watching.complaints(needed=False)]
    return Json(figures | {"not_running": said})


@routes.get("/health")
async def get_health() -> Json:
    """Say that the process lives. Asks nothing of the database, so Neon may sleep."""
    return Json({"status": "ok"})


@routes.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request) -> Response:
    """Return the process's counters for Prometheus."""
    metrics: Metrics = request.app.state.metrics
    return metrics.exposition()


@routes.get("/ready")
async def get_ready(running: Running) -> Json:
    """Say whether a question would be answered and a memory indexed now.

    503 names what does not run and is needed for either, `degraded` what else does not run.
    """
    await ready(running.database)
    watching = running.supervisor
    if lacking := watching.complaints(needed=True):
        raise NotReady(" ".join(lacking))
    degraded = watching.complaints(needed=False)
    return Json({"status": "ready"} | ({"degraded": degraded} if degraded else {}))


@routes.get("/failed")
async def get_failed(
    caller: Asker, running: Running, limit: Limit = 50, before: MemoryId | None = None
) -> Json:
    """List memories that were given up, each with the reason; the newest first.

    `next` is the `before` of the next page, null on the last.
    """
    rows = await queue.parked(running.database, caller, limit + 1, before)
    page = rows[:limit]
    return Json({"failed": page, "next": page[-1]["id"] if len(rows) > limit else None})


@routes.post("/failed/retry")
async def retry_failed(caller: Asker, running: Running, chosen: Chosen | None = None) -> Json:
    """Queue memories that were given up again: those of `ids`, or all."""
    retried = await queue.retry_parked(running.database, caller, chosen.ids if chosen else None)
    running.nudge()
    return Json({"retried": retried}, 202)
