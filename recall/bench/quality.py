"""What the indexes miss: each leg's candidates against a look at every row.

By score and not by id: of two chunks with one text either may stand in the first ten.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from recall.bench.figures import Quality, figure
from recall.bench.floors import (
    Statement,
    connect_for_hnsw,
    nearest,
    plain_connection,
    rows,
    statements_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from recall.database.caller import Caller
    from recall.runtime.service import Service

DEPTH = 10
MOST_QUESTIONS = 100
#: halfvec distances of one pair differ by less, however they were computed.
SAME = 1e-5
EXACT = "a look at every row"

ALWAYS = (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))

#: From the middle of the tenant's history on, so that a part is one stretch of time.
SPAN = """
select percentile_disc(0.5) within group (order by created_at),
       percentile_disc(0.5 + %s) within group (order by created_at)
from memory where tenant_id = %s
"""

NEAREST_OF_TENANT = """
select e.meaning <=> %(meaning)s::halfvec as distance
from embedding as e join chunk as c on c.profile_id = e.profile_id and c.id = e.chunk_id
where e.profile_id = %(profile)s and e.tenant_id = %(tenant)s
  and c.created_at >= %(since)s and c.created_at < %(until)s
order by 1 limit 10
"""

#: A question's words in the corpus: what the searcher's own statement asks by.
TERMS = """
select words, word_chunks, corpus_chunks, corpus_length, any_of(words) as any_word
from tenant as t
cross join lateral terms(%(profile)s::smallint, t.language, %(tokens)s::text[])
where t.id = %(tenant)s
"""

#: BM25 with ts_rank as saturation, for every chunk that holds any of the words.
BEST_BY_WORDS = """
with word as (
  select quoted(w)::tsquery as w, ln(1 + (%(corpus_chunks)s - n + 0.5) / (n + 0.5)) as idf
  from unnest(%(words)s::text[], %(word_chunks)s::float8[]) as u(w, n)
)
select c.id, (
  select sum(idf * ts_rank('{1,1,1,1}', c.words, w)) from word
) / (1 - weight_of_length() + weight_of_length() * c.length / %(mean)s::float8) as score
from chunk as c
where c.profile_id = %(profile)s and c.words @@ %(any_word)s::tsquery
  and c.created_at >= %(since)s and c.created_at < %(until)s
order by score desc, c.id limit %(limit)s
"""


async def measure_quality(
    service: Service, caller: Caller, fresh: Iterator[str], questions: int, part: float = 1.0
) -> Quality:
    """Return the mean shares of the best ten that the candidates hold.

    `part` below 1 asks so large a part of the memories, within a scope in time.
    """
    texts = list(islice(fresh, min(questions, MOST_QUESTIONS)))
    with plain_connection(service) as owner, plain_connection(service, caller) as plain:
        owner.execute("set enable_indexscan = off")
        owner.execute("select set_config('recall.tenant', %s, false)", [str(caller.tenant)])
        span, scope = ALWAYS, {}
        if part < 1:
            (span,) = owner.execute(SPAN, [part, caller.tenant]).fetchall()
            scope = dict(zip(("since", "until"), span, strict=True))
        values = {
            "since": span[0],
            "until": span[1],
            "profile": service.profile.id,
            "tenant": caller.tenant,
        }
        meant = []
        semantic = await statements_of(service, caller, texts, "semantic", **scope)
        for (ours, *_), bare in zip(semantic, nearest(service, texts), strict=True):
            best = _nearest(owner, values, bare)
            similar = _similarities_in_scope(rows(plain, ours)[0])
            meant.append(_share(best, 1 - similar))
        keyword = await statements_of(service, caller, texts, "keyword", **scope)
        said = [_by_words(owner, plain, ours, values) for ours, *_ in keyword]
    return Quality(part, len(texts), _mean(meant), _mean(said))


async def with_bare(
    service: Service, caller: Caller, fresh: Iterator[str], quality: Quality
) -> Quality:
    """Return `quality` with what a bare HNSW search holds of the best ten, for comparison."""
    span = {"since": ALWAYS[0], "until": ALWAYS[1]}
    values = {**span, "profile": service.profile.id, "tenant": caller.tenant}
    walked = []
    with plain_connection(service) as owner, connect_for_hnsw(service) as walking:
        owner.execute("set enable_indexscan = off")
        for bare in nearest(service, list(islice(fresh, quality.questions))):
            best = _nearest(owner, values, bare)
            walked.append(_share(best, [row["distance"] for row in rows(walking, bare)]))
    return replace(quality, hnsw_at_10=_mean(walked))


def _nearest(
    owner: psycopg.Connection[Any], values: dict[str, Any], bare: Statement
) -> list[float]:
    return _column(owner, NEAREST_OF_TENANT, values | {"meaning": bare.values[0]}, "distance")


def _similarities_in_scope(evidence: dict[str, Any]) -> np.ndarray:
    in_scope = {
        i for i, asked in zip(evidence["chunk_ids"], evidence["in_scope"], strict=True) if asked
    }
    by_id = zip(evidence["embedded_ids"], evidence["similarities"], strict=True)
    return np.array([similarity for i, similarity in by_id if i in in_scope], float)


def _by_words(
    owner: psycopg.Connection[Any],
    plain: psycopg.Connection[Any],
    ours: Statement,
    span: dict[str, Any],
) -> float | None:
    (terms,) = rows(owner, Statement(TERMS, span | {"tokens": ours.values["tokens"]}))
    if not terms["words"]:
        return None
    mean = max(terms["corpus_length"], 1) / max(terms["corpus_chunks"], 1)
    values = span | terms | {"mean": mean, "limit": DEPTH}
    best = _column(owner, BEST_BY_WORDS, values, "score")
    ids = {"ids": list(rows(plain, ours)[0]["chunk_ids"])}
    among = BEST_BY_WORDS.replace("order by", "and c.id = any(%(ids)s) order by")
    reached = _column(owner, among, values | ids, "score")
    return _share([-score for score in best], [-score for score in reached])


def _column(
    connection: psycopg.Connection[Any], statement: str, values: dict[str, Any], name: str
) -> list[float]:
    return [float(row[name]) for row in rows(connection, Statement(statement, values))]


def _share(best: list[float], distances: Any) -> float | None:
    """Return how many of the `best` distances are reached by as many `distances`, as a share."""
    if not best:
        return None
    reached = np.sort(np.asarray(distances, float))[: len(best)] <= max(best) + SAME
    return float(reached.sum() / len(best))


def _mean(shares: list[float | None]) -> Any:
    known = [share for share in shares if share is not None]
    return figure(float(np.mean(known)) if known else 1.0, 1.0, "share", EXACT)
