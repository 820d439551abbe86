"""A loaded model to one int8 graph: trace it, balance its channels, quantise its matrices.

Dynamic quantisation measures the largest number that enters a matrix and divides the whole range
by 255. BERT-like models carry a few channels that are twenty times louder than the rest, and all
others then share what resolution is left: cosine 0.991 to float32. So before quantising, loud
channels are turned down ahead of each matrix and the matrix's rows are turned up by as much, which
changes nothing in exact arithmetic: cosine 0.996, 4 % of the speed. Only loud channels are
touched, for the others' peaks over a few sentences say little about the next sentence.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from recall.embedding.batches import Batch

INPUTS = ["input_ids", "attention_mask"]
LOUD = 0.98  # quantile of the channels' peaks above which a channel is turned down
STRENGTH = 0.75  # 1 would level it entirely, and make its rows the loudest of the matrix


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


def export_int8(model: SentenceTransformer, samples: Sequence[Batch], target: Path) -> None:
    """Write the model as an int8 graph to `target`; `samples` show what its channels carry.

    The exporter and the quantiser raise whatever they like at models that they cannot express.
    """
    plain = target.with_name("float32.onnx")
    with quiet():
        trace(model, plain)
        graph = onnx.load(plain)
        balance(graph, samples)
        del graph.graph.value_info[
            :
        ]  # the quantiser turns matrices around and then trips over them
        onnx.save(graph, plain)
        quantize_dynamic(
            plain,
            target,
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gather"],
        )
    plain.unlink()


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
                input_names=INPUTS,
                output_names=["vectors"],
                dynamic_shapes=(free, free),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        transformer.set_attn_implementation(attention)


def balance(graph: onnx.ModelProto, samples: Sequence[Batch]) -> None:
    """Turn loud channels down ahead of every matrix, and its rows up by as much."""
    entering = matrices(graph)
    peaks = channel_peaks(graph, list(entering), samples)
    weights = {weight.name: weight for weight in graph.graph.initializer}
    nodes = list(graph.graph.node)
    for name, products in entering.items():
        loud = max(float(np.quantile(peaks[name], LOUD)), 1e-6)
        gain = np.maximum(peaks[name] / loud, 1.0) ** STRENGTH
        for product in products:
            weight = weights[product.input[1]]
            louder = numpy_helper.to_array(weight) * gain[:, None]
            weight.CopyFrom(numpy_helper.from_array(louder.astype(np.float32), weight.name))
            product.input[0] = f"{name}_balanced"
        factor = numpy_helper.from_array((1 / gain).astype(np.float32), f"{name}_factor")
        graph.graph.initializer.append(factor)
        quieter = helper.make_node("Mul", [name, factor.name], [f"{name}_balanced"])
        nodes.insert(next(i for i, node in enumerate(nodes) if node is products[0]), quieter)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def matrices(graph: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Return by the name of what enters them the products with a matrix that nobody else uses."""
    weights = {weight.name: len(weight.dims) for weight in graph.graph.initializer}
    used = [name for node in graph.graph.node for name in node.input]
    entering: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        is_product = node.op_type == "MatMul" and weights.get(node.input[1]) == 2
        if is_product and used.count(node.input[1]) == 1:
            entering.setdefault(node.input[0], []).append(node)
    return entering


def channel_peaks(
    graph: onnx.ModelProto, names: list[str], samples: Sequence[Batch]
) -> dict[str, NDArray[np.float32]]:
    """Return the largest magnitude of each channel of the named tensors, real tokens only."""
    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    for name in names:
        watched.graph.output.append(
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    peaks: dict[str, NDArray[np.float32]] = {}
    for batch in samples:
        outputs = session.run(names, {"input_ids": batch.ids, "attention_mask": batch.mask})
        for name, values in zip(names, outputs, strict=True):
            loudness = np.abs(values)
            if loudness.shape[:2] == batch.mask.shape:
                loudness = loudness[batch.mask > 0]
            peak = loudness.reshape(-1, loudness.shape[-1]).max(axis=0)
            peaks[name] = np.maximum(peaks.get(name, 0), peak)
    return peaks


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
