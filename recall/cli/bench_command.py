"""`recall bench`: how fast recall is here, each figure beside its floor."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from recall.cli.frame import app, log, read_settings, run


@app.command()
def bench(
    corpus: Annotated[Path | None, typer.Option(help="Messages, JSONL or .gz; made up.")] = None,
    memories: Annotated[int, typer.Option(help="Memories to ask.")] = 10_000,
    clients: Annotated[str, typer.Option(help="How many ask at once.")] = "1,8,32",
    questions: Annotated[int, typer.Option(help="Questions of each kind.")] = 200,
    growth: Annotated[str, typer.Option(help="Sizes to measure at: 1000,10000,…")] = "",
    tenants: Annotated[int, typer.Option(help="Tenants to stand beside one.")] = 0,
    as_json: Annotated[Path | None, typer.Option("--json", help="File to write to.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Folder to draw into.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch database.")] = False,
) -> None:
    """Measure speed here, each figure beside its floor, in scratch databases removed afterwards."""
    log(logging.WARNING)

    async def work() -> None:
        from recall.bench.benchmark import Plan, run_benchmark
        from recall.cli.bench_report import print_results, saying

        plan = Plan(corpus, memories, _numbers(clients), questions, _numbers(growth), tenants, keep)
        with saying() as say:
            results = await run_benchmark(read_settings(), plan, say)
        print_results(results)
        if as_json:
            from pydantic_core import to_json

            as_json.write_bytes(to_json(results, indent=2))
        if plot:
            from recall.bench.figures_plot import draw_figures

            draw_figures(results, plot)

    run(work())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of numbers like 1,8,32") from error
