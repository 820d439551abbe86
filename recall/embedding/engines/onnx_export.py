"""A loaded model to one graph of ONNX: token ids and mask in, unit vectors out."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import onnx
import torch

from recall.embedding.engines.onnx_int8 import quantise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from recall.embedding.batches import TokenBatch


class Graph(torch.nn.Module):
    """All modules of a sentence-transformers model as one function of token ids and mask."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.steps = torch.nn.ModuleList(list(model))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [rows, dimension]."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        for step in self.steps:
            features = step(features)
        return torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)


def export_int8(model: SentenceTransformer, samples: Sequence[TokenBatch], target: Path) -> None:
    """Write the model as an int8 graph to `target`; `samples` show what numbers run through it.

    The exporter raises whatever it likes at models that it cannot express.
    """
    with quiet():
        trace(model, target)
    graph = onnx.load(target)
    quantise(graph, samples)
    onnx.save(graph, target)


def trace(model: SentenceTransformer, target: Path) -> None:
    """Write the model in float32; any number of rows of any width can enter it."""
    transformer = model.transformers_model
    if transformer is None:
        raise ValueError("the model has no transformer to trace")
    attention = transformer.config._attn_implementation
    # Written out as products and softmax, which ONNX Runtime fuses; the fused kernel of torch
    # leaves a guard against rows without any token in every layer.
    transformer.set_attn_implementation("eager")
    rows = torch.arange(32).reshape(2, 16)
    mask = (torch.arange(16) < torch.tensor([[16], [9]])).long()
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with torch.no_grad():
            torch.onnx.export(
                Graph(model).eval(),
                (rows, mask),
                target,
                input_names=["input_ids", "attention_mask"],
                output_names=["vectors"],
                dynamic_shapes=(free, free),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        transformer.set_attn_implementation(attention)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the exporter's remarks about itself; its errors are raised all the same."""
    threshold = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(threshold)
