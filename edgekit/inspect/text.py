"""What `inspect` finds as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.inspect.built import Built, BuiltLayer
from edgekit.pages import size

MOST_LAYERS = 20
MOST_NAMES = 20
_NAME, _NODES = 34, 44  # characters of the two columns that can be long
_HEADS = ("#", "layer", "kind", "computes", "output", "weights", "multiply-adds", "share", "ONNX nodes")
_TO_THE_RIGHT = {"#", "weights", "multiply-adds", "share"}


def fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """One line a fact; a mapping and warnings have one line an entry, a long list is cut short."""
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"  {key}:", *(f"    {name}: {item}" for name, item in value.items())]
        elif key == "warnings":
            lines += [f"  {key}:", *(f"    {item}" for item in value)]
        else:
            lines.append(f"  {key}: {_joined(value) if isinstance(value, (list, tuple)) else value}")
    return [_printable(line) for line in lines]


def _joined(items: Sequence[Any]) -> str:
    more = f" and {len(items) - MOST_NAMES} more" if len(items) > MOST_NAMES else ""
    return ", ".join(map(str, items[:MOST_NAMES])) + more


def layer_lines(built: Built) -> list[str]:
    """The table of layers in the order of execution: at the most MOST_LAYERS, the costliest of them."""
    if not built.layers:
        return []
    chosen = sorted(built.costliest(MOST_LAYERS))
    rows = [_HEADS, *(_row(index, built.layers[index], built) for index in chosen)]
    # A report that does not say what layers cost has no columns for it.
    kept = [column for column in range(len(_HEADS)) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in kept}
    lines = ["", "  layers in the order of execution:"]
    for row in rows:
        cells = [_aligned(row[column], widths[column], _HEADS[column]) for column in kept]
        lines.append(("  " + "  ".join(cells)).rstrip())
    left = len(built.layers) - len(chosen)
    if left:
        lines.append(f"  and {left} more layers; all of them: --json, or --html FILE")
    return lines


def _row(index: int, layer: BuiltLayer, built: Built) -> tuple[str, ...]:
    share = built.share(layer)
    return (
        str(index),
        shortened(_printable(layer.name), _NAME),
        _printable(layer.kind),
        _printable(layer.computes or ""),
        _printable(layer.dtype),
        size(layer.weight_bytes) if layer.weight_bytes else "",
        f"{layer.macs:,}" if layer.macs else "",
        percent(share) if share else "",
        shortened(_printable(", ".join(layer.nodes)), _NODES),
    )


def attention_text(built: Built) -> str | None:
    """How much of the attention runs as TensorRT's fused kernels; None where it is not known."""
    if built.attention is None:
        return None
    fused, blocks = built.attention
    return f"{fused} of {blocks} blocks fused" if blocks else "none in this model"


def percent(share: float) -> str:
    """A fraction in percent; a small one is not nothing."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def shortened(text: str, most: int) -> str:
    """At most `most` characters: beginning and end are what tells names apart."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def _aligned(text: str, width: int, head: str) -> str:
    return text.rjust(width) if head in _TO_THE_RIGHT else text.ljust(width)


def _printable(text: str) -> str:
    """A name must not move the cursor or colour the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
