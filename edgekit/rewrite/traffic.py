"""What a model cannot do without, whoever runs it: arithmetic that it has to do, bytes that it has to move.

Two kinds of figures. `flops` are those of the formulas, two for each multiply-add: what people compare. All else is a
lower bound, so that a time below what it takes is an error of the measurement. Therefore these are left out:

1. Of a convolution all but one product for each output element and pair of channels: Winograd's and FFT algorithms need
   fewer than the formula, and none needs less than that (S. Winograd, "Arithmetic Complexity of Computations", 1980).
   Fast products of matrices, such as Strassen's, no library for inference has.
2. Products of two computed matrices, as in attention, of which a kernel skips what a mask hides; recurrences with
   lengths, whose rows may end early; all that stands inside of If, Loop and Scan, and what no output needs.
3. What follows from constants alone: a builder folds it. Of weights the fewest bytes count that hold them on the way
   from the file to the product: INT8, INT4 and FP16 as they are stored, a part that a Slice leaves, tied weights once.
4. Biases and the vectors of normalisations, which fold into one another; of an embedding all but one row, since equal
   indices read the same; intermediate values, which may stay in a cache.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from edgekit.plugins.operators import OPERATORS
from edgekit.rewrite.element_types import PRECISIONS
from edgekit.rewrite.inline_functions import inline_functions
from edgekit.rewrite.multiply_adds import Work, work_of
from edgekit.rewrite.names import ONNX_DOMAINS
from edgekit.rewrite.operator_shapes import is_ours
from edgekit.rewrite.recurrent_node import KINDS, inputs_of
from edgekit.rewrite.shapes_at import Known, shapes_at
from edgekit.rewrite.sort_nodes import names_used

_T = onnx.TensorProto
_HALF_BYTES = (_T.INT4, _T.UINT4, _T.FLOAT4E2M1)
_CONVOLUTIONS = ("Conv", "ConvTranspose")
# Where the matrices stand among the inputs of a node that multiplies.
_MATRICES = {"MatMul": (0, 1), "Gemm": (0, 1), **dict.fromkeys(_CONVOLUTIONS, (1,)), **dict.fromkeys(KINDS, (1, 2))}
# Between an input and a product these lose no element: they change its type, value or place.
_KEEPING = {"Cast", "QuantizeLinear", "DequantizeLinear", "Add", "Sub", "Mul", "Div", "Transpose", "Reshape"}
_KEEPING |= {"Flatten", "Squeeze", "Unsqueeze", "Identity"}


@dataclass(frozen=True)
class ModelWork:
    """`flops` by the precision of the operands, "unknown" where that is not known; the rest are lower bounds.

    `weight_bytes`, `input_bytes` and `output_bytes` count once what is read whole or written. `fastest` is the
    precision of the fastest products that the model allows: fp16 (FP32 and BF16 are no faster), int8 (FP8 is as fast)
    or fp4.
    `unsized` names the nodes of which nothing is counted, for their size is not known.
    """

    flops: dict[str, int]
    least_flops: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    fastest: str
    unsized: tuple[str, ...]

    @property
    def total_flops(self) -> int:
        """Of all precisions."""
        return sum(self.flops.values())

    @property
    def bytes(self) -> int:
        """All that moves at least."""
        return self.weight_bytes + self.input_bytes + self.output_bytes


def model_work(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> ModelWork:
    """What `model` has to do for one request with inputs of these `sizes`; `model` stays as it is.

    Raises ModelError where its shapes cannot be inferred.
    """
    model = inline_functions(model).model
    known = shapes_at(model, sizes)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    varying = _varying(model.graph)
    nodes = [node for node in _needed(model.graph) if varying.intersection(names_used(node))]
    work = [(node, item) for node in nodes if (item := work_of(node, known, makers)) is not None]
    flops: collections.Counter[str] = collections.Counter()
    for _, item in work:
        flops[PRECISIONS.get(item.dtype, "unknown")] += 2 * (item.macs or 0)
    return ModelWork(
        flops={name: count for name, count in flops.most_common() if count},
        least_flops=2 * sum(_least_macs(node, item, known, varying) for node, item in work),
        weight_bytes=_weight_bytes(nodes, known, makers, varying),
        input_bytes=_input_bytes(model.graph, nodes, known),
        output_bytes=_output_bytes(model.graph, known, makers),
        fastest=_fastest(model.graph, known),
        unsized=tuple(item.node for _, item in work if item.macs is None),
    )


def _varying(graph: onnx.GraphProto) -> set[str]:
    """The values that depend on an input."""
    stored = {tensor.name for tensor in graph.initializer}
    varying = {value.name for value in graph.input} - stored
    for node in graph.node:
        if varying.intersection(names_used(node)):
            varying.update(name for name in node.output if name)
    return varying


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that an output depends on, in their order."""
    wanted, found = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(names_used(node))
            found.append(node)
    return found[::-1]


def _least_macs(node: onnx.NodeProto, item: Work, known: Mapping[str, Known], varying: set[str]) -> int:
    """The multiply-adds that no algorithm saves: see the module."""
    if item.macs is None:
        return 0
    if node.op_type in _CONVOLUTIONS:
        return item.macs // max(1, math.prod((known[node.input[1]].shape or ())[2:]))
    if node.op_type in ("MatMul", "Gemm"):
        return 0 if varying.issuperset(node.input[:2]) else item.macs
    return item.macs if node.op_type in KINDS and "sequence_lens" not in inputs_of(node) else 0


