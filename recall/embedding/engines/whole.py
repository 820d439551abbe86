"""Any sentence-transformers model, however it is built: its own `encode`, nothing of ours inside.

The yardstick that every other engine is held against, and the engine for models that take no
token ids (static embeddings, routers): correct for all, the slowest for most.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from recall.contract.errors import ModelMissing
from recall.embedding.engines.torch_engine import readings
from recall.embedding.identity import ModelFolder, ModelIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentence_transformers import SentenceTransformer

    from recall.embedding.embedder import Vectors
    from recall.embedding.tokens import Offsets

WORD = re.compile(r"\w+|[^\w\s]")


class WholeEmbedder:
    """Embed with `SentenceTransformer.encode` in float32."""

    engine = "cpu-float32"
    concurrent = False

    def __init__(self, folder: ModelFolder, model: SentenceTransformer) -> None:
        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise ModelMissing(f"{folder.name} does not say how long its vectors are.")
        self.folder = folder
        self.identity = ModelIdentity(folder.name, folder.revision, dimension)
        self.document, self.query = readings(model)
        self._model = model
        tokenizer = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
        self._tokenizer = tokenizer if isinstance(tokenizer, Tokenizer) else None
        special = self._tokenizer.num_special_tokens_to_add(False) if self._tokenizer else 0
        prompt = len(self.token_offsets([self.document.prompt])[0])
        self.max_tokens = max(1, self.document.max_length - special - prompt)

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        return self.identity.dimension

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of texts to be found, in the order given."""
        return self._encode(texts, self.document.prompt, "document")

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors [n, dimension] of questions, in the order given."""
        return self._encode(texts, self.query.prompt, "query")

    def token_offsets(self, texts: Sequence[str]) -> list[Offsets]:
        """Return for each text the (start, end) characters of its tokens, or of its words."""
        if self._tokenizer is None:
            return [[match.span() for match in WORD.finditer(text)] for text in texts]
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.offsets for encoding in encodings]

    def _encode(self, texts: Sequence[str], prompt: str, task: str) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        # The task chooses a route in models that have one.
        return self._model.encode(
            list(texts),
            prompt=prompt,
            task=task,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
