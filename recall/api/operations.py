"""Routes for those who run the service: how it stands, whether it lives."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from recall.api.answers import Json
from recall.api.caller import Running, Tenant
from recall.api.metrics import Metrics
from recall.status import ready, status

routes = APIRouter()


@routes.get("/status")
async def get_status(tenant: Tenant, running: Running) -> Json:
    """Return how much is remembered and how much of it waits."""
    return Json(await status(running.database, tenant, running.profile))


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
    """Say whether a question would be answered now."""
    await ready(running.database)
    return Json({"status": "ready"})
