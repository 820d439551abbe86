"""What the rest of recall sees of a model: texts in, unit vectors out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recall.embedding.batches import Batch, by_length, fill, unsort
from recall.embedding.identity import ModelIdentity
from recall.embedding.tokens import Reading, Tokens

Vectors = NDArray[np.float32]
Offsets = list[tuple[int, int]]


class Engine(Protocol):
    """A way to run the model over batches of tokens."""

    name: str
    budget: int  # tokens a batch, padding included

    def run(self, batches: Sequence[Batch]) -> Vectors:
        """Return the unit vectors of all rows of all batches, [rows, dimension]."""
        ...


class Embedder:
    """One model behind one engine; safe to call from one thread at a time."""

    def __init__(self, identity: ModelIdentity, tokens: Tokens, engine: Engine, pad: int) -> None:
        self.identity = identity
        self.tokens = tokens
        self.engine = engine
        self._pad = pad
        self.max_tokens = tokens.max_tokens

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self.identity.dimension

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of texts to be found, in the order given."""
        return self._embed(texts, self.tokens.document)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of questions, in the order given."""
        return self._embed(texts, self.tokens.query)

    def token_offsets(self, texts: Sequence[str]) -> list[Offsets]:
        """Return for each text the (start, end) characters of its tokens, without special ones."""
        return self.tokens.offsets(texts)

    def _embed(self, texts: Sequence[str], reading: Reading) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        rows = self.tokens.read(texts, reading)
        order = by_length(rows)
        batches = list(fill(rows, order, self.engine.budget, self._pad))
        return unsort(self.engine.run(batches), order)
