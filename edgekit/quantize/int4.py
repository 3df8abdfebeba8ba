"""INT4 weights for products, in blocks along the input axis; activations and arithmetic stay in floating point.

The form is the blocked DequantizeLinear of opset 21: onnxruntime runs it. TensorRT-RTX 1.7.1 builds it for SM 8.0 and
later, with FP32 and FP16 scales alike, fuses it into most products, and refuses INT4 for SM 7.5. TensorRT documents
blocks of 64 and 128 inputs ("Quantization Schemes"), so that a layer without such blocks stays as it is, although RTX
builds others too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.gptq import Blocks, gptq, round_blocks
from edgekit.quantize.placement import Layer
from edgekit.quantize.weights import add_dequantized, finite_values
from edgekit.rewrite import PassResult
from edgekit.rewrite.names import Names
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread

OPSET = 21
BLOCK_SIZES = (128, 64)


@dataclass(frozen=True)
class Int4Form:
    """`block_size` is the largest block that a scale may cover; `half` keeps scales on FP16's grid, for `to_fp16`."""

    block_size: int = BLOCK_SIZES[0]
    half: bool = False

    def block_of(self, inputs: int) -> int | None:
        """The largest legal block of which `inputs` is a multiple; None when there is none."""
        return next((size for size in BLOCK_SIZES if size <= self.block_size and inputs % size == 0), None)


def int4_layers(
    model: onnx.ModelProto, layers: list[Layer], form: Int4Form = Int4Form()
) -> tuple[list[Layer], list[str]]:
    """Return those of `layers` whose weights can be INT4 and, for each of the others, a line that says why not."""
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    fit, left = [], []
    for layer in layers:
        reason = _reason_to_leave(layer, list(dims[layer.weight]), form)
        if reason:
            left.append(f"{layer.op_type} {layer.node!r} stays in floating point: {reason}")
        else:
            fit.append(layer)
    return fit, left


def to_int4(
    model: onnx.ModelProto,
    layers: list[Layer],
    moments: Mapping[str, npt.NDArray[np.float64]] | None = None,
    form: Int4Form = Int4Form(),
) -> PassResult:
    """Store the weights of `layers`, from `int4_layers`, as INT4, in place; `model` is of opset 21 or above.

    1. A weight becomes an INT4 initializer with a scale a block and a DequantizeLinear; for another node that reads it
       too it stays.
    2. `moments` has E[xT x] of what each layer reads, by tensor, for GPTQ; layers that share a weight share its error.
       Without moments each value is rounded by itself, and the notes say so.

    Raises QuantizeError for a weight that is not finite.
    """
    names = Names(model)
    nodes = {node.name: node for node in model.graph.node}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[tuple[str, int], list[Layer]] = {}
    for layer in layers:
        readers.setdefault((layer.weight, layer.axis), []).append(layer)
    for (weight, axis), group in readers.items():
        read = None if moments is None else np.sum([moments[layer.activation] for layer in group], axis=0)
        values = finite_values(weights[weight])
        blocks = _blocks(values if axis == 1 else np.ascontiguousarray(values.T), read, form)
        dequantized = _add_weight(model.graph, f"{weight}_{axis}", blocks, axis, names)
        for layer in group:
            nodes[layer.node].input[1] = dequantized
    notes = ("INT4 weights were rounded each by itself; with --data GPTQ loses less",) if moments is None else ()
    ready = drop_unread(sort_nodes(model).model).model
    return PassResult(ready, bool(layers), notes if layers else ())


def _reason_to_leave(layer: Layer, dims: list[int], form: Int4Form) -> str:
    if layer.op_type not in ("MatMul", "Gemm"):
        return "INT4 is for products"
    if len(dims) != 2:
        return f"its weight has {len(dims)} axes, not 2"
    inputs = dims[1 - layer.axis]
    return "" if form.block_of(inputs) else f"its {inputs} inputs are not a multiple of {BLOCK_SIZES[-1]}"


def _blocks(weight: npt.NDArray[np.float32], moments: npt.NDArray[np.float64] | None, form: Int4Form) -> Blocks:
    """Round a weight [I,O]."""
    size = form.block_of(len(weight))
    assert size is not None, "int4_layers has looked"
    if moments is None:
        return round_blocks(weight, size, half=form.half)
    return gptq(weight, moments, size, half=form.half)


def _add_weight(graph: onnx.GraphProto, stem: str, blocks: Blocks, axis: int, names: Names) -> str:
    """Store levels and scales in the weight's own layout, inputs along the axis that is not `axis`."""
    levels, scale = (blocks.levels, blocks.scale) if axis == 1 else (blocks.levels.T, blocks.scale.T)
    narrow = levels.astype(onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.INT4))
    attributes = {"axis": 1 - axis, "block_size": blocks.size}
    return add_dequantized(graph, stem, (narrow, scale), names, attributes)
