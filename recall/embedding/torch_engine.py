"""The model as sentence-transformers loads it, fed with batches filled by tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from recall.embedding.batches import Batch
from recall.embedding.embedder import Vectors
from recall.embedding.tokens import Reading, Tokens

UNBOUNDED = 8192  # tokens; some tokenizers state no limit (10**30) although attention is quadratic


def load(folder: Path, device: str = "cpu") -> SentenceTransformer:
    """Open a model's folder with sentence-transformers, never reaching for the network."""
    return SentenceTransformer(str(folder), device=device, local_files_only=True)


def tokens_of(model: SentenceTransformer) -> Tokens:
    """Return the model's tokenizer and how it reads documents and queries."""
    longest = min(int(model.max_seq_length or UNBOUNDED), UNBOUNDED)
    prompts = model.prompts
    default = model.default_prompt_name
    document = first_prompt(prompts, ["document", "passage", "corpus", default])
    query = first_prompt(prompts, ["query", default])
    serialized = model.tokenizer.backend_tokenizer.to_str()
    return Tokens(serialized, Reading(document, longest), Reading(query, longest))


def first_prompt(prompts: dict[str, str], names: Sequence[str | None]) -> str:
    """Return the first prompt among these names that says anything, else ""."""
    return next((prompts[name] for name in names if name and prompts.get(name)), "")


class TorchEngine:
    """Run the loaded modules in a number format on a device."""

    def __init__(self, model: SentenceTransformer, name: str, threads: int) -> None:
        device, _, kind = name.rpartition("-")
        self.name = name
        self.budget = 65_536 if device == "cuda" else 4_096
        self._model = model.to(device, getattr(torch, kind)).eval()
        self._device = device
        if device == "cpu":
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def run(self, batches: Sequence[Batch]) -> Vectors:
        """Return unit vectors; they stay on the device until the last batch is under way."""
        parts = [self._forward(batch) for batch in batches]
        vectors: Vectors = torch.cat(parts).cpu().numpy()
        return vectors.astype(np.float32, copy=False)

    def _forward(self, batch: Batch) -> torch.Tensor:
        features = {
            "input_ids": torch.from_numpy(batch.ids).to(self._device, non_blocking=True),
            "attention_mask": torch.from_numpy(batch.mask).to(self._device, non_blocking=True),
        }
        pooled = self._model(features)["sentence_embedding"]
        return torch.nn.functional.normalize(pooled.float(), dim=-1)
