"""What only a first start does: load the model with torch, and derive the int8 graph from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recall.contract.errors import Misconfigured
from recall.embedding.batches import by_length, fill
from recall.embedding.derived import GRAPH, Description, describe
from recall.embedding.embedder import WHOLE, TokenEmbedder
from recall.embedding.engines.torch_engine import TorchEngine, load_torch, tokens_of
from recall.embedding.engines.whole import WholeEmbedder
from recall.embedding.sentences import SAMPLES

if TYPE_CHECKING:
    from recall.embedding.derived import Store
    from recall.embedding.embedder import Embedder
    from recall.embedding.identity import ModelFolder


def open_torch(folder: ModelFolder, engine: str, threads: int) -> Embedder:
    """Open a model in torch behind an engine's name; raises Misconfigured where it cannot run."""
    if engine.startswith("cuda") and not torch.cuda.is_available():
        raise Misconfigured(f"Engine {engine} needs a CUDA device, and torch sees none.")
    model = load_torch(folder.path)
    whole = WholeEmbedder(folder, model)
    tokens = tokens_of(model)
    if engine == WHOLE or (engine == "cpu-float32" and tokens is None):
        torch.set_num_threads(threads)
        return whole
    if tokens is None:
        raise Misconfigured(
            f"{folder.name} takes more than token ids: it runs as cpu-float32 only."
        )
    return TokenEmbedder(folder, whole.identity, tokens, TorchEngine(model, engine, threads))


def derive_int8(folder: ModelFolder, store: Store) -> None:
    """Derive the int8 graph and its files, unless they are there and whole.

    Raises Misconfigured for a model that cannot be made int8.
    """
    if store.intact():
        return
    from recall.embedding.engines.onnx_export import export_int8

    model = load_torch(folder.path)
    tokens = tokens_of(model)
    if tokens is None:
        raise Misconfigured(
            f"{folder.name} takes more than token ids: it runs as cpu-float32 only."
        )
    rows = tokens.read(SAMPLES, tokens.document)
    samples = list(fill(rows, by_length(rows), 512, tokens.pad))
    dimension = WholeEmbedder(folder, model).dimension
    with store.replacing() as draft:
        describe(Description(dimension, tokens.document, tokens.query, tokens.pad), tokens, draft)
        try:
            export_int8(model, samples, draft / GRAPH)
        except Exception as error:  # three foreign libraries, each with errors of its own
            raise Misconfigured(f"{folder.name} cannot be made int8: {error}") from error
