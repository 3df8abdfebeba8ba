"""Inputs and outputs that TensorRT can have; nothing is rewritten, since a caller knows them by name and type.

1. Each is a tensor of a type that TensorRT binds: bool, int8, uint8, int32, int64, float16, bfloat16 or float32, and
   the 8-bit and 4-bit floats and integers that only it computes with.
2. A double is refused: TensorRT 11 and RTX bind it as float32, so that a caller's bytes would be read as other numbers.
3. An input has no axis of size 0.
4. An output is neither an input nor another output: TensorRT renames the input, or drops the second output.

Found by building with TensorRT-RTX 1.7.1; the tests hold the rules to it.
"""

from __future__ import annotations

import onnx

from edgekit.errors import BuildError
from edgekit.rewrite import PassResult

_T = onnx.TensorProto
_BOUND = {_T.BOOL, _T.INT8, _T.UINT8, _T.INT32, _T.INT64, _T.FLOAT16, _T.BFLOAT16, _T.FLOAT}
_BOUND |= {_T.FLOAT8E4M3FN, _T.INT4, _T.FLOAT4E2M1}


def check_interface(model: onnx.ModelProto) -> PassResult:
    """Return the model as it is; BuildError names the first input or output that TensorRT cannot have."""
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    for what, values in (("input", inputs), ("output", graph.output)):
        for value in values:
            _check_type(what, value)
    for value in inputs:
        empty = [
            at
            for at, dim in enumerate(value.type.tensor_type.shape.dim)
            if dim.HasField("dim_value") and not dim.dim_value
        ]
        if empty:
            raise BuildError(
                f"expected sizes from 1 for TensorRT, found axis {empty[0]} of input {value.name!r} with size 0",
                "give the axis a name in the export, or leave the input out",
            )
    names = {value.name for value in inputs}
    for value in graph.output:
        if value.name in names:
            raise BuildError(
                f"expected an output of its own, found {value.name!r}, which is an input or an output already",
                "leave that output out: the caller has its values",
            )
        names.add(value.name)
    return PassResult(model, False)


def _check_type(what: str, value: onnx.ValueInfoProto) -> None:
    kind = value.type.WhichOneof("value") or "nothing"
    if kind != "tensor_type":
        raise BuildError(
            f"expected {what} {value.name!r} to be a tensor, found a {kind.removesuffix('_type').replace('_', ' ')}",
            "export with a tensor in its place",
        )
    found = value.type.tensor_type.elem_type
    if found not in _BOUND:
        name = _T.DataType.Name(found).lower() if found in _T.DataType.values() else str(found)
        remedy = (
            "export the network in float32 (torch: model.float())"
            if found == _T.DOUBLE
            else "cast it in the caller, and export with float32 or int64"
        )
        raise BuildError(f"expected {what} {value.name!r} in a type that TensorRT binds, found {name}", remedy)