def _weight_bytes(
    nodes: Iterable[onnx.NodeProto], known: Mapping[str, Known], makers: Mapping[str, onnx.NodeProto], varying: set[str]
) -> int:
    """The matrices first: an embedding may be one of them too."""
    weights, embeddings = _Weights(known, makers, varying), []
    total = 0
    for node in nodes:
        total += sum(weights.bytes(name) for name in _matrices(node))
        if node.op_type == "Gather" and node.domain in ONNX_DOMAINS:
            embeddings.append(node)
    for node in embeddings:
        rows = math.prod(_shape(known, node.input[1]) or (0,))
        row = _bytes(known.get(node.output[0])) // rows if rows else 0
        total += min(weights.bytes(node.input[0]), row)
    return total


def _matrices(node: onnx.NodeProto) -> list[str]:
    if is_ours(node):
        return [name for name, value in zip(node.input, OPERATORS[node.op_type].inputs, strict=False) if value == "r"]
    places = _MATRICES.get(node.op_type, ()) if node.domain in ONNX_DOMAINS else ()
    return [node.input[at] for at in places if at < len(node.input)]


class _Weights:
    """The fewest bytes that hold constants on their way from the file: a flow through values of limited size.

    Every value passes on at most its own bytes, and once: so the sum over any number of calls is a flow, which is no
    larger than any cut, and wherever a builder stops folding, what it keeps is one (maximum flow, minimum cut).
    """

    def __init__(self, known: Mapping[str, Known], makers: Mapping[str, onnx.NodeProto], varying: set[str]) -> None:
        self._known, self._makers = known, makers
        self._closed = set(varying)

    def bytes(self, name: str) -> int:
        """Of the constant `name` and what it is made of, as far as none of that has counted already."""
        if not name or name in self._closed:
            return 0
        self._closed.add(name)
        maker = self._makers.get(name)
        own = _bytes(self._known.get(name))
        if maker is None or maker.op_type == "Constant":
            return own
        made_of = sum(self.bytes(value) for value in names_used(maker))
        return min(made_of, own) if _shape(self._known, name) is not None else made_of


def _input_bytes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto], known: Mapping[str, Known]) -> int:
    """Of the inputs that reach a product whole."""
    readers: dict[str, list[onnx.NodeProto]] = collections.defaultdict(list)
    for node in nodes:
        for name in dict.fromkeys(node.input):
            readers[name].append(node)
    stored = {tensor.name for tensor in graph.initializer}
    names = (value.name for value in graph.input if value.name not in stored)
    return sum(_bytes(known.get(name)) for name in names if _is_multiplied(name, readers, known))


def _is_multiplied(name: str, readers: Mapping[str, list[onnx.NodeProto]], known: Mapping[str, Known]) -> bool:
    """Whether all elements of `name` go into a product, or choose rows; no builder moves a Slice across these."""
    open_names, seen = [name], {name}
    while open_names:
        value = open_names.pop()
        for node in readers.get(value, ()):
            if _reads_whole(node, value, known):
                return True
            made = node.output[0] if node.op_type in _KEEPING else ""
            if made and made not in seen:
                seen.add(made)
                open_names.append(made)
    return False


def _reads_whole(node: onnx.NodeProto, name: str, known: Mapping[str, Known]) -> bool:
    if node.domain not in ONNX_DOMAINS:
        return False
    if node.op_type == "Conv":
        strides = next((tuple(item.ints) for item in node.attribute if item.name == "strides"), ())
        dilations = next((tuple(item.ints) for item in node.attribute if item.name == "dilations"), ())
        kernel = (_shape(known, node.input[1]) or ())[2:]
        skips = [stride > size for stride, size in zip(strides, kernel, strict=False)]
        return not any(skips) and (set(dilations) <= {1} or set(strides) <= {1})
    if node.op_type == "Gather":
        return len(node.input) > 1 and node.input[1] == name
    return node.op_type in ("MatMul", "Gemm") or (node.op_type in KINDS and "sequence_lens" not in inputs_of(node))


def _output_bytes(graph: onnx.GraphProto, known: Mapping[str, Known], makers: Mapping[str, onnx.NodeProto]) -> int:
    """Of all but the caches of edgekit's attention, which grow in place."""
    names = [value.name for value in graph.output if value.name not in makers or not is_ours(makers[value.name])]
    return sum(_bytes(known.get(name)) for name in names)


def _fastest(graph: onnx.GraphProto, known: Mapping[str, Known]) -> str:
    """By the narrowest type that anything is quantized to; INT4 weights are multiplied as the wider operand."""
    narrow = {
        known[node.input[0]].dtype
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in known
    }
    if _T.FLOAT4E2M1 in narrow or 0 in narrow:
        return "fp4"
    return "int8" if narrow - {_T.INT4, _T.UINT4} else "fp16"


def _shape(known: Mapping[str, Known], name: str) -> tuple[int, ...] | None:
    return known[name].shape if name in known else None


def _bytes(value: Known | None) -> int:
    """As packed as ONNX stores it; 0 where the type or a size is not known, and for texts."""
    if value is None or value.shape is None or value.dtype in (_T.UNDEFINED, _T.STRING):
        return 0
    count = math.prod(value.shape)
    if value.dtype in _HALF_BYTES:
        return (count + 1) // 2
    return int(count * onnx.helper.tensor_dtype_to_np_dtype(value.dtype).itemsize)
