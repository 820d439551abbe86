"""Commands for the keys of callers that are not on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from recall.cli.frame import Tenant, app, read_settings, run

keys_app = typer.Typer(help="Keys for callers that are not on this machine.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Who will use it.")], tenant: Tenant = "default"
) -> None:
    """Make a key and print it, this once."""

    async def work() -> None:
        from recall.memory import keys
        from recall.runtime.reach import open_database

        async with open_database(read_settings()) as database:
            typer.echo(await keys.create_key(database, tenant, name))

    run(work())


@keys_app.command("list")
def keys_list() -> None:
    """List every key, without the key."""

    async def work() -> None:
        from recall.memory import keys
        from recall.runtime.reach import open_database
        from recall.schema import migrate

        async with open_database(read_settings(), migrate.check) as database:
            for key in await keys.list_keys(database):
                state = "revoked" if key.revoked_at else "live"
                typer.echo(f"{key.id}\t{state}\t{key.tenant}\t{key.name}\t{key.created_at:%F}")

    run(work())


@keys_app.command("revoke")
def keys_revoke(id: Annotated[int, typer.Argument(help="The key's number.")]) -> None:
    """Make a key open nothing any more."""

    async def work() -> None:
        from recall.memory import keys
        from recall.runtime.reach import open_database

        async with open_database(read_settings()) as database:
            await keys.revoke_key(database, id)

    run(work())
