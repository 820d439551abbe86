"""`recall follow`: a history that goes on elsewhere, kept up with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from recall.cli.frame import Tenant, app, log, read_settings, run
from recall.cli.source_arguments import Options, name_and_target, options_by_name


@app.command()
def follow(
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE] FILE_OR_URL", help="What to follow; none: show those."),
    ] = None,
    tenant: Tenant = "default",
    user: Annotated[str | None, typer.Option(help="Whose memories that name no user are.")] = None,
    option: Options = None,
    longest_wait: Annotated[
        float, typer.Option(min=0.5, help="Most seconds between two looks at a quiet server.")
    ] = 900.0,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="Tables beside recall's tell when they change.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Let a `recall serve` or worker follow it.")
    ] = False,
    unregister: Annotated[bool, typer.Option("--unregister", help="Follow it no more.")] = False,
    index: Annotated[
        bool, typer.Option(help="Index here; otherwise a running worker does it.")
    ] = True,
) -> None:
    """Follow a history that goes on: what is new, edited and deleted, until Ctrl-C.

    Without an argument the registered sources are listed. A URL with a password is registered as
    '$NAME', the name of an environment variable that holds it.
    """
    log(logging.WARNING)
    name, target = name_and_target(given or [""])
    if Path(target).exists():
        target = str(Path(target).absolute())  # a worker may run elsewhere

    async def work() -> None:
        from recall.cli import follow_run
        from recall.contract.errors import NotFound
        from recall.sync.followed import Followed

        if not given:
            return await follow_run.list_followed(read_settings())
        if unregister:
            if not await follow_run.unregister_source(read_settings(), tenant, target):
                raise NotFound(f"{target} is not registered.")
            return None
        followed = Followed(target, name, options_by_name(option), user, longest_wait, trigger)
        if register:
            return await follow_run.register_source(read_settings(), tenant, followed)
        return await follow_run.follow_source(read_settings(), tenant, followed, index)

    run(work())
