"""`recall chaos`: everything is hurt for a while while clients write; then nothing may be wrong."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from recall.chaos import checks
from recall.chaos.book import Book
from recall.chaos.clients import Client, Endpoint
from recall.chaos.director import Director
from recall.chaos.ports import free_port
from recall.chaos.processes import FAREWELL, Process, environment
from recall.chaos.stage import Stage
from recall.contract.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from recall.base.settings import Settings

    Say = Callable[[str], None]

#: Seconds of a claim's lease in a run: the jobs of a killed worker are soon another's.
LEASE = 5
#: Seconds that a request may take in the database in a run.
STATEMENT_TIMEOUT = 5
#: Seconds beside a lease until everything is indexed: as long as a worker may wait for a
#: connection that fell silent, and pause behind it.
MARGIN = 4.0 * STATEMENT_TIMEOUT + 10.0
#: Seconds for everything to start.
START = 180.0
#: Memories, the newest, that are asked for by their first word in the end.
LOOKED_FOR = 25


@dataclass(frozen=True)
class Order:
    """What a run shall do: for how long, with which seed, on which database, with which faults."""

    seconds: float
    seed: int
    clients: int
    database: str | None = None
    disk: bool = True
    clock: bool = True

    def again(self) -> str:
        """Return the command that chooses the same faults again; their timing is never the same."""
        words = [f"recall chaos --seed {self.seed} --seconds {self.seconds:g}"]
        words += [f"--clients {self.clients}"]
        words += [] if self.disk else ["--no-disk"]
        words += [] if self.clock else ["--no-clock"]
        return " ".join(words + (["--database URL"] if self.database else []))


@dataclass
class Report:
    """The faults that were made, how requests ended, and what is not as it must be."""

    order: Order
    faults: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    starts: Mapping[str, int] = field(default_factory=dict)
    longest: float = 0.0
    memories: int = 0
    settled: float = 0.0
    farewells: dict[str, float] = field(default_factory=dict)
    differences: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    logs: Path | None = None

    @property
    def well(self) -> bool:
        """Whether everything is as it must be."""
        return not any(self.differences.values())


def run_ordeal(settings: Settings, order: Order, say: Say) -> Report:
    """Hurt, heal, check, and return what came of it; `say` is called with what goes on.

    Logs of the processes are kept when something is wrong. Raises Misconfigured for a database that
    must not be used, Unavailable when recall does not start on it.
    """
    with _put_away(), Stage(order.database, disk=order.disk, clock=order.clock) as stage:
        report = Report(order, left_out=stage.left_out)
        for sentence in stage.left_out:
            say(sentence)
        ports = [free_port() for _ in range(2)]
        processes = _processes(settings, stage, ports)
        services = [Endpoint(port) for port in ports]
        with _running(processes):
            say("starting")
            if said := _not_ready(services, START):
                raise Unavailable(f"recall did not start within {START:.0f} seconds: {said[0]}.")
            book = _make_trouble(order, stage, processes, services, say)
            say("healed; everything must come right")
            report.settled, waiting = checks.wait_until_empty(stage.url, LEASE + MARGIN)
            not_ready = _not_ready(services, MARGIN)
            unfound = _unfound(book, services[0]) if not waiting else []
            ended = {process.name: process.end() for process in processes}
        _fill(report, book, processes, ended)
        wrong = checks.differences_from(stage.url, book)
        wrong |= {"still waiting": [f"{waiting} memories"] if waiting else []}
        wrong["not ready"] = not_ready
        wrong |= {"not found by its words": unfound, "does not end": _not_ended(ended)}
        wrong["found by the doctor"] = asyncio.run(checks.findings(stage.url, settings))
        wrong["tracebacks"] = [each.name for each in processes if _traceback(each.log)]
        report.differences = wrong
        if not report.well:
            report.logs = _kept(stage.folder, order)
    return report


@contextmanager
def _put_away() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: no process, server or disk is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_trouble(
    order: Order, stage: Stage, processes: list[Process], services: list[Endpoint], say: Say
) -> Book:
    book, stop = Book(), threading.Event()
    clients = [Client(n, order.seed, services, book, stop) for n in range(order.clients)]
    director = Director(order.seed, stage, processes)
    for client in clients:
        client.start()
    try:
        director.run(order.seconds, say)
    finally:
        director.heal()
        stop.set()
        for client in clients:
            client.join()
    book.faults = director.done
    return book


def _processes(settings: Settings, stage: Stage, ports: list[int]) -> list[Process]:
    given = {
        "DATABASE_URL": stage.url_through(stage.pooled),
        "DATABASE_DIRECT_URL": stage.url_through(stage.direct),
        "RECALL_HOME": str(settings.home),
        "RECALL_MODEL": settings.model,
        "RECALL_ENGINE": settings.engine,
        "RECALL_LEASE": str(LEASE),
        "RECALL_STATEMENT_TIMEOUT": str(STATEMENT_TIMEOUT),
    }
    serving = {
        f"serve-{n}": environment(given | {"RECALL_PORT": str(p)}) for n, p in enumerate(ports)
    }
    return [
        *(Process(name, ["serve"], of_one, stage.folder) for name, of_one in serving.items()),
        Process("worker", ["worker"], environment(given), stage.folder),
    ]


@contextmanager
def _running(processes: list[Process]) -> Iterator[None]:
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.signal(signal.SIGCONT)
            process.end()


def _not_ready(services: list[Endpoint], seconds: float) -> list[str]:
    """Wait until every service is ready; return what those say that are not by then."""
    deadline = time.monotonic() + seconds
    said = []
    for service in services:
        while (answer := service.ask("GET", "/ready")).status != 200:
            if time.monotonic() > deadline:
                said.append(f"{answer.status} {answer.body}")
                break
            time.sleep(0.2)
    return said


def _unfound(book: Book, service: Endpoint) -> list[str]:
    """Return those of the newest memories, certainly there, that their first word does not find."""
    kept = [card for card in book.cards if card.kept][-LOOKED_FOR:]
    missing = []
    for card in kept:
        asked = {"query": card.tag, "mode": "keyword", "limit": 5}
        answer = service.ask("POST", "/recall", asked)
        hits = answer.body["results"] if answer.status == 200 else []
        if card.id not in {hit["id"] for hit in hits}:
            missing.append(f"{card.tag} ({answer.status})")
    return missing


def _fill(
    report: Report,
    book: Book,
    processes: list[Process],
    ended: Mapping[str, tuple[int | None, float]],
) -> None:
    report.faults, report.outcomes = book.faults, book.outcomes
    report.starts = {process.name: process.starts for process in processes}
    report.longest = book.longest
    report.memories = len(book.cards)
    report.farewells = {name: took for name, (_, took) in ended.items()}


def _not_ended(ended: Mapping[str, tuple[int | None, float]]) -> list[str]:
    fine = {0, -signal.SIGTERM}  # the second of one that was only starting again
    return [
        f"{name}: status {status} after {took:.1f} s"
        for name, (status, took) in ended.items()
        if status not in fine or took > FAREWELL
    ]


def _traceback(log: Path) -> bool:
    return "Traceback (most recent call last)" in log.read_text(errors="replace")


def _kept(folder: Path, order: Order) -> Path:
    """Keep the logs of the processes beyond the run."""
    kept = Path(tempfile.mkdtemp(prefix=f"recall-chaos-{order.seed}-"))
    for log in [*folder.glob("*.log"), *folder.glob("server/postgres/data/server.log")]:
        shutil.copy(log, kept)
    return kept
