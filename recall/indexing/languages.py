"""The language of a tenant: how its words are stemmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.contract.errors import Invalid
from recall.database.units import NO_TENANT, WHOLE

if TYPE_CHECKING:
    from recall.database.units import Connection, Database

#: Postgres's Snowball dictionaries; `simple` stems nothing and drops no word.
LANGUAGES = (
    *("simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english"),
    *("finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish"),
    *("italian", "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian"),
    *("serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
)


async def set_language(database: Database, tenant: int, language: str) -> int:
    """Stem the words of `tenant` by `language` and queue its memories again; return how many.

    Until they are indexed again, a memory is found by the words that both languages stem alike.
    Raises Invalid for a language that Postgres has no dictionary for.
    """
    if language not in LANGUAGES:
        raise Invalid(f"language must be one of {', '.join(LANGUAGES)}.", "language")

    async def work(connection: Connection) -> int:
        await connection.execute(query("set_language"), [language, tenant])
        row = await (await connection.execute(query("queue_tenant"), [tenant])).fetchone()
        return int(row[0]) if row else 0

    return await database.run(work, NO_TENANT, within=WHOLE, rings=True)
