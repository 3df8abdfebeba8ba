"""What `inspect` finds as a page."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgekit.inspect.built import Built, BuiltLayer
from edgekit.inspect.text import attention_text, percent, shortened
from edgekit.pages import (
    Bar,
    Cell,
    Html,
    Value,
    bars,
    columns,
    facts,
    notes,
    number,
    page,
    section,
    size,
    stacked_bar,
    swatch,
    table,
    tiles,
)

# The place of a precision in this list is its colour on every page.
PRECISIONS = ("fp16", "fp32", "int8", "bf16", "fp8", "int4", "fp4")
_MOVES = "no arithmetic"
_MOST_BARS = 15
_ON_TILES = ("bytes", "layer_count", "multiply_adds", "weights_bytes", "attention", "warnings", "nodes_of_unknown_size")
_LAYER_HEADS = ("#", "layer", "kind", "computes", "reads", "writes", "weights", "multiply-adds", "share", "ONNX nodes")


def facts_page(title: str, subtitle: str, found: Mapping[str, Any]) -> str:
    """The page of an ONNX file, a bundle or a report: its facts."""
    return page(title, [section("Facts", facts(_readable(found)))], subtitle)


def engine_page(title: str, subtitle: str, found: Mapping[str, Any], built: Built) -> str:
    """The page of an engine: what it is, the precisions it computes in, what its layers cost, where they come from."""
    named = {key: value for key, value in found.items() if key not in _ON_TILES}
    sections = [
        section("At a glance", tiles(_headline(found, built)), *_remarks(found, built)),
        *_precisions(built),
        *_layers(built),
        section("Facts", facts(_readable(named))),
    ]
    return page(title, sections, subtitle)


def _headline(found: Mapping[str, Any], built: Built) -> dict[str, Value]:
    told: dict[str, Value] = {
        "size": size(found["bytes"]) if "bytes" in found else None,
        "weights": size(found["weights_bytes"]) if "weights_bytes" in found else None,
        "layers": len(built.layers),
        "multiply-adds": _scaled(built.total_macs) if built.total_macs is not None else None,
    }
    if built.attention is not None:
        told["attention"] = attention_text(built)
    return told


def _remarks(found: Mapping[str, Any], built: Built) -> list[Html]:
    """Warnings, and what the numbers on this page do not cover."""
    open_points = []
    if built.unsized:
        open_points.append(f"Not counted, for their size is not known: {', '.join(built.unsized)}")
    if not any(layer.macs is not None for layer in built.layers):
        open_points.append("This report does not say what layers cost; build the engine anew to know")
    if built.attention is not None and built.attention[0] < built.attention[1]:
        fused, blocks = built.attention
        open_points.append(f"{blocks - fused} of {blocks} attention blocks do not run as one fused kernel")
    nameless = [layer for layer in built.layers if layer.macs == 0 and layer.weight_bytes and not layer.nodes]
    if nameless:
        open_points.append(
            f"{len(nameless)} layers with weights name no ONNX node, as within a loop: "
            "their multiply-adds stand with another layer of the same node, or are not counted"
        )
    read, held = sum(layer.weight_bytes or 0 for layer in built.layers), found.get("weights_bytes")
    if held and read > 1.05 * held:
        open_points.append(
            f"The layers read {size(read)} of weights where the engine holds {size(held)}: some share them"
        )
    return [notes(built.warnings, "warn"), notes(open_points, "unknown")]


def _precisions(built: Built) -> list[Html]:
    """Shares of the work, of the weights and of the layers by the precision that computes."""
    work = built.shares or _summed(built, "macs")
    weights = _summed(built, "weight_bytes")
    drawn = [
        stacked_bar("Multiply-adds by the precision that they are computed in", _ordered(work), PRECISIONS),
        stacked_bar(
            "Weights by the precision of the layers that read them",
            _ordered(weights),
            PRECISIONS,
            {name: f"{size(int(count))} ({percent(count / sum(weights.values()))})" for name, count in weights.items()},
        ),
    ]
    return [section("Precision", *drawn)] if any(drawn) else []


def _layers(built: Built) -> list[Html]:
    if not built.layers:
        return []
    work = [Bar(_short(layer), layer.macs or 0, _percent(built, layer), _group(layer)) for layer in built.layers]
    held = [
        Bar(_short(layer), layer.weight_bytes or 0, size(layer.weight_bytes), _group(layer)) for layer in built.layers
    ]
    by_work = any(bar.value for bar in work)
    costly = [(work if by_work else held)[index] for index in built.costliest(_MOST_BARS)]
    costly = [bar for bar in costly if bar.value]
    parts = []
    if by_work or any(bar.value for bar in held):
        title = "Layers from the first (left) to the last (right)"
        parts.append(columns(title, ("multiply-adds", work), ("weights", held), PRECISIONS))
        what = "multiply-adds" if by_work else "weights"
        parts.append(bars(f"The {len(costly)} layers with the most {what}", costly, PRECISIONS))
    return [
        section("Cost of the layers", *parts) if parts else Html(""),
        section("Layers by kind", _kinds(built)),
        section("All layers, in the order of execution", _table(built)),
    ]


def _kinds(built: Built) -> Html:
    groups: dict[tuple[str, str | None], list[BuiltLayer]] = collections.defaultdict(list)
    for layer in built.layers:
        groups[layer.kind, layer.computes].append(layer)
    rows: list[list[Cell | Value]] = [
        [
            kind,
            _precision(computes),
            len(group),
            _bytes(_sum(layer.weight_bytes for layer in group)),
            _macs(_sum(layer.macs for layer in group)),
        ]
        for (kind, computes), group in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    heads, rows = _known(("kind", "computes", "layers", "weights", "multiply-adds"), rows)
    return table("Kinds of layers, as TensorRT names them", heads, rows)


def _table(built: Built) -> Html:
    rows = [_layer_cells(index, layer, built.share(layer)) for index, layer in enumerate(built.layers)]
    heads, rows = _known(_LAYER_HEADS, rows)
    return table("The layers of the engine after fusion", heads, rows, wide=("layer", "ONNX nodes"), header=1)


def _known(heads: Sequence[str], rows: list[list[Cell | Value]]) -> tuple[list[str], list[list[Cell | Value]]]:
    """A table without the columns of which no row knows anything, such as the costs in an older report."""
    kept = [column for column in range(len(heads)) if any(row[column] not in (None, "") for row in rows)]
    return [heads[column] for column in kept], [[row[column] for column in kept] for row in rows]


def _layer_cells(index: int, layer: BuiltLayer, share: float | None) -> list[Cell | Value]:
    return [
        index,
        Cell(layer.name, title=layer.tactic and f"tactic {layer.tactic}"),
        layer.kind,
        _precision(layer.computes),
        " ".join(layer.inputs),
        " ".join(layer.outputs) or layer.dtype,
        _bytes(layer.weight_bytes),
        _macs(layer.macs),
        None if share is None else Cell(percent(share) if share else "–", sort=share),
        ", ".join(layer.nodes) or "–",
    ]


def _summed(built: Built, cost: str) -> dict[str, float]:
    """A cost of the layers summed up by the precision that computes."""
    sums: dict[str, float] = collections.defaultdict(float)
    for layer in built.layers:
        sums[_group(layer)] += getattr(layer, cost) or 0
    return {name: value for name, value in sums.items() if value}


def _ordered(shares: Mapping[str, float]) -> dict[str, float]:
    """The largest first; what computes nothing last."""
    return dict(sorted(shares.items(), key=lambda item: (item[0] == _MOVES, -item[1])))


def _group(layer: BuiltLayer) -> str:
    """The precision that a layer is counted under; a report that does not say it has the type of the output."""
    return (layer.dtype if layer.computes is None else layer.computes) or _MOVES


def _short(layer: BuiltLayer) -> str:
    return shortened(layer.name, 60)


def _percent(built: Built, layer: BuiltLayer) -> str:
    share = built.share(layer)
    return "not known" if share is None else percent(share)


def _precision(computes: str | None) -> Value:
    return swatch(computes, PRECISIONS) if computes else None if computes is None else "–"


def _sum(counts: Iterable[int | None]) -> int | None:
    """None where none of the counts is known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _bytes(count: int | None) -> Cell | None:
    return None if count is None else Cell(size(count) if count else "–", sort=count)


def _macs(count: int | None) -> Cell | None:
    return None if count is None else Cell(number(count) if count else "–", sort=count)


def _scaled(count: int) -> str:
    for unit, name in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(count)


def _readable(found: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with spaces for underscores, and sizes in units of bytes."""
    made = {}
    for key, value in found.items():
        told = _readable(value) if isinstance(value, dict) and key == "memory" else value
        is_size = type(value) is int and (key == "bytes" or key.endswith("_bytes"))
        made[key.replace("_", " ")] = f"{size(value)} ({value:,})" if is_size else told
    return made
