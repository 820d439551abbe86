"""A run's report as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from recall.cli.terminal import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recall.chaos.ordeal import Report

#: Examples of each difference that are shown.
SHOWN = 5


def print_report(report: Report) -> None:
    """Print what was done, a line for everything that was looked at, and how to do it again."""
    facts = Table(show_header=False, box=None)
    facts.add_row("faults", _counts(report.faults))
    facts.add_row("requests", _counts(report.outcomes))
    facts.add_row("longest wait", f"{report.longest:.1f} s")
    facts.add_row("starts", _counts(report.starts))
    facts.add_row("memories said", f"{report.memories:,}")
    facts.add_row("queue empty", f"{report.settled:.1f} s after everything was healed")
    ends = ", ".join(f"{name} {took:.1f} s" for name, took in report.farewells.items())
    facts.add_row("ended when told", ends)
    console.print(facts)
    for sentence in report.left_out:
        console.print(f"[dim]{escape(sentence)}[/]")
    console.print()
    table = Table(show_header=False, box=None)
    for name, wrong in report.differences.items():
        colour, state = ("green", "ok") if not wrong else ("red", "WRONG")
        examples = "; ".join(wrong[:SHOWN]) + ("; …" if len(wrong) > SHOWN else "")
        table.add_row(f"[{colour}]{state}[/]", f"{len(wrong):,}", name, escape(examples))
    console.print(table)
    if report.logs:
        console.print(f"The logs are kept in {report.logs}")
    console.print(f"[dim]Again: {report.order.again()}[/]")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"
