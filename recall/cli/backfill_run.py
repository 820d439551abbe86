"""A backfill from the command line: read, stored, accounted for, and indexed where asked."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recall.cli.backfill_report import (
    console,
    counts,
    print_account,
    print_difference,
    progress_of,
    reasons,
)
from recall.cli.rejects import Rejects
from recall.contract.errors import RecallError
from recall.contract.values import Message
from recall.indexing import graph
from recall.memory import keys
from recall.runtime.parts import load_model, use_database
from recall.runtime.service import open_service
from recall.sources.opening import open_source
from recall.sources.recognition import recognise
from recall.sources.source import Skipped
from recall.sync.backfill import Backfill, Terms

if TYPE_CHECKING:
    from pathlib import Path

    from recall.base.settings import Settings
    from recall.runtime.service import Service
    from recall.sources.source import Source
    from recall.sync.tally import Tally


@dataclass(frozen=True)
class BackfillRequest:
    """What `recall backfill` was asked for."""

    target: str
    kind: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tenant: str = "default"
    terms: Terms = field(default_factory=Terms)
    index: bool = True
    skipped: Path | None = None


async def run_backfill(settings: Settings, request: BackfillRequest) -> None:
    """Store what the target holds, then index it here when asked to.

    Raises SourceUnreadable when it cannot be read, and what opening a service raises.
    """
    source = open_and_say(request.target, request.kind, request.options)
    # Seconds, 5 ms by default: the event loop would wait as long for the thread that parses rows.
    sys.setswitchinterval(0.0005)
    async with open_service(settings, (use_database,)) as service:
        memories = await _store(service, request, source)
        if request.index and memories:
            await load_model(service)
            await _index(service, memories)


async def _store(service: Service, request: BackfillRequest, source: Source) -> int:
    """Backfill and print the account; return how many memories were stored or changed."""
    caller = await keys.caller_of(service.database, request.tenant)
    backfill = await Backfill.begin(service.database, caller, source, request.terms)
    before = backfill.tally.read
    if before:
        console.print(f"Going on behind {before:,} rows of an interrupted run")
    file = request.skipped or _default_file(service.settings, request.tenant, source)
    with Rejects(file, backfill.tally.listed) as rejects, progress_of("rows") as progress:
        counting = asyncio.create_task(_counted(source))
        began = time.monotonic()

        def report(tally: Tally) -> None:
            progress.total = counting.result() if counting.done() else None
            seconds = max(time.monotonic() - began, 1e-6)
            progress.show(tally.read, (tally.read - before) / seconds, counts(tally))

        try:
            tally = await backfill.run(report, rejects.add)
        finally:
            await asyncio.wait([counting])
        took = time.monotonic() - began
    print_account(tally, took, tally.read - before)
    print_difference(tally, counting.result(), request.terms)
    if tally.listed:
        console.print(f"Skipped rows, with their reasons: {file}", soft_wrap=True)
    return tally.memories


async def _counted(source: Source) -> int | None:
    """Return the source's own count; None when it cannot be read, which reading it will explain."""
    try:
        return await asyncio.to_thread(source.count)
    except (RecallError, OSError):
        return None


async def try_reading(request: BackfillRequest) -> None:
    """Read everything and say what it is; store nothing, and touch no database of recall.

    Raises SourceUnreadable when it cannot be read.
    """
    source = open_and_say(request.target, request.kind, request.options)
    kinds: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    sessions: set[str] = set()
    for item in request.terms.of(source.read(), 0):
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
        f"+ {kinds['notes']:,} notes + {skipped.total():,} skipped{reasons(skipped)}; "
        "nothing was stored",
        soft_wrap=True,
    )


def open_and_say(target: str, kind: str | None, options: dict[str, Any]) -> Source:
    """Open the source and say what it is; raises SourceUnreadable when it cannot be opened."""
    if kind is None:
        recognised = recognise(target)
        kind = recognised.name
        console.print(f"{recognised.why} It is read as {kind}.", markup=False, soft_wrap=True)
    source = open_source(target, kind, **options)
    console.print(f"Reading {source.system.name}: {source.origin}", markup=False, soft_wrap=True)
    return source


def _default_file(settings: Settings, tenant: str, source: Source) -> Path:
    whole = f"{tenant}-{source.system.name}-{source.origin}"
    name = re.sub(r"[^\w.-]+", "-", whole).strip("-")[-150:]
    return settings.home / "skipped" / f"{name}.jsonl"


async def _index(service: Service, waiting: int) -> None:
    settings = service.settings
    async with graph.deferred(settings, lambda line: console.print(line, highlight=False)):
        began, done = time.monotonic(), 0
        with progress_of("memories") as progress:
            progress.total = waiting

            def advance(step: int) -> None:
                nonlocal done
                done += step
                progress.show(done, done / max(time.monotonic() - began, 1e-6), "indexed")

            await service.worker.drain(advance)
        took = time.monotonic() - began
        console.print(f"{done:,} memories indexed; {took:.1f} s", highlight=False)
