"""A float32 graph to int8: every product with a matrix of weights is done in 8-bit integers.

The usual recipe (dynamic quantisation) measures the largest number that enters a product and
divides the range by 255, batch by batch. That has two faults. BERT-like models carry a few
channels twenty times louder than the rest, so that all others share little resolution: cosine
0.991 to float32. And a text's vector depends on the texts beside it: cosine 0.997 to itself.

So, before anything is rounded, loud channels are turned down ahead of a product and the rows of
its matrix are turned up by as much, which changes nothing in exact arithmetic. Only loud channels
are touched: the peaks of quiet ones over a few sentences say little about the next sentence. After
that one fixed range serves all texts, and larger numbers saturate. Measured on chats, abstracts
and odd strings: cosine 0.997, as good as ranges taken batch by batch; 7 % faster than measuring
them; and a vector no longer depends on the company.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recall.embedding.batches import TokenBatch

Floats = NDArray[np.float32]

LOUD = 0.98  # quantile of the channels' peaks above which a channel is turned down
STRENGTH = 0.75  # 1 would level it entirely, and make its rows the loudest of the matrix
MARGIN = 1.05  # of the range over what the samples show
LARGE_TABLE = 1_000  # rows


def quantise(model: onnx.ModelProto, samples: Sequence[TokenBatch]) -> None:
    """Turn a graph to int8 in place; `samples` show which numbers run through it."""
    graph = Int8Graph(model)
    entering = graph.products()
    ranges = channel_ranges(model, sorted(entering), samples)
    graph.rewrite({name: Scaling(*ranges[name]) for name in entering})


class Scaling:
    """How the numbers that enter a product become bytes."""

    def __init__(self, low: Floats, high: Floats) -> None:
        """Take each channel's least and largest number over the samples."""
        peaks = np.maximum(high, -low)
        loud = max(float(np.quantile(peaks, LOUD)), 1e-6)
        self.gain = (np.maximum(peaks / loud, 1.0) ** STRENGTH).astype(np.float32)
        bottom = MARGIN * min(0.0, float((low / self.gain).min()))
        top = MARGIN * max(1e-6, float((high / self.gain).max()))
        self.step = np.float32((top - bottom) / 255)
        self.zero = np.uint8(round(-bottom / float(self.step)))


