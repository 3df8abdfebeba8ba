"""The little of SVG and of axes that a chart needs; nothing here knows what is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

# A value -> its pixel along one axis.
Place = Callable[[float], float]

# What XML 1.0 cannot hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """About `most` round numbers that enclose low..high, 1, 2 or 5 times a power of ten apart."""
    span = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    # Rounding may leave the power one too small, never the ten-fold.
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * most >= span)
    first, end = math.floor(low / step), math.ceil(high / step)
    return [index * step for index in range(first, max(end, first + 1) + 1)]


def linear(low: float, high: float, start: float, end: float) -> Place:
    """The map of low..high to the pixels start..end."""
    return lambda value: start + (value - low) / (high - low) * (end - start)


def add(parent: ElementTree.Element, tag: str, words: str = "", **attributes: str | float) -> ElementTree.Element:
    """A new element in `parent`; `text_anchor` becomes `text-anchor`, numbers get two digits after the point."""
    named = {
        name.replace("_", "-"): value if isinstance(value, str) else number(value) for name, value in attributes.items()
    }
    element = ElementTree.SubElement(parent, tag, named)
    element.text = _NOT_XML.sub("\ufffd", words) or None
    return element


def tooltip(element: ElementTree.Element, words: str) -> None:
    """The words that a viewer shows when the pointer is over the element."""
    add(element, "title", words)


def shortened(name: str, most: int) -> str:
    """The name, or its two ends with an ellipsis between, `most` characters together."""
    if len(name) <= most:
        return name
    tail = most // 2
    return f"{name[: most - 1 - tail]}\u2026{name[-tail:]}"


def number(value: float) -> str:
    """At most two digits after the point: a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
