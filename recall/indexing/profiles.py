"""Profiles: which model's vectors this database holds, and refusing to mix in another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.contract.errors import ModelMismatch, NotFound
from recall.database.caller import OWNER
from recall.database.fetching import fetch_one

if TYPE_CHECKING:
    from recall.database.units import Connection, Database
    from recall.embedding import ModelIdentity


@dataclass(frozen=True, slots=True)
class Profile:
    """An embedding model at a revision, with the recipe that its chunks were made by."""

    id: int
    model: str
    revision: str
    dimension: int
    recipe: str


async def active_profile(database: Database) -> Profile | None:
    """Return the active profile, or None before the first start with a model."""

    async def work(connection: Connection) -> Profile | None:
        return await fetch_one(connection, Profile, query("active_profile"))

    return await database.read(OWNER, work)


async def ensure_profile(
    database: Database, identity: ModelIdentity, recipe: str, make: bool = True
) -> Profile:
    """Return the active profile when it is this model's; make it when the database has none.

    Who only reads does not `make` one, and is told by NotFound that there is nothing to read.
    Raises ModelMismatch when other vectors are active: two models' vectors, even of one
    dimension, cannot be compared.
    """
    active = await active_profile(database)
    if active is None and not make:
        raise NotFound("Nothing is indexed in this database yet: store something first.")
    if active is None:

        async def work(connection: Connection) -> None:
            await connection.execute(query("lock_profiles"))
            values = [identity.name, identity.revision, identity.dimension, recipe]
            await connection.execute(query("first_profile"), values)

        await database.as_owner(work)
        active = await active_profile(database)
        assert active is not None
    theirs = (active.model, active.revision, active.dimension, active.recipe)
    if theirs != (identity.name, identity.revision, identity.dimension, recipe):
        raise ModelMismatch(
            f"This database holds vectors of {active.model} (revision {active.revision}, "
            f"{active.dimension} dimensions, recipe {active.recipe}), and RECALL_MODEL opens "
            f"{identity.name} (revision {identity.revision}, {identity.dimension} dimensions, "
            f"recipe {recipe}). Set RECALL_MODEL={active.model}, or use a new database and "
            "backfill it with the new model."
        )
    return active
