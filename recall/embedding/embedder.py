"""What the rest of recall sees of a model: texts in, unit vectors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from recall.embedding.batches import by_length, fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recall.embedding.batches import TokenBatch
    from recall.embedding.identity import ModelFolder, ModelIdentity
    from recall.embedding.tokens import Ids, Offsets, Reading, Tokens

Vectors = NDArray[np.float32]

ENGINES = ("cuda-float16", "cpu-int8", "cpu-bfloat16", "cpu-float32")
WHOLE = "sentence-transformers"  # float32 by the library's own `encode`, for any model at all


class Embedder(Protocol):
    """A model ready to embed; any number of threads may call it.

    The same text gets the same vector whatever else is embedded with it: cosine 0.99999 or more
    between any two companies in float32 and int8, 0.9999 in 16 bits.
    """

    identity: ModelIdentity
    engine: str  # one of ENGINES
    concurrent: bool  # two calls at once are no slower than one after the other
    max_tokens: int  # content tokens of a document before its end is cut off

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        ...

    @property
    def folder(self) -> ModelFolder:
        """The files that the model was opened from."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of texts to be found, in the order given."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of questions, in the order given."""
        ...

    def token_offsets(self, texts: Sequence[str]) -> list[Offsets]:
        """Return for each text the (start, end) characters of its tokens, without special ones."""
        ...


class Engine(Protocol):
    """A way to run a model over batches of token ids."""

    name: str
    concurrent: bool

    def budget(self, tokens: int) -> int:
        """Return the tokens that a batch should hold when there are so many in all."""
        ...

    def run(self, batches: Iterable[TokenBatch]) -> Vectors:
        """Return the unit vectors of all rows of all batches, [rows, dimension]."""
        ...


class TokenEmbedder:
    """One tokenizer call, rows sorted by length, batches filled by tokens, one engine."""

    def __init__(
        self, folder: ModelFolder, identity: ModelIdentity, tokens: Tokens, engine: Engine
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.engine = engine.name
        self.concurrent = engine.concurrent
        self.max_tokens = tokens.max_tokens
        self._tokens = tokens
        self._engine = engine

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self.identity.dimension

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of texts to be found, in the order given."""
        return self._embed(texts, self._tokens.document)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of questions, in the order given."""
        return self._embed(texts, self._tokens.query)

    def token_offsets(self, texts: Sequence[str]) -> list[Offsets]:
        """Return for each text the (start, end) characters of its tokens, without special ones."""
        return self._tokens.offsets(texts)

    def document_batches(self, texts: Sequence[str]) -> list[TokenBatch]:
        """Return the batches that `embed_documents` would run, to look at their padding."""
        return list(self._batches(texts, self._tokens.document)[0])

    def _batches(self, texts: Sequence[str], reading: Reading) -> tuple[Iterator[TokenBatch], Ids]:
        rows = self._tokens.read(texts, reading)
        order = by_length(rows)
        budget = self._engine.budget(len(rows.ids))
        return fill(rows, order, budget, self._tokens.pad), order

    def _embed(self, texts: Sequence[str], reading: Reading) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        batches, order = self._batches(texts, reading)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        vectors[order] = self._engine.run(batches)
        return vectors
