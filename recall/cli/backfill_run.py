"""`recall backfill`: progress while it runs, and the account of every row at the end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from recall.contract.errors import RecallError
from recall.contract.values import Message
from recall.indexing import graph
from recall.memory import keys
from recall.runtime.parts import LOAD
from recall.runtime.reach import open_database
from recall.runtime.service import open_service
from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.source import Skipped
from recall.sync.backfill import Tally, Wanted, backfill, entered, resumed_tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recall.base.settings import Settings
    from recall.sources.source import Source

console = Console()

PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal


@dataclass(frozen=True)
class Order:
    """What `recall backfill` was asked for."""

    target: str
    kind: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tenant: str = "default"
    wanted: Wanted = field(default_factory=Wanted)
    index: bool = True
    skipped: Path | None = None


async def run(settings: Settings, order: Order) -> None:
    """Store what the target holds, then index it here when asked to."""
    source = opened(order.target, order.kind, order.options)
    # One thread parses all the time: the one that talks to the database must not wait its 5 ms.
    sys.setswitchinterval(0.0005)
    async with open_database(settings) as database:
        caller = await keys.caller_of(database, order.tenant)
        resumed = resumed_tally(await entered(database, caller, source), order.wanted)
        if resumed.read:
            console.print(f"Going on behind {resumed.read:,} rows of an interrupted run")
        file = order.skipped or _default_file(settings, order.tenant, source)
        with Rejects(file, resumed.listed) as rejects, _shown("rows") as progress:
            counting = asyncio.create_task(_counted(source))
            began, before = time.monotonic(), resumed.read

            def report(tally: Tally) -> None:
                progress.total = counting.result() if counting.done() else None
                seconds = max(time.monotonic() - began, 1e-6)
                progress.show(tally.read, (tally.read - before) / seconds, _counts(tally))

            try:
                tally = await backfill(database, caller, source, report, rejects.add, order.wanted)
            finally:
                await asyncio.wait([counting])
            took = time.monotonic() - began
    _account(tally, took, tally.read - before)
    _compare(tally, counting.result(), order.wanted)
    if tally.listed:
        console.print(f"Skipped rows, with their reasons: {file}", soft_wrap=True)
    if order.index and tally.memories:
        await _index(settings, tally.memories)


async def _counted(source: Source) -> int | None:
    """Return the source's own count; why it cannot be read is said by reading it."""
    try:
        return await asyncio.to_thread(source.count)
    except (RecallError, OSError):
        return None


async def try_out(order: Order) -> None:
    """Read everything and say what it is; store nothing, and touch no database of recall."""
    source = opened(order.target, order.kind, order.options)
    kinds: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    sessions: set[str] = set()
    for item in order.wanted.of(source.read(), 0):
        if isinstance(item, Skipped):
            skipped[item.reason] += 1
        elif item.row:
            message = isinstance(item.memory, Message)
            kinds["messages" if message else "notes"] += 1
            if isinstance(item.memory, Message):
                sessions.add(item.memory.session_id)
    rows = kinds.total() + skipped.total()
    console.print(
        f"{rows:,} rows = {kinds['messages']:,} messages in {len(sessions):,} sessions "
        f"+ {kinds['notes']:,} notes + {skipped.total():,} skipped{_reasons(skipped)}; "
        "nothing was stored",
        soft_wrap=True,
    )


def opened(target: str, kind: str | None, options: dict[str, Any]) -> Source:
    """Open the source and say what it is."""
    if kind is None:
        found = recognise(target)
        kind = found.name
        console.print(f"{found.why} It is read as {kind}.", markup=False, soft_wrap=True)
    source = open_source(target, kind, **options)
    console.print(f"Reading {source.name}: {source.origin}", markup=False, soft_wrap=True)
    return source


