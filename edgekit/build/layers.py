"""The layers of an engine after fusion, from what TensorRT says of them: its log, or its engine inspector's JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

# TensorRT's names of types in a layer's description -> edgekit's.
_TYPES = {
    "Float": "fp32",
    "Half": "fp16",
    "BFloat16": "bf16",
    "Int8": "int8",
    "FP8": "fp8",
    "Int4": "int4",
    "FP4": "fp4",
    "Int32": "int32",
    "Int64": "int64",
    "UInt8": "uint8",
    "Bool": "bool",
}
_BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "fp8": 8, "int4": 4, "fp4": 4, "int32": 32, "int64": 64}
NUMBERS = ("fp32", "fp16", "bf16", "int8", "fp8", "int4", "fp4")
# Kinds that move numbers and compute nothing; "kgen" is generated code: elementwise work, and fused attention.
_MOVERS = (
    "copy",
    "memset",
    "shape_call",
    "signal",
    "wait",
    "cjmp",
    "constant",
    "reformat",
    "noop",
    "shapehosttodevice",
)

_TENSOR = re.compile(r"Dimensions: \[([^\]]*)\].*?Datatype: (\w+)")
_KIND = re.compile(r", LayerType: ([^,]*)")
_TACTIC = re.compile(r"TacticName: ([^,]*)")
_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_LIST = re.compile(r", (Inputs|Constants|Outputs): \[")


@dataclass(frozen=True)
class Layer:
    """One layer of the engine after fusion.

    `dtype` is that of its first output and `computes` that of the first number it reads, which is what its arithmetic
    takes in; both are empty where there is none. `inputs` and `outputs` read `fp16[-1,64]`, -1 for an open axis.
    `weight_bytes` counts its constants, `macs` the multiply-adds of its ONNX nodes at the first
    profile's opt shapes, without those of a recurrence: the layers of a loop do not name its node.
    """

    name: str
    kind: str
    dtype: str
    tactic: str
    nodes: tuple[str, ...]
    computes: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weight_bytes: int = 0
    macs: int = 0

    @property
    def moves_only(self) -> bool:
        """Whether its kind computes nothing."""
        return self.kind.lower() in _MOVERS

    @property
    def is_attention(self) -> bool:
        """Whether it is one of TensorRT's fused attention kernels, by its name: `_gemm_mha_v2`, `fmha`."""
        return "mha" in f"{self.name} {self.tactic}".lower()


@dataclass(frozen=True)
class Memory:
    """What TensorRT says that the engine needs, in bytes; None where it does not say."""

    weights_bytes: int | None = None
    activation_bytes: int | None = None
    host_bytes: int | None = None
    device_bytes: int | None = None


_MEMORY_LINES = {
    "Total Weights Memory": "weights_bytes",
    "Total Activation Memory": "activation_bytes",
    "Total Host Persistent Memory": "host_bytes",
    "Total Device Persistent Memory": "device_bytes",
}


def parse_memory(messages: list[str]) -> Memory:
    """Read lines such as `Total Weights Memory: 51014400 bytes`; of several the largest counts, one is a network."""
    found: dict[str, int] = {}
    for message in messages:
        what, _, rest = message.partition(": ")
        number = rest.partition(" ")[0]
        if what in _MEMORY_LINES and number.isdecimal():
            key = _MEMORY_LINES[what]
            found[key] = max(found.get(key, 0), int(number))
    return Memory(**found)


def parse_layers(text: str) -> tuple[Layer, ...]:
    """Read the message "Layers:" that a DETAILED build prints at VERBOSE level, one layer a line."""
    return tuple(_layer(line) for line in text.splitlines()[1:] if _KIND.search(line))


def _layer(line: str) -> Layer:
    described, _, about = line.partition("Metadata:")
    parts = _LIST.split(described)
    lists = {name: _TENSOR.findall(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    kind, tactic = _KIND.search(line), _TACTIC.search(described)
    # The inputs and outputs have names too: the layer's own comes first in the line.
    name = line.partition("Name: ")[2].partition(", LayerType: ")[0]
    told = {
        "name": name,
        "kind": kind[1] if kind else "",
        "tactic": tactic[1].strip() if tactic else "",
        "nodes": tuple(_ONNX_LAYER.findall(about)),
    }
    return _described(told, *(lists.get(key, []) for key in ("Inputs", "Constants", "Outputs")))


def inspected_layers(text: str) -> tuple[Layer, ...]:
    """Read IEngineInspector.get_engine_information(JSON) of an engine built with DETAILED verbosity.

    Source: TensorRT developer guide, "Engine Inspector": a list "Layers", each with Name, LayerType, Inputs, Outputs
    (Dimensions, Format/Datatype), TacticName and Metadata. Without DETAILED a layer is its name alone.
    """
    table = json.loads(text)
    layers = table.get("Layers", []) if isinstance(table, dict) else []
    return tuple(_from_inspector(entry) for entry in layers if isinstance(entry, dict))


def _from_inspector(entry: dict[str, Any]) -> Layer:
    def tensors(key: str) -> list[tuple[str, str]]:
        found = entry.get(key) or []
        return [
            (",".join(map(str, item.get("Dimensions", []))), _type_in(str(item.get("Format/Datatype", ""))))
            for item in found
            if isinstance(item, dict)
        ]

    told = {
        "name": str(entry.get("Name", "")),
        "kind": str(entry.get("LayerType", "")),
        "tactic": str(entry.get("TacticName", "")),
        "nodes": tuple(_ONNX_LAYER.findall(str(entry.get("Metadata", "")))),
    }
    return _described(told, tensors("Inputs"), tensors("Constants"), tensors("Outputs"))


def _type_in(described: str) -> str:
    """The type in a format such as `Channel major FP16 format where channel % 8 == 0` or `Half`."""
    words = {"FP32": "Float", "FP16": "Half", "BF16": "BFloat16", "INT8": "Int8", "INT32": "Int32", "INT64": "Int64"}
    known = {**words, **{name: name for name in _TYPES}}
    return next((known[word] for word in re.split(r"\W+", described) if word in known), described)


def _described(
    told: dict[str, Any],
    inputs: list[tuple[str, str]],
    constants: list[tuple[str, str]],
    outputs: list[tuple[str, str]],
) -> Layer:
    """A layer from (dimensions, TensorRT's type) of its tensors."""
    read = [_type(kind) for _, kind in (*inputs, *constants)]
    return Layer(
        **told,
        dtype=_type(outputs[0][1]) if outputs else "",
        computes=next((name for name in read if name in NUMBERS), ""),
        inputs=tuple(f"{_type(kind)}[{dims}]" for dims, kind in inputs),
        outputs=tuple(f"{_type(kind)}[{dims}]" for dims, kind in outputs),
        weight_bytes=sum(_bytes(dims, _type(kind)) for dims, kind in constants),
    )


def _type(name: str) -> str:
    return _TYPES.get(name, name.lower())


def _bytes(dims: str, dtype: str) -> int:
    sizes = [int(size) for size in dims.split(",") if size.strip().lstrip("-").isdecimal()]
    return math.prod(sizes) * _BITS.get(dtype, 8) // 8 if all(size >= 0 for size in sizes) else 0
