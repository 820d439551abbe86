"""The language of a tenant: how its words are stemmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recall.base.queries import query
from recall.contract.errors import Invalid
from recall.database.fetching import fetch_value
from recall.database.units import WHOLE

if TYPE_CHECKING:
    from recall.database.caller import Caller
    from recall.database.units import Connection, Database

#: Postgres's Snowball dictionaries; `simple` stems nothing and drops no word.
LANGUAGES = (
    *("simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english"),
    *("finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish"),
    *("italian", "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian"),
    *("serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
)


async def set_language(database: Database, caller: Caller, language: str) -> int:
    """Stem the words of a tenant by `language` and queue its memories again; return how many.

    Until they are indexed again, a memory is found by the words that both languages stem alike.
    Raises Invalid for a language that Postgres has no dictionary for, Forbidden without the right
    to administer.
    """
    caller.need("admin")
    if language not in LANGUAGES:
        raise Invalid(f"language must be one of {', '.join(LANGUAGES)}.", "language")

    async def work(connection: Connection) -> int:
        await connection.execute(query("set_language"), [language, caller.tenant])
        return int(await fetch_value(connection, query("queue_tenant"), [caller.tenant]))

    return await database.as_owner(work, within=WHOLE, rings=True)
