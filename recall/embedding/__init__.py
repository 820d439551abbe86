"""Meaning as vectors: one interface, the fastest engine that this machine proves equal."""

import os
from pathlib import Path

from recall.embedding.embedder import Embedder
from recall.embedding.identity import ModelIdentity, open_folder

__all__ = ["Embedder", "ModelIdentity", "open_embedder"]


def open_embedder(
    model: str | None, home: Path, engine: str = "auto", threads: int | None = None
) -> Embedder:
    """Open a model (None or "": the packaged one) behind the engine asked for."""
    from recall.embedding.torch_engine import TorchEngine, load, tokens_of

    folder = open_folder(model)
    loaded = load(folder.path)
    dimension = loaded.get_embedding_dimension()
    assert dimension is not None
    pad = loaded.tokenizer.pad_token_id or 0
    running = TorchEngine(loaded, "cpu-float32", threads or len(os.sched_getaffinity(0)))
    identity = ModelIdentity(folder.name, folder.revision, dimension)
    return Embedder(identity, tokens_of(loaded), running, pad)
