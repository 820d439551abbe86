"""The application: what runs while it runs, and its routes put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from recall import __version__
from recall.api import operations, reading, wire_errors, writing
from recall.api.admission import Admission
from recall.api.bodies import Bodies
from recall.api.counters import Metrics, Timing
from recall.api.gate import Gate, KeyFirst, check_bind
from recall.api.given_up import GivenUp
from recall.api.wire_errors import LastResort
from recall.memory import keys
from recall.runtime.parts import serving
from recall.runtime.service import DEFAULT_TENANT, open_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from recall.base.settings import Settings
    from recall.runtime.service import Service


@asynccontextmanager
async def running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Open everything that the routes need, and close it when the block ends.

    Raises what opening raises, and Misconfigured when the network would be served without keys.
    """

    async def gate(service: Service) -> None:
        default = await keys.caller_of(service.database, DEFAULT_TENANT)
        app.state.gate = Gate(service.database, default, settings.host)
        await check_bind(service.database, settings.host)

    async with open_service(settings, serving(gate, settings.worker)) as service:
        app.state.service = service
        app.state.metrics.watch(service.supervisor)
        yield


def create_app(settings: Settings) -> FastAPI:
    """Return the service as an ASGI application; `running` is its lifespan."""
    app = FastAPI(
        title="recall",
        version=__version__,
        description="Find any message or note of an agent again, by meaning and by words.",
        lifespan=lambda app: running(app, settings),
        # A tool that reads the schema names operations after the functions.
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.metrics = Metrics()
    # From within to without: the last added is the first to see a request.
    app.add_middleware(Admission, connections=settings.pool_size)
    app.add_middleware(GivenUp)
    app.add_middleware(Bodies)
    app.add_middleware(KeyFirst)
    app.add_middleware(LastResort)
    app.add_middleware(Timing, metrics=app.state.metrics)
    wire_errors.answer_errors(app)
    for routes in (reading.routes, writing.routes, operations.routes):
        app.include_router(routes)
    return app
