"""The floors in the database: a question's own SQL, and bare statements, on plain connections."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from pgvector import HalfVector
from psycopg import sql
from psycopg.rows import dict_row

from recall.base.queries import query
from recall.bench.figures import Timings
from recall.contract.values import Question
from recall.database.vectors import speak_binary
from recall.embedding import Model
from recall.retrieval.hits import read_with
from recall.retrieval.search import Searcher
from recall.schema import functions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recall.contract.values import Mode
    from recall.database.caller import Caller
    from recall.runtime.service import Service

NEAREST = 50


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its parameters, as the searcher sent it or bare."""

    text: Any
    values: Any


async def statements_of(
    service: Service, caller: Caller, texts: Sequence[str], mode: Mode, **scope: Any
) -> list[tuple[Statement, ...]]:
    """Return what the searcher sends for each question: first for its evidence, then for its hits.

    Asking warms the database for all sides alike; the service's own cache of questions stays cold,
    for these go through another.
    """
    model = Model(service.model.embedder)
    searcher = Searcher(service.database, service.profile, model.questions)
    sent: list[tuple[Statement, ...]] = []
    try:
        for text in texts:
            question = Question(query=text, mode=mode, **scope)
            wanted = await searcher.prepare(question)
            answer = await searcher.recall(caller, question)
            hits = read_with(question, [hit.id for hit in answer.results])
            sent.append((Statement(query("gather"), wanted), Statement(query("hits"), hits)))
    finally:
        await model.aclose()
    return sent


def nearest(service: Service, texts: Sequence[str]) -> list[Statement]:
    """Return the bare HNSW search for each question's nearest chunks, all tenants."""
    statement = sql.SQL(
        "select chunk_id, meaning <=> %s::halfvec as distance from embedding"
        " where profile_id = {profile}"
        " order by meaning::halfvec({dimension}) <=> %s::halfvec({dimension}) limit {limit}"
    ).format(profile=service.profile.id, dimension=service.profile.dimension, limit=NEAREST)
    vectors = [HalfVector(v).to_text() for v in service.model.embedder.embed_queries(list(texts))]
    return [Statement(statement, (vector, vector)) for vector in vectors]


def plain_connection(service: Service, caller: Caller | None = None) -> psycopg.Connection[Any]:
    """Return a plain connection: of the owner, or as a question of `caller` runs."""
    connection = psycopg.connect(service.settings.direct_url, autocommit=True)
    speak_binary(connection)
    row = connection.execute(query("vector_schema")).fetchone()
    vector = row[0] if row else "public"
    # A scratch database: nobody else is here, and pgvector's schema may be on the path.
    path = f"{functions.read_functions(vector).path}, {vector}"
    connection.execute("select set_config('search_path', %s, false)", [path])
    if caller is not None:
        connection.execute(
            "select set_config('recall.tenant', %s, false),"
            " set_config('role', 'recall_service', false)",
            [str(caller.tenant)],
        )
    return connection


def connect_for_hnsw(service: Service) -> psycopg.Connection[Any]:
    """Return an owner's connection that walks HNSW, however few rows there are."""
    connection = plain_connection(service)
    # As wide as a hybrid question's own walk: a floor that finds less would be no floor.
    connection.execute("select set_config('hnsw.ef_search', walk_width()::text, false)")
    for other in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
        connection.execute(f"set {other} = off".encode())
    return connection


def time_statements(
    connections: Sequence[psycopg.Connection[Any]], questions: Sequence[Sequence[Statement]]
) -> Timings:
    """Send each question's statements, each connection its next when it has an answer."""
    left = iter(questions)

    def client(connection: psycopg.Connection[Any]) -> list[float]:
        waits = []
        cursor = connection.cursor(binary=True)
        for statements in left:
            begun = time.perf_counter()
            for statement in statements:
                cursor.execute(statement.text, statement.values)
            waits.append(time.perf_counter() - begun)
        return waits

    begun = time.perf_counter()
    if len(connections) == 1:
        return Timings(tuple(client(connections[0])), time.perf_counter() - begun)
    with ThreadPoolExecutor(len(connections)) as threads:
        waits = [wait for found in threads.map(client, connections) for wait in found]
    return Timings(tuple(waits), time.perf_counter() - begun)


def rows(connection: psycopg.Connection[Any], statement: Statement) -> list[dict[str, Any]]:
    """Return a statement's rows by column name."""
    cursor = connection.cursor(row_factory=dict_row)
    return cursor.execute(statement.text, statement.values).fetchall()
