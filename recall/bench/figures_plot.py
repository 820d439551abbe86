"""A run's figures as pictures; needs matplotlib, which the extra `notebook` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recall.contract.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from recall.bench.figures import Results

#: Okabe and Ito's palette: distinct for every kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#8C8C8C"
COLOURS = {"hybrid": BLUE, "semantic": GREEN, "keyword": ORANGE}


def draw_figures(results: Results, folder: Path) -> list[Path]:
    """Draw latency, growth and ingest into PNG files in `folder`, and return their paths.

    Raises Misconfigured without matplotlib.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise Misconfigured("Plots need matplotlib: pip install 'recall[notebook]'.") from error
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, fill in {"latency": latency, "growth": growth, "ingest": ingest}.items():
        figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
        fill(axes, results)
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=150)
        plt.close(figure)
    return paths


def latency(axes: Any, results: Results) -> None:
    """Draw p50 by clients, a line a mode and path, over the floor of hybrid questions."""
    paths = {(row.mode, row.path) for row in results.questions}
    for mode, path in sorted(paths, reverse=True):
        rows = [row for row in results.questions if (row.mode, row.path) == (mode, path)]
        at = [row.clients for row in rows]
        style = {"color": COLOURS[mode], "linestyle": "-" if path == "in process" else "--"}
        axes.plot(at, [r.p50_ms.value for r in rows], marker="o", label=f"{mode}, {path}", **style)
        if (mode, path) == ("hybrid", "in process"):
            floor = [row.p50_ms.floor for row in rows]
            axes.plot(at, floor, color=GREY, linestyle=":", marker="o", label="hybrid, floor")
    axes.set(title="Median of a question", xlabel="clients", ylabel="ms", xscale="log")
    axes.set(yscale="log")
    axes.set_xticks(at, [str(clients) for clients in at])
    axes.minorticks_off()
    _plain(axes.yaxis)
    _legend(axes)


def growth(axes: Any, results: Results) -> None:
    """Draw hybrid latency by size, between its median and its 95th percentile, and its SQL."""
    sizes = [point.memories for point in results.growth]
    asked = [point.asked for point in results.growth]
    p50, p95 = ([getattr(a, p).value for a in asked] for p in ("p50_ms", "p95_ms"))
    axes.plot(sizes, p50, color=BLUE, marker="o", label="question, p50")
    axes.plot(sizes, p95, color=BLUE, marker=".", linestyle="--", label="question, p95")
    sql = [a.sql_p50_ms.value for a in asked]
    axes.plot(sizes, sql, color=ORANGE, marker="o", label="its SQL alone, p50")
    hnsw = [a.sql_p50_ms.floor for a in asked]
    axes.plot(sizes, hnsw, color=GREY, marker="o", linestyle=":", label="bare HNSW, p50")
    axes.set(title="A hybrid question as the history grows", xlabel="memories", ylabel="ms")
    axes.set(xscale="log", ylim=(0, None))
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    _legend(axes)


def ingest(axes: Any, results: Results) -> None:
    """Draw each rate as a share of its floor's."""
    rates = {
        "stored and queued\nof a bare COPY": results.ingest.stored_per_second,
        "the same, read from JSONL\nof a bare COPY": results.ingest.read_and_stored_per_second,
        "embedded and written\nof the bare engine": results.ingest.indexed_per_second,
    }
    shares = [100 * rate.ratio for rate in rates.values()]
    bars = axes.barh(list(rates), shares, color=[BLUE, BLUE, GREEN])
    labels = [f"{r.ratio:.0%}  ({r.value:,.0f} {r.unit})" for r in rates.values()]
    for label in axes.bar_label(bars, labels, padding=6):
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 2})
    axes.axvline(100, color=GREY, linestyle=":")
    axes.set(title="Ingest as a share of its floor", xlabel="%", xlim=(0, max(130, *shares) * 1.25))
    axes.invert_yaxis()


def _legend(axes: Any) -> None:
    """Name the lines beside the axes, where none of them runs."""
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _plain(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
