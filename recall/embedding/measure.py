"""How fast an engine is here, against what everybody runs: `SentenceTransformer.encode`."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from recall.embedding.batches import padding_share
from recall.embedding.embedder import WHOLE, TokenEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recall.embedding.embedder import Embedder

ROUNDS = 5  # ours and theirs in turn, so that a busy minute burdens both
QUESTIONS = 20  # a round
QUESTION_CHARACTERS = 60


def compare_with_library(embedder: Embedder, texts: Sequence[str]) -> dict[str, Any]:
    """Return rates, latencies, padding and agreement of an engine and of the library's float32.

    Rates are texts a second and latencies milliseconds, each the median of five rounds in which
    both sides take their turn. The library's side embeds a fifth of the texts in each round.
    """
    from recall.embedding.cores import usable_cores
    from recall.embedding.engines.derive import open_torch

    library = open_torch(embedder.folder, WHOLE, usable_cores())
    fifth = [list(texts[start::ROUNDS]) for start in range(ROUNDS)]
    ours, theirs = [], []
    for part in fifth:
        ours.append(len(texts) / seconds(embedder.embed_documents, texts))
        theirs.append(len(part) / seconds(library.embed_documents, part))
    questions = [text[:QUESTION_CHARACTERS] for text in texts[:QUESTIONS]]
    our_wait = [seconds(embedder.embed_queries, [text]) for text in questions * ROUNDS]
    their_wait = [seconds(library.embed_queries, [text]) for text in questions * ROUNDS]
    cosines = np.sum(embedder.embed_documents(fifth[0]) * library.embed_documents(fifth[0]), axis=1)
    return {
        "engine": embedder.engine,
        "texts": len(texts),
        "texts_per_second": median(ours),
        "library_texts_per_second": median(theirs),
        "query_ms": 1000 * median(our_wait),
        "library_query_ms": 1000 * median(their_wait),
        "mean_cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
        "padding": padding_share(embedder.document_batches(texts))
        if isinstance(embedder, TokenEmbedder)
        else None,
    }


def seconds(call: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    call(texts)
    return time.perf_counter() - begun