class Int8Graph:
    """A graph on its way from float32 to int8."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._nodes = list(model.graph.node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._users.setdefault(name, []).append(node)

    def products(self) -> set[str]:
        """Return the names of what enters products with a matrix of weights of their own."""
        return {node.input[0] for node in self._nodes if self._is_product(node)}

    def rewrite(self, scalings: dict[str, Scaling]) -> None:
        """Replace products and large tables by their int8 forms."""
        written: list[onnx.NodeProto] = []
        ready: set[str] = set()
        absorbed: set[str] = set()
        for node in self._nodes:
            if self._is_product(node):
                name, scaling = node.input[0], scalings[node.input[0]]
                if name not in ready:
                    ready.add(name)
                    written += self._to_bytes(name, scaling)
                bias = self._bias_after(node)
                absorbed.update(bias.output if bias else ())
                written.append(self._product(node, scaling, bias))
            elif self._is_large_table(node):
                written += self._look_up(node)
            elif node.output[0] not in absorbed:
                written.append(node)
        self._finish(written)

    def _is_product(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "MatMul":
            return False
        weight = self._constants.get(node.input[1])
        # A matrix shared by layers cannot be turned up for each of them.
        return weight is not None and len(weight.dims) == 2 and len(self._users[weight.name]) == 1

    def _is_large_table(self, node: onnx.NodeProto) -> bool:
        table = self._constants.get(node.input[0]) if node.op_type == "Gather" else None
        along = sum(attribute.i for attribute in node.attribute if attribute.name == "axis")
        return (
            table is not None
            and along == 0
            and len(table.dims) == 2
            and (table.dims[0] > LARGE_TABLE and len(self._users[table.name]) == 1)
        )

    def _constant(self, name: str, values: NDArray[np.generic] | np.generic) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def _values(self, name: str) -> Floats:
        return numpy_helper.to_array(self._constants[name]).astype(np.float32)

    def _to_bytes(self, name: str, scaling: Scaling) -> list[onnx.NodeProto]:
        quieter = self._constant(f"{name}_quieter", 1 / scaling.gain)
        step = self._constant(f"{name}_step", scaling.step)
        zero = self._constant(f"{name}_zero", scaling.zero)
        balanced = f"{name}_balanced"
        return [
            helper.make_node("Mul", [name, quieter], [balanced]),
            helper.make_node("QuantizeLinear", [balanced, step, zero], [f"{name}_bytes"]),
        ]

    def _bias_after(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """Return the addition of a constant vector that is all that a product is used for."""
        users = self._users.get(node.output[0], [])
        if len(users) != 1 or users[0].op_type != "Add":
            return None
        bias = self._constants.get(other_input(users[0], node.output[0]))
        return users[0] if bias is not None and len(bias.dims) == 1 else None

    def _product(
        self, node: onnx.NodeProto, scaling: Scaling, bias: onnx.NodeProto | None
    ) -> onnx.NodeProto:
        name, weight = node.input[0], node.input[1]
        matrix = self._values(weight) * scaling.gain[:, None]
        steps = np.maximum(np.abs(matrix).max(axis=0), 1e-9) / weight_levels()
        inputs = [
            f"{name}_bytes",
            self._constant(f"{weight}_bytes", np.round(matrix / steps).astype(np.int8)),
            f"{name}_step",
            self._constant(f"{weight}_steps", steps.astype(np.float32)),
            f"{name}_zero",
            "",
            other_input(bias, node.output[0]) if bias else "",
        ]
        outputs = bias.output if bias else node.output
        return helper.make_node("MatMulIntegerToFloat", inputs, outputs, domain="com.microsoft")

    def _look_up(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return the reading of a table whose rows are bytes, each row with its own step."""
        table, rows, output = node.input[0], node.input[1], node.output[0]
        values = self._values(table)
        steps = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-9) / 127
        stored = self._constant(f"{table}_bytes", np.round(values / steps).astype(np.int8))
        step = self._constant(f"{table}_steps", steps.astype(np.float32))
        return [
            helper.make_node("Gather", [stored, rows], [f"{output}_bytes"]),
            helper.make_node("Gather", [step, rows], [f"{output}_steps"]),
            helper.make_node("Cast", [f"{output}_bytes"], [f"{output}_whole"], to=1),
            helper.make_node("Mul", [f"{output}_whole", f"{output}_steps"], [output]),
        ]

    def _finish(self, written: list[onnx.NodeProto]) -> None:
        graph = self._model.graph
        used = {name for node in written for name in node.input}
        constants = [tensor for name, tensor in self._constants.items() if name in used]
        kept = [constant.SerializeToString() for constant in constants]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(written)
        graph.initializer.extend(onnx.TensorProto.FromString(constant) for constant in kept)
        if all(domain.domain != "com.microsoft" for domain in self._model.opset_import):
            self._model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def other_input(addition: onnx.NodeProto, known: str) -> str:
    """Return what an addition adds to `known`."""
    first, second = addition.input
    return str(second if first == known else first)


def weight_levels() -> int:
    """Return how many levels a weight has on either side of zero.

    Before VNNI, x86 adds pairs of products in 16 bits: with 127 levels the sum may overflow, with
    63 it cannot.
    """
    listing = Path("/proc/cpuinfo")
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    features = listing.read_text() if is_x86 and listing.is_file() else "vnni"
    return 127 if "vnni" in features else 63


def channel_ranges(
    model: onnx.ModelProto, names: list[str], samples: Sequence[TokenBatch]
) -> dict[str, tuple[Floats, Floats]]:
    """Return the least and the largest number in each channel of the named tensors."""
    own = len(model.graph.output)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    watched = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    del model.graph.output[own:]
    lows: dict[str, list[Floats]] = {name: [] for name in names}
    highs: dict[str, list[Floats]] = {name: [] for name in names}
    for batch in samples:
        outputs = watched.run(names, {"input_ids": batch.ids, "attention_mask": batch.mask})
        for name, values in zip(names, outputs, strict=True):
            # Padding's numbers are masked out later in the graph, so they may saturate.
            by_token = values.shape[:2] == batch.mask.shape
            rows = values[batch.mask > 0] if by_token else values.reshape(-1, values.shape[-1])
            lows[name].append(rows.min(axis=0))
            highs[name].append(rows.max(axis=0))
    return {name: (np.min(lows[name], axis=0), np.max(highs[name], axis=0)) for name in names}
