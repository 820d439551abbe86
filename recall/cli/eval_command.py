"""`recall eval`: what is found of what is known to answer a question."""

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
        from recall.evaluate.evaluation import Comparison, run_evaluation

        summaries = await run_evaluation(read_settings(), file, Comparison(mode, rrf, legs))
        if as_json:
            from pydantic_core import to_json

            typer.echo(to_json(summaries, indent=2).decode())
        else:
            from recall.cli.terminal import print_evaluation

            print_evaluation(file.name, summaries)
        if plot:
            from recall.evaluate.recall_plot import draw_recall

            draw_recall(file.name, summaries, plot)

    run(work())
