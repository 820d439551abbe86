"""Counters for Prometheus. They ask nothing of the database: a scrape must not wake Neon."""

from __future__ import annotations

import time
from itertools import groupby
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from recall.base.supervisor import Supervisor
    from recall.contract.values import Answer

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Duties(Collector):
    """Gauges of a process's duties, read from the supervisor when Prometheus asks."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        """Yield by duty whether it runs, how often it was started again, and its silent seconds."""
        runs = GaugeMetricFamily("recall_duty_runs", "1 while it does its work.", labels=["duty"])
        restarts = CounterMetricFamily("recall_duty_restarts", "Started again.", labels=["duty"])
        silent = GaugeMetricFamily(
            "recall_duty_silent_seconds", "Since the last sign of life while busy.", labels=["duty"]
        )
        by_name = groupby(sorted(self._supervisor, key=lambda d: d.name), key=lambda d: d.name)
        for name, group in by_name:
            duties = list(group)
            runs.add_metric([name], all(duty.complaint() is None for duty in duties))
            restarts.add_metric([name], sum(duty.restarts for duty in duties))
            silent.add_metric([name], max(duty.silent for duty in duties))
        yield from (runs, restarts, silent)


class Metrics:
    """One process's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "recall_request_seconds",
            "Time to answer a request.",
            ("route", "method", "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "recall_question_seconds",
            "Time of a question by stage.",
            ("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stored = Counter(
            "recall_memories_stored", "Memories acknowledged.", registry=self.registry
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; `route` is the pattern, so that ids make no new series."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def question(self, answer: Answer) -> None:
        """Count an answered question's stages."""
        for stage, milliseconds in answer.took_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000)

    def watch(self, supervisor: Supervisor) -> None:
        """Count the duties of `supervisor` too."""
        self.registry.register(Duties(supervisor))

    def exposition(self) -> Response:
        """Return everything in Prometheus's text form."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class Timing:
    """Measures every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(route, scope["method"], status, time.perf_counter() - begun)
