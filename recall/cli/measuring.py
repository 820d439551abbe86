"""Commands that measure what is found, and how fast."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from recall.cli.frame import app, log, read_settings, run


@app.command(name="eval")
def evaluate(
    file: Annotated[Path, typer.Argument(help="Evaluation set, JSONL.")],
    mode: Annotated[str, typer.Option(help="hybrid, semantic, keyword or all.")] = "all",
    rrf: Annotated[bool, typer.Option("--rrf", help="Also fuse the legs by rank.")] = False,
    legs: Annotated[
        bool, typer.Option("--leg", help="Also each leg on the turn alone, without context.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw R@k into this file (PNG, SVG).")] = None,
) -> None:
    """Measure R@k and latency on a set of questions with known evidence.

    A line is {"type": "message", conversation, session_id, key, author, role, content,
    created_at}, {"type": "note", conversation, key, title, content, created_at} or {"type":
    "question", conversation, query, evidence: [keys], category}. Each conversation becomes a
    tenant of its own in a scratch database, which is removed afterwards.
    """
    log(logging.WARNING)

    async def work() -> None:
        from recall.evaluate.evaluation import Comparison, run

        summaries = await run(read_settings(), file, Comparison(mode, rrf, legs))
        if as_json:
            from pydantic_core import to_json

            typer.echo(to_json(summaries, indent=2).decode())
        else:
            from recall.cli.terminal import print_evaluation

            print_evaluation(file.name, summaries)
        if plot:
            from recall.evaluate.recall_plot import draw

            draw(file.name, summaries, plot)

    run(work())


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
        from recall.bench.benchmark import Wanted, run
        from recall.cli.bench_report import print_results, saying

        wanted = Wanted(
            corpus, memories, _numbers(clients), questions, _numbers(growth), tenants, keep
        )
        with saying() as say:
            results = await run(read_settings(), wanted, say)
        print_results(results)
        if as_json:
            from pydantic_core import to_json

            as_json.write_bytes(to_json(results, indent=2))
        if plot:
            from recall.bench.figures_plot import draw

            draw(results, plot)

    run(work())


@app.command()
def chaos(
    seconds: Annotated[float, typer.Option(min=1, help="How long to make trouble.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Which trouble; by chance.")] = None,
    clients: Annotated[int, typer.Option(min=1, max=64, help="How many write at once.")] = 4,
    database: Annotated[
        str | None, typer.Option(help="URL of an empty database to use, its network hurt only.")
    ] = None,
    disk: Annotated[bool, typer.Option(help="Fill a small disk, where one can be mounted.")] = True,
    clock: Annotated[bool, typer.Option(help="Turn the clock, by libfaketime.")] = True,
) -> None:
    """Kill, stop, cut off, suspend and fill, under clients that write; then look for what is lost.

    Everything happens to a server of its own, in a temporary folder, or to the network of an empty
    database that is given. Status 1 when anything acknowledged is not as it was said.
    """
    log(logging.ERROR)
    import random

    from recall.chaos.ordeal import Order, run
    from recall.cli.chaos_report import print_report

    chosen = random.randrange(1_000_000) if seed is None else seed
    order = Order(seconds, chosen, clients, database, disk, clock)
    typer.echo(order.again())
    report = run(read_settings(), order, typer.echo)
    print_report(report)
    if not report.well:
        raise typer.Exit(1)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of numbers like 1,8,32") from error