class Rejects:
    """The file of skipped rows: what a resumed run had committed, and what it skips itself."""

    def __init__(self, path: Path, kept: int) -> None:
        self._path = path
        self._kept = kept
        self._file: Any = None

    def __enter__(self) -> Self:
        if self._path.is_file():
            # Lines of a batch that was never committed will be written again.
            with self._path.open("rb") as file:
                lines = [line for line, _ in zip(file, range(self._kept), strict=False)]
            self._path.write_bytes(b"".join(lines))
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, row: Skipped) -> None:
        """Write one row down; the file is made for the first."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Rows of somebody's history: for this user's eyes.
            opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = os.fdopen(opened, "a", encoding="utf-8", buffering=1)
        facts = {"reason": row.reason, "where": row.where, "detail": row.detail}
        self._file.write(json.dumps(facts) + "\n")


def _default_file(settings: Settings, tenant: str, source: Source) -> Path:
    name = re.sub(r"[^\w.-]+", "-", f"{tenant}-{source.name}-{source.origin}").strip("-")[-150:]
    return settings.home / "skipped" / f"{name}.jsonl"


class Shown:
    """Progress: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, what: str, bar: Progress | None) -> None:
        self.total: int | None = None
        self._what = what
        self._bar = bar
        self._task = bar.add_task(what, total=None, rate="", counts="") if bar else None
        self._said = time.monotonic()

    def show(self, done: int, rate: float, counts: str) -> None:
        """Show that `done` are done, at `rate` a second."""
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                total=self.total,
                completed=done,
                rate=f"{rate:,.0f} {self._what}/s",
                counts=counts,
            )
        elif time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            of = f" of {self.total:,}" if self.total else ""
            print(f"{done:,}{of} {self._what}, {rate:,.0f}/s; {counts}", flush=True)


@contextmanager
def _shown(what: str) -> Iterator[Shown]:
    if not console.is_terminal:
        yield Shown(what, None)
        return
    with Progress(
        TextColumn("{task.completed:,}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=console,
    ) as bar:
        yield Shown(what, bar)


def _counts(tally: Tally) -> str:
    changed = f"{tally.changed:,} changed, " if tally.changed else ""
    total = sum(tally.skipped.values())
    return (
        f"{tally.stored:,} stored, {changed}{tally.known:,} already there, "
        f"{total:,} skipped{_reasons(tally.skipped)}"
    )


def _reasons(skipped: dict[str, int]) -> str:
    shown = ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))
    return f" ({shown})" if shown else ""


def _account(tally: Tally, took: float, read: int) -> None:
    changed = f"{tally.changed:,} changed + " if tally.changed else ""
    total = sum(tally.skipped.values())
    console.print(
        f"{tally.read:,} rows = {tally.stored:,} stored + {changed}{tally.known:,} already there "
        f"+ {total:,} skipped{_reasons(tally.skipped)}; {took:.1f} s, "
        f"{read / max(took, 1e-6):,.0f} rows/s",
        soft_wrap=True,
        highlight=False,
    )


def _compare(tally: Tally, counted: int | None, wanted: Wanted) -> None:
    if counted is None or wanted.limit is not None or counted == tally.read:
        return
    console.print(
        f"The source counts {counted:,} rows, and {tally.read:,} were read: it was written to "
        "meanwhile, or its reading was interrupted and went on. Another run accounts for all.",
        soft_wrap=True,
    )


async def _index(settings: Settings, waiting: int) -> None:
    async with (
        open_service(settings, LOAD) as service,
        graph.deferred(settings, lambda said: console.print(said, highlight=False)),
    ):
        began, done = time.monotonic(), 0
        with _shown("memories") as progress:
            progress.total = waiting

            def told(step: int) -> None:
                nonlocal done
                done += step
                progress.show(done, done / max(time.monotonic() - began, 1e-6), "indexed")

            await service.worker.drain(told)
        took = time.monotonic() - began
        console.print(f"{done:,} memories indexed; {took:.1f} s", highlight=False)
