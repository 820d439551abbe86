"""A run's figures as a person reads them in a terminal, each beside its floor."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from recall.bench.figures import Asked, Figure, Point, Results, Tenants

#: Of more figures than fit a narrow terminal, none may be folded away.
WIDTH = 118


@contextmanager
def saying() -> Iterator[Callable[[str], None]]:
    """Yield what shows on standard error what is being done now."""
    with Console(stderr=True).status("") as status:
        yield lambda doing: status.update(f"{doing} …")


def print_results(results: Results) -> None:
    """Print a table a section, and the notes."""
    console = Console()
    console.width = max(console.width, WIDTH)
    machine = results.machine
    console.print(
        f"{machine['corpus']}, {machine['memories']:,} memories; {machine['cores']} cores, "
        f"Postgres {machine['postgres']}, pgvector {machine['pgvector']}, "
        f"{results.embedding.engine}"
    )
    console.print(_figures("embedding and ingest", _rates(results)))
    console.print(_questions(results.questions))
    console.print(_figures("what the candidates hold of the best ten", _quality(results)))
    console.print(_growth(results.growth))
    if results.tenants:
        each, others = results.tenants.memories_each, results.tenants.tenants - 1
        title = f"one tenant of {each:,} memories beside {others:,} others"
        console.print(_figures(title, _tenants(results.tenants)))
    for note in results.notes:
        console.print(note, markup=False)


def _figures(title: str, rows: Iterable[tuple[str, Figure]]) -> Table:
    table = _table(title, "", "measured", "floor", "ratio")
    table.add_column("the floor")
    for name, figure in rows:
        share = figure.unit == "share" or (figure.unit.endswith("/s") and figure.ratio < 2)
        ratio = f"{100 * figure.ratio:.0f} %" if share else f"{figure.ratio:.2f} x"
        table.add_row(
            name,
            _value(figure.value, figure.unit),
            _value(figure.floor, figure.unit),
            ratio,
            figure.against,
        )
    return table


def _rates(results: Results) -> Iterable[tuple[str, Figure]]:
    embedding, ingest = results.embedding, results.ingest
    yield "texts embedded", embedding.texts_per_second
    yield "one question embedded", embedding.question_ms
    yield "stored and queued", ingest.stored_per_second
    yield "the same, read from JSONL", ingest.read_and_stored_per_second
    yield "embedded and written", ingest.indexed_per_second


def _quality(results: Results) -> Iterable[tuple[str, Figure]]:
    for quality in (results.quality, *results.scopes):
        where = "" if quality.part == 1 else f", scope of {100 * quality.part:g} %"
        yield f"semantic candidates @10{where}", quality.semantic_at_10
        yield f"keyword candidates @10{where}", quality.keyword_at_10
        if quality.hnsw_at_10:
            yield "bare HNSW, nearest 50 @10", quality.hnsw_at_10


def _tenants(tenants: Tenants) -> Iterable[tuple[str, Figure]]:
    yield "question, p50", tenants.p50_ms
    yield "question, p95", tenants.p95_ms
    yield "its SQL, p50", tenants.sql_p50_ms


def _questions(rows: Iterable[Asked]) -> Table:
    columns = (
        "p50 ms",
        "p95",
        "p99",
        "a second",
        "SQL",
        "embed",
        "p50/both",
        "SQL/HNSW",
        "errors",
    )
    table = _table("questions; SQL and embedding alone, p50", "mode", "path", "clients", *columns)
    for row in rows:
        table.add_row(
            row.mode,
            row.path,
            str(row.clients),
            *(f"{part.value:.1f}" for part in (row.p50_ms, row.p95_ms, row.p99_ms, row.per_second)),
            f"{row.sql_p50_ms.value:.1f}",
            f"{row.embed_p50_ms:.1f}",
            f"{row.p50_ms.ratio:.2f} x",
            f"{row.sql_p50_ms.ratio:.2f} x",
            str(row.errors),
        )
    return table


def _growth(points: Iterable[Point]) -> Table:
    columns = (
        "p50 ms",
        "p95",
        "x floor",
        "SQL",
        "x HNSW",
        "found@10",
        "stored/s",
        "indexed/s",
        "build s",
        "GIN MB",
        "HNSW MB",
        "B/memory",
    )
    table = _table("growth; hybrid, one client", "memories", *columns)
    for point in points:
        asked, megabytes = point.asked, {k: v / 1e6 for k, v in point.index_bytes.items()}
        table.add_row(
            f"{point.memories:,}",
            f"{asked.p50_ms.value:.1f}",
            f"{asked.p95_ms.value:.1f}",
            f"{asked.p50_ms.ratio:.2f}",
            f"{asked.sql_p50_ms.value:.1f}",
            f"{asked.sql_p50_ms.ratio:.2f}",
            f"{point.quality.semantic_at_10.value:.3f}",
            f"{point.stored_per_second:,.0f}",
            f"{point.indexed_per_second.value:,.0f}",
            f"{point.build_seconds:,.0f}" if point.build_seconds >= 1 else "",
            f"{megabytes.get('gin', 0):,.1f}",
            f"{megabytes.get('hnsw', 0):,.1f}",
            f"{point.bytes_per_memory:,.0f}",
        )
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _value(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.3f}"
    return f"{value:,.0f} {unit}" if unit.endswith("/s") else f"{value:,.2f} {unit}"
