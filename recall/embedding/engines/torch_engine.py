"""The model as sentence-transformers loads it, fed with batches filled by tokens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from recall.contract.errors import ModelMissing
from recall.embedding.tokens import Reading, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from recall.embedding.batches import TokenBatch
    from recall.embedding.embedder import Vectors

UNBOUNDED = 512  # tokens; for models that state no limit although quality and memory have one
BATCH = {"cpu": 1_024, "cuda": 65_536}  # tokens


def load_torch(folder: Path, device: str = "cpu") -> SentenceTransformer:
    """Return a model's folder opened with sentence-transformers in float32, without the network.

    Raises ModelMissing when it cannot be opened.
    """
    try:
        with without_bars():
            model = SentenceTransformer(str(folder), device=device, local_files_only=True)
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise ModelMissing(f"{folder} cannot be opened as a model: {error}") from error
    return model.float().eval()


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing a progress bar into the service's log."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def readings(model: SentenceTransformer) -> tuple[Reading, Reading]:
    """Return how the model reads documents and how it reads queries."""
    longest = limit_of(model)
    default = model.default_prompt_name
    document = first_prompt(model.prompts, ["document", "passage", "corpus", default])
    query = first_prompt(model.prompts, ["query", default])
    return Reading(document, longest), Reading(query, longest)


def limit_of(model: SentenceTransformer) -> int:
    """Return the most tokens that the model reads of a text, special tokens included."""
    stated = model.max_seq_length
    # Tokenizers without a limit say 10**30.
    return int(stated) if stated and stated < 1_000_000 else UNBOUNDED


def first_prompt(prompts: Mapping[str, str | None], names: Sequence[str | None]) -> str:
    """Return the first prompt among these names that says anything, else ""."""
    said = (prompts.get(name) for name in names if name)
    return next((prompt for prompt in said if prompt), "")


def tokens_of(model: SentenceTransformer) -> Tokens | None:
    """Return the model's Rust tokenizer with its readings; None when token ids are not enough.

    That is so without such a tokenizer, and where the pooling must be told where the prompt ends.
    """
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    document, query = readings(model)
    skips = any(getattr(module, "include_prompt", True) is False for module in model)
    if backend is None or (skips and (document.prompt or query.prompt)):
        return None
    return Tokens(backend.to_str(), document, query, model.tokenizer.pad_token_id or 0)


class TorchEngine:
    """Run the loaded modules in a number format on a device: "cpu-bfloat16", "cuda-float16"…"""

    concurrent = False

    def __init__(self, model: SentenceTransformer, name: str, threads: int) -> None:
        self.name = name
        self._device, _, kind = name.partition("-")
        self._model = model.to(device=self._device, dtype=getattr(torch, kind))
        if self._device == "cpu":
            torch.set_num_threads(threads)

    def budget(self, tokens: int) -> int:
        """Return the tokens of a batch."""
        return BATCH[self._device]

    @torch.inference_mode()
    def run(self, batches: Iterable[TokenBatch]) -> Vectors:
        """Return the unit vectors of all rows; they leave the device once, at the end.

        A GPU works through what it was given while the next batches are being filled.
        """
        parts = [self._forward(batch) for batch in batches]
        vectors: Vectors = torch.cat(parts).cpu().numpy()
        return vectors

    def _forward(self, batch: TokenBatch) -> torch.Tensor:
        features = {
            "input_ids": torch.from_numpy(batch.ids).to(self._device),
            "attention_mask": torch.from_numpy(batch.mask).to(self._device),
        }
        pooled = self._model(features)["sentence_embedding"]
        return torch.nn.functional.normalize(pooled.float(), dim=-1)
