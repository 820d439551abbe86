"""`recall search`: one question, asked of the database as it is."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to find.")],
    mode: Annotated[str, typer.Option(help="hybrid, semantic or keyword.")] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most hits to show.")] = 10,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this time.")] = None,
    explain: Annotated[bool, typer.Option(help="Show the parts of each score.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Ask a question and print what is found."""
    log(logging.WARNING)

    async def work() -> None:
        from pydantic import ValidationError

        from recall.contract.errors import Invalid
        from recall.contract.refusals import sentence
        from recall.contract.values import Question
        from recall.memory import keys
        from recall.runtime.parts import ASK
        from recall.runtime.service import open_service

        given = {"user_id": user, "since": since, "until": until}
        try:
            question = Question(
                query=query,
                mode=mode,  # type: ignore[arg-type]  # checked by the model
                limit=limit,
                explain=explain,
                **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]
            )
        except ValidationError as error:
            raise Invalid(sentence(error)[1]) from error
        async with open_service(read_settings(), ASK) as service:
            caller = await keys.known_caller(service.database, tenant)
            answer = await service.searcher.recall(caller, question)
        if as_json:
            from pydantic_core import to_json

            typer.echo(to_json(answer, indent=2).decode())
        else:
            from recall.cli.terminal import print_answer

            print_answer(answer)

    run(work())
