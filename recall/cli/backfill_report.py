"""A backfill as a person sees it: how far it is, and the account of every row at the end."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recall.sync.backfill import Terms
    from recall.sync.tally import Tally

console = Console()

PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal


class ProgressLine:
    """Progress: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, items: str, bar: Progress | None) -> None:
        self.total: int | None = None
        self._items = items
        self._bar = bar
        self._task = bar.add_task(items, total=None, rate="", counts="") if bar else None
        self._said = time.monotonic()

    def show(self, done: int, rate: float, counts: str) -> None:
        """Show that `done` are done, at `rate` a second."""
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                total=self.total,
                completed=done,
                rate=f"{rate:,.0f} {self._items}/s",
                counts=counts,
            )
        elif time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            of = f" of {self.total:,}" if self.total else ""
            print(f"{done:,}{of} {self._items}, {rate:,.0f}/s; {counts}", flush=True)


@contextmanager
def progress_of(items: str) -> Iterator[ProgressLine]:
    if not console.is_terminal:
        yield ProgressLine(items, None)
        return
    with Progress(
        TextColumn("{task.completed:,}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=console,
    ) as bar:
        yield ProgressLine(items, bar)


def counts(tally: Tally) -> str:
    changed = f"{tally.changed:,} changed, " if tally.changed else ""
    total = sum(tally.skipped.values())
    return (
        f"{tally.stored:,} stored, {changed}{tally.known:,} already there, "
        f"{total:,} skipped{reasons(tally.skipped)}"
    )


def reasons(skipped: Mapping[str, int]) -> str:
    shown = ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))
    return f" ({shown})" if shown else ""


def print_account(tally: Tally, took: float, read: int) -> None:
    changed = f"{tally.changed:,} changed + " if tally.changed else ""
    total = sum(tally.skipped.values())
    console.print(
        f"{tally.read:,} rows = {tally.stored:,} stored + {changed}{tally.known:,} already there "
        f"+ {total:,} skipped{reasons(tally.skipped)}; {took:.1f} s, "
        f"{read / max(took, 1e-6):,.0f} rows/s",
        soft_wrap=True,
        highlight=False,
    )


def print_difference(tally: Tally, counted: int | None, terms: Terms) -> None:
    if counted is None or terms.limit is not None or counted == tally.read:
        return
    console.print(
        f"The source counts {counted:,} rows, and {tally.read:,} were read: it was written to "
        "meanwhile, or its reading was interrupted and went on. Another run accounts for all.",
        soft_wrap=True,
    )
