"""The report of a build as `inspect` reads it: of any edgekit, so what is missing or odd is not known (None)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMORY = ("weights_bytes", "activation_bytes", "host_bytes", "device_bytes")
# What reports of the first edgekit call the types, as TensorRT does.
_OLD_TYPES = {"float": "fp32", "half": "fp16", "bfloat16": "bf16"}
_TEXTS = ("version", "target", "flavour", "source", "sha256")


@dataclass(frozen=True)
class BuiltLayer:
    """One layer after fusion. `computes` is None in reports that do not say, and empty where nothing is computed.

    `dtype` is that of its first output; `macs` are multiply-adds at the opt shapes, `inputs` such as `fp16[-1,64]`.
    """

    name: str
    kind: str
    dtype: str
    computes: str | None
    tactic: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int | None
    macs: int | None


@dataclass(frozen=True)
class Built:
    """A report of a build: `facts` as they stand in it, `layers` in the order of execution.

    `shares` are fractions of the multiply-adds by precision; `attention` is (fused, blocks); `memory` is in bytes.
    """

    facts: dict[str, Any]
    layers: tuple[BuiltLayer, ...]
    total_macs: int | None
    shares: dict[str, float]
    unsized: tuple[str, ...]
    attention: tuple[int, int] | None
    memory: dict[str, int]
    warnings: tuple[str, ...]

    def share(self, layer: BuiltLayer) -> float | None:
        """Which fraction of all multiply-adds a layer does; None where they are not known."""
        total = self.total_macs or sum(item.macs or 0 for item in self.layers)
        return None if layer.macs is None or not total else layer.macs / total

    def costliest(self, most: int) -> tuple[int, ...]:
        """The indices of the layers with the most multiply-adds, then the most weights, costliest first."""
        order = sorted(range(len(self.layers)), key=lambda index: (*map(_negative, self._costs(index)), index))
        return tuple(order[:most])

    def _costs(self, index: int) -> tuple[int | None, int | None]:
        return self.layers[index].macs, self.layers[index].weight_bytes


def _negative(cost: int | None) -> int:
    return -(cost or 0)


def read_built(table: Mapping[str, Any]) -> Built:
    """A report's JSON as `Built`; nothing in it makes this fail."""
    compute, attention, memory = (_table(table.get(key)) for key in ("compute", "attention", "memory"))
    fused, blocks = _count(attention.get("fused")), _count(attention.get("blocks"))
    facts: dict[str, Any] = {key: _text(table.get(key)) or None for key in _TEXTS}
    facts |= {key: _texts(table.get(key)) or None for key in ("compute_capabilities", "shapes")}
    facts["bytes"] = _count(table.get("bytes"))
    return Built(
        facts={key: value for key, value in facts.items() if value is not None},
        layers=tuple(_layer(item) for item in _list(table.get("layers")) if isinstance(item, dict)),
        total_macs=_count(compute.get("total_macs")),
        shares={str(key): value for key, value in _table(compute.get("shares")).items() if _is_fraction(value)},
        unsized=_texts(compute.get("unsized")),
        attention=None if fused is None or blocks is None else (fused, blocks),
        memory={key: count for key in MEMORY if (count := _count(memory.get(key))) is not None},
        warnings=_texts(table.get("warnings")),
    )


def _layer(item: Mapping[str, Any]) -> BuiltLayer:
    dtype = _text(item.get("dtype"))
    return BuiltLayer(
        name=_text(item.get("name")),
        kind=_text(item.get("kind")),
        dtype=_OLD_TYPES.get(dtype, dtype),
        computes=_text(item["computes"]) if isinstance(item.get("computes"), str) else None,
        tactic=_text(item.get("tactic")),
        nodes=_texts(item.get("nodes")),
        inputs=_texts(item.get("inputs")),
        outputs=_texts(item.get("outputs")),
        weight_bytes=_count(item.get("weight_bytes")),
        macs=_count(item.get("macs")),
    )


def _table(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in _list(value) if isinstance(item, str))


def _count(value: Any) -> int | None:
    """A whole number from 0 up to what 64 bits hold: more is no count of bytes or of operations."""
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _is_fraction(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1
