"""Types and shapes of what edgekit's operators make, and how much they compute: ONNX's inference does not know them.

Source: edgekit/plugins/operators.py. Shapes: T steps, N batch, D directions, H hidden, h heads, S keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edgekit.plugins.operators import DOMAIN, OPERATORS

_FLOAT, _HALF, _INT8 = map(int, (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8))
Shape = tuple[int, ...]
Sizes = dict[str, tuple[int, Shape]]


@dataclass(frozen=True)
class Made:
    """What a node makes: `outputs` has (ONNX's number of the type, shape) by name, `macs` its multiply-adds and `dtype`
    the type that they are computed in."""

    outputs: Mapping[str, tuple[int, Shape]]
    macs: int
    dtype: int


def is_ours(node: onnx.NodeProto) -> bool:
    """Whether it is one of edgekit's operators."""
    return node.domain == DOMAIN and node.op_type in OPERATORS


def made_by(node: onnx.NodeProto, types: Mapping[str, int], shapes: Mapping[str, Shape]) -> Made | None:
    """What one of edgekit's nodes makes; None where the shapes that decide it are not known."""
    operator = OPERATORS[node.op_type]
    named = dict(zip(operator.inputs, node.input, strict=False))
    found = {name: shapes[value] for name, value in named.items() if value in shapes}
    kinds = {name: types.get(value, 0) for name, value in named.items()}
    try:
        sizes, macs, dtype = (
            _attention(found, kinds) if node.op_type == "EdgekitAttention" else _recurrent(found, kinds)
        )
    except (KeyError, ValueError):
        return None
    outputs = {value: sizes[name] for name, value in zip(operator.outputs, node.output, strict=False) if value}
    return Made(outputs, macs, dtype)


def _recurrent(shapes: Mapping[str, Shape], kinds: Mapping[str, int]) -> tuple[Sizes, int, int]:
    steps, batch, directions, _ = shapes["xproj"]
    hidden = shapes["r"][2]
    state: Shape = (directions, batch, hidden)
    sizes: Sizes = {"y": (_FLOAT, (steps, *state)), **dict.fromkeys(("h_n", "c_n"), (_FLOAT, state))}
    # INT8 weights become FP16 where they are multiplied (plugins/README.md, "Numbers").
    dtype = _HALF if kinds["r"] == _INT8 else kinds["r"]
    return sizes, steps * batch * math.prod(shapes["r"]), dtype


def _attention(shapes: Mapping[str, Shape], kinds: Mapping[str, int]) -> tuple[Sizes, int, int]:
    batch, heads, rows, size = shapes["q"]
    _, kv_heads, keys, _ = shapes["k"]
    value_size = shapes["v"][3]
    has_cache = len(shapes["past_k"]) == 4
    past = shapes["past_k"][2] if has_cache else 0
    in_place = math.prod(shapes["past_length"]) > 0
    total = past if in_place else past + keys
    kind = kinds["q"]
    sizes: Sizes = {
        "o": (kind, (batch, heads, rows, value_size)),
        "present_k": (kind, (batch, kv_heads, total, size) if has_cache else (0,)),
        "present_v": (kind, (batch, kv_heads, total, value_size) if has_cache else (0,)),
    }
    return sizes, batch * heads * rows * total * (size + value_size), kind
