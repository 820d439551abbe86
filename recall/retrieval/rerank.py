"""Reranking by a cross-encoder of the operator's choice; off unless a question asks for it.

None is bundled, because which one is good depends on the language and on how long a caller may
wait. It scores a bounded number of candidates, whatever limit was asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from recall.contract.errors import ModelMissing

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reranker:
    """Any sentence-transformers CrossEncoder, by name or folder, loaded at its first use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = asyncio.Lock()  # the model serves one question at a time
        self._model: object = None

    async def order(self, query: str, texts: Sequence[str]) -> list[int]:
        """Return the places of `texts`, the best answer to `query` first; ties keep their order.

        Raises ModelMissing when the model cannot be opened.
        """
        async with self._lock:
            scores = await asyncio.to_thread(self._score, query, texts)
        return sorted(range(len(texts)), key=lambda place: (-scores[place], place))

    def _score(self, query: str, texts: Sequence[str]) -> list[float]:
        from sentence_transformers import CrossEncoder

        if self._model is None:
            try:
                self._model = CrossEncoder(self._name)
            except (OSError, ValueError) as error:
                raise ModelMissing(
                    f"RECALL_RERANKER={self._name} cannot be opened: {error}"
                ) from error
        assert isinstance(self._model, CrossEncoder)
        pairs = [(query, text) for text in texts]
        return [float(s) for s in self._model.predict(pairs, show_progress_bar=False)]
