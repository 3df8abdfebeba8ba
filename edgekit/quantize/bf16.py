"""FP32 -> BF16: weights and arithmetic with FP32's range and 8 bits of precision, inputs and outputs unchanged.

onnxruntime's CPU cannot run the result: `edgekit.rewrite.emulated` makes what can be judged. TensorRT-RTX 1.7.1 builds
BF16 for SM 8.0 and later and refuses it for SM 7.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from edgekit.quantize.halves import float_shapes
from edgekit.quantize.precision import RECURRENT, converted, name_constant_outputs, name_nodes
from edgekit.rewrite import PassResult
from edgekit.rewrite.constants import constants_to_initializers
from edgekit.rewrite.emulated import relabel, tensor_of
from edgekit.rewrite.opset import raise_opset

_FP32, _FP16, _BF16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
# Most operators have BF16 since opset 13, convolutions and pooling since 22 (onnx.defs, type constraints).
_OPSETS = (13, 22)
# TensorRT-RTX 1.7.1 builds these in FP32 and refuses them in BF16; found by building a case of each ONNX operator.
_REFUSED = ("ConvTranspose", "HardSwish", "LpNormalization", "LpPool", "Mish")


def to_bf16(model: onnx.ModelProto, keep_ops: tuple[str, ...] = ()) -> PassResult:
    """Return a model that computes in BF16 where ONNX has it; `keep_ops` and recurrent operators stay in FP32.

    1. The opset is raised where more of the model's operators have BF16 then. One that has none, or that TensorRT
       refuses in BF16, stays in FP32, with casts around it, and the notes name it.
    2. Everything else, weights included, becomes BF16. The model's inputs and outputs keep their dtypes.

    Raises QuantizeError when the opset cannot be raised or the converter fails. `model` itself is consumed.
    """
    if any(tensor.data_type in (_FP16, _BF16) for tensor in model.graph.initializer):
        return PassResult(model, False, ("the model already holds weights of 16 bits and was left as it is",))
    model = constants_to_initializers(model).model
    kept = {*RECURRENT, *_REFUSED, *keep_ops}
    model = raise_opset(model, min(_OPSETS, key=lambda opset: len(_without_bf16(model, opset, kept)))).model
    name_nodes(model)
    name_constant_outputs(model)
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    without = _without_bf16(model, 0, kept)
    half = converted(model, kept, [node.name for node in without])
    for tensor in half.graph.initializer:
        if tensor.data_type == _FP16:  # anew from FP32, since FP16 has cut off what is too large or too small for it
            tensor.CopyFrom(tensor_of(weights[tensor.name], tensor.name, _BF16))
    relabel(half.graph, _FP16, _BF16)
    present = {node.op_type for node in half.graph.node}
    notes = [f"{op_type} stays in FP32: TensorRT has no BF16 for it" for op_type in _REFUSED if op_type in present]
    missing = sorted({node.op_type for node in without})
    notes += [f"{op_type} stays in FP32: ONNX has no BF16 for it" for op_type in missing]
    return PassResult(half, True, tuple(notes))


def _without_bf16(model: onnx.ModelProto, opset: int, kept: set[str]) -> list[onnx.NodeProto]:
    """The nodes, but for types that are kept, whose operator has no BF16 for their FP32 tensors.

    At `opset`, or the model's own if that is later.
    """
    floats = {*float_shapes(model), *(item.name for item in model.graph.initializer if item.data_type == _FP32)}
    current = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), opset)
    return [
        node
        for node in model.graph.node
        if node.op_type not in kept and not _has_bf16(node, floats, max(opset, current))
    ]


def _has_bf16(node: onnx.NodeProto, floats: set[str], opset: int) -> bool:
    if floats.isdisjoint((*node.input, *node.output)):
        return True
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "" if node.domain == "ai.onnx" else node.domain)
    except onnx.defs.SchemaError:
        return False
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    pairs = [*_with_formal(node.input, schema.inputs), *_with_formal(node.output, schema.outputs)]
    # A parameter that is FP32 whatever the rest is, such as the scales of a Resize, has its dtype for a name.
    return all("tensor(bfloat16)" in allowed.get(kind, ["tensor(bfloat16)"]) for name, kind in pairs if name in floats)


def _with_formal(names: Sequence[str], formal: Sequence[Any]) -> list[tuple[str, str]]:
    """Names with the type variables of their formal parameters, of which the last one may stand for many."""
    return [(name, formal[min(index, len(formal) - 1)].type_str) for index, name in enumerate(names)]
