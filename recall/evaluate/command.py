"""`recall eval`: a set of questions, asked in a scratch database that is removed afterwards."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

import psycopg
from psycopg import sql
from pydantic import SecretStr

from recall import embedded
from recall.errors import Invalid
from recall.evaluate.run import ask, load, summarise
from recall.evaluate.sets import read_set
from recall.models import Mode
from recall.service import open_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recall.evaluate.run import Summary
    from recall.settings import Settings


@contextmanager
def scratch_database(settings: Settings) -> Iterator[Settings]:
    """Yield settings for a new database on the same server; drop it at the end."""
    name = f"recall_scratch_{uuid.uuid4().hex[:12]}"
    use = embedded.start(settings.home) if settings.embedded else None
    url = use.server.url() if use else settings.direct_url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    own = SecretStr(_renamed(url, name))
    try:
        yield settings.model_copy(update={"database_url": own, "database_direct_url": own})
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            connection.execute(drop)
        if use:
            use.release()


def _renamed(url: str, database: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def run(settings: Settings, file: Path, mode: str, as_json: bool) -> None:
    """Load the set, ask its questions in the modes wanted, and print what was found."""
    if mode not in (*get_args(Mode), "all"):
        raise Invalid(f"mode must be hybrid, semantic, keyword or all, not {mode!r}.", "mode")
    modes: tuple[Mode, ...] = get_args(Mode) if mode == "all" else (mode,)
    chosen = read_set(file)
    summaries: dict[str, Summary] = {}
    with scratch_database(settings) as scratch:
        async with open_service(scratch) as service:
            tenants = await load(service, chosen)
            for each in modes:
                summaries[each] = summarise(await ask(service, chosen, tenants, each))
    if as_json:
        print(json.dumps({name: asdict(summary) for name, summary in summaries.items()}, indent=2))
    else:
        from recall.tables import print_evaluation

        print_evaluation(file.name, summaries)
