"""`recall backfill`: progress while it runs, and the account of every row at the end."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from recall import keys
from recall.backfill import backfill
from recall.service import open_database, open_service
from recall.sources.registry import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from recall.backfill import Tally
    from recall.settings import Settings
    from recall.sources import Skipped

console = Console()


async def run(
    settings: Settings,
    name: str | None,
    target: str,
    tenant: str,
    index: bool,
    skipped: Path | None,
) -> None:
    """Store what `target` holds, then index it here when asked to."""
    source = open_source(target, name)
    console.print(f"Reading {source.name}: {source.origin}")
    began = time.monotonic()
    async with open_database(settings) as database:
        of_tenant = await keys.tenant_id(database, tenant)
        with ExitStack() as stack:
            rejects = stack.enter_context(skipped.open("a")) if skipped else None

            def keep(row: Skipped) -> None:
                if rejects:
                    facts = {"reason": row.reason, "where": row.where, "detail": row.detail}
                    rejects.write(json.dumps(facts) + "\n")

            progress = stack.enter_context(_progress())
            task = progress.add_task("stored", total=source.count(), rate="")

            def report(tally: Tally) -> None:
                rate = f"{tally.read / max(time.monotonic() - began, 1e-6):,.0f} rows/s"
                progress.update(task, completed=tally.read, rate=rate)

            tally = await backfill(database, of_tenant, source, report, keep)
    _account(tally)
    if index and tally.stored:
        await _index(settings, tally.stored)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _account(tally: Tally) -> None:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.skipped.items()))
    total = sum(tally.skipped.values())
    console.print(
        f"{tally.read:,} rows = {tally.stored:,} stored + {tally.known:,} already there "
        f"+ {total:,} skipped{f' ({reasons})' if reasons else ''}"
    )


async def _index(settings: Settings, waiting: int) -> None:
    async with open_service(settings) as service:
        with _progress() as progress:
            task = progress.add_task("indexed", total=waiting, rate="")
            began, done = time.monotonic(), 0
            while step := await service.worker.step():
                done += step
                rate = f"{done / max(time.monotonic() - began, 1e-6):,.0f} memories/s"
                progress.update(task, completed=min(done, waiting), rate=rate)
        await service.worker.drain()
