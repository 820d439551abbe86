"""Answers and figures as a person reads them in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from recall.contract.values import Answer
    from recall.evaluate.asked import Summary

console = Console()


def print_answer(answer: Answer) -> None:
    """Print hits with score, time, speaker and text, and what the answer took."""
    for place, hit in enumerate(answer.results, 1):
        where = hit.title or hit.session_id or ""
        who = hit.author or hit.role or "note"
        console.print(
            f"[bold]{place:>2}[/]  [cyan]{hit.score:.3f}[/]  {hit.created_at:%Y-%m-%d %H:%M}  "
            f"[green]{escape(who)}[/]  [dim]{escape(where)}[/]"
        )
        text = " ".join(hit.content.split())
        console.print(f"    {escape(text[:300])}{'…' if len(text) > 300 else ''}")
        if hit.explain:
            parts = ", ".join(f"{name} {value}" for name, value in hit.explain.items())
            console.print(f"    [dim]{escape(parts)}[/]")
    took = answer.took_ms
    console.print(
        f"[dim]{len(answer.results)} found in {took['total']:.1f} ms "
        f"(embed {took['embed']:.1f}, search {took['search']:.1f}); "
        f"{answer.pending} waiting to be indexed[/]"
    )


def print_status(status: dict[str, Any]) -> None:
    """Print one line a fact."""
    table = Table(show_header=False, box=None)
    for name, value in status.items():
        if isinstance(value, dict):
            for inner, detail in value.items():
                table.add_row(f"{name}.{inner}", escape(str(detail)))
        else:
            table.add_row(name, escape(str(value)))
    console.print(table)


def print_evaluation(name: str, summaries: dict[str, Summary]) -> None:
    """Print a row a mode, with intervals, then a row a category and mode."""
    first = next(iter(summaries.values()))
    wide = Console(width=max(console.width, 124))
    table = Table(title=f"{name}: {first.questions} questions, in %, with 95 % intervals")
    table.add_column("mode")
    for depth in first.recall:
        table.add_column(f"R@{depth}", justify="right")
    for column in ("MRR", "p50 ms", "p95 ms"):
        table.add_column(column, justify="right")
    for mode, summary in summaries.items():
        cells = [
            f"{100 * value:.1f} ({100 * low:.1f}-{100 * high:.1f})"
            for value, (low, high) in zip(
                summary.recall.values(), summary.interval.values(), strict=True
            )
        ]
        figures = (f"{summary.mrr:.3f}", f"{summary.p50_ms:.1f}", f"{summary.p95_ms:.1f}")
        table.add_row(mode, *cells, *figures)
    wide.print(table)
    if len(first.categories) > 1:
        wide.print(_categories(summaries))


def _categories(summaries: dict[str, Summary]) -> Table:
    first = next(iter(summaries.values()))
    table = Table(title="by category")
    table.add_column("category")
    table.add_column("mode")
    for depth in first.recall:
        table.add_column(f"R@{depth}", justify="right")
    for category in first.categories:
        for mode, summary in summaries.items():
            cells = [f"{100 * value:.1f}" for value in summary.categories[category].values()]
            table.add_row(category, mode, *cells)
        table.add_section()
    return table
