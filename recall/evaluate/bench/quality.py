"""What the indexes miss: each leg's candidates against a look at every row.

By score and not by id: of two chunks with one text either may stand in the first ten.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from recall.evaluate.bench.bare import (
    connect,
    connect_for_hnsw,
    evidence_of,
    nearest,
    rows,
)
from recall.evaluate.bench.figures import Quality, figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from recall.evaluate.bench.bare import Statement
    from recall.service import Service

DEPTH = 10
MOST_QUESTIONS = 100
#: halfvec distances of one pair differ by less, however they were computed.
SAME = 1e-5
EXACT = "a look at every row"

NEAREST_OF_TENANT = """
select meaning <=> %(meaning)s::halfvec as distance
from embedding where profile_id = %(profile)s and tenant_id = %(tenant)s
order by 1 limit 10
"""

#: BM25 with ts_rank as saturation, for every chunk that holds any of the words.
BEST_BY_WORDS = """
with word as (
  select quoted(w)::tsquery as w, ln(1 + (%(corpus)s - n + 0.5) / (n + 0.5)) as idf
  from unnest(%(words)s::text[], %(counts)s::float8[]) as u(w, n)
)
select c.id, (
  select sum(idf * ts_rank('{1,1,1,1}', c.words, w)) from word
) / (0.3 + 0.7 * c.length / %(mean)s::float8) as score
from chunk as c
where c.profile_id = %(profile)s and c.words @@ %(any)s::tsquery
order by score desc, c.id limit %(limit)s
"""


async def measure_quality(
    service: Service, tenant: int, fresh: Iterator[str], questions: int
) -> Quality:
    """Return the mean shares of the best ten that the candidates hold, and bare HNSW's ten."""
    texts = list(islice(fresh, min(questions, MOST_QUESTIONS)))
    semantic = await evidence_of(service, tenant, texts, "semantic")
    keyword = await evidence_of(service, tenant, texts, "keyword")
    with (
        connect(service) as owner,
        connect(service, tenant) as plain,
        connect_for_hnsw(service) as walking,
    ):
        owner.execute("set enable_indexscan = off")
        meant, walked = [], []
        for ours, bare in zip(semantic, nearest(service, texts), strict=True):
            values = {"meaning": bare.values[0], "profile": service.profile.id, "tenant": tenant}
            best = _column(owner, NEAREST_OF_TENANT, values, "distance")
            found = rows(plain, ours)[0]["similarities"]
            meant.append(_share(best, 1 - np.asarray(found, float)))
            walked.append(_share(best, [row["distance"] for row in rows(walking, bare)]))
        said = [_by_words(service, owner, plain, ours) for ours in keyword]
    return Quality(len(texts), *(_mean(shares) for shares in (meant, said, walked)))


def _by_words(
    service: Service,
    owner: psycopg.Connection[Any],
    plain: psycopg.Connection[Any],
    ours: Statement,
) -> float | None:
    evidence = rows(plain, ours)[0]
    words, corpus = evidence["words"], evidence["corpus_chunks"]
    if not words:
        return None
    quoted = ["'" + w.replace("\\", "\\\\").replace("'", "''") + "'" for w in words]
    values = {
        "words": words,
        "counts": evidence["word_chunks"],
        "corpus": corpus,
        "mean": max(evidence["corpus_length"], 1) / max(corpus, 1),
        "profile": service.profile.id,
        "any": " | ".join(quoted),
        "limit": DEPTH,
    }
    best = _column(owner, BEST_BY_WORDS, values, "score")
    ids = {"ids": list(evidence["chunk_ids"])}
    among = BEST_BY_WORDS.replace("order by", "and c.id = any(%(ids)s) order by")
    found = _column(owner, among, values | ids, "score")
    return _share([-score for score in best], [-score for score in found])


def _column(
    connection: psycopg.Connection[Any], statement: str, values: dict[str, Any], name: str
) -> list[float]:
    from recall.evaluate.bench.bare import Statement

    return [float(row[name]) for row in rows(connection, Statement(statement, values))]


def _share(best: list[float], found: Any) -> float | None:
    """Return how many of the `best` distances are reached by as many of `found`, as a share."""
    if not best:
        return None
    reached = np.sort(np.asarray(found, float))[: len(best)] <= max(best) + SAME
    return float(reached.sum() / len(best))


def _mean(shares: list[float | None]) -> Any:
    known = [share for share in shares if share is not None]
    return figure(float(np.mean(known)) if known else 1.0, 1.0, "share", EXACT)
