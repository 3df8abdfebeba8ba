"""Which layers cost most, as one picture: SVG without scripts, fonts or styles from elsewhere, for a page or a mail.

Left: a bar a layer, its share of the noise power when every layer is quantized, the costliest first. Right: the SQNR
when the costliest k layers stay in floating point, as predicted (powers of single layers add up) and, where it is
known, as measured.

The picture brings its own white background, so that it can be read in a dark viewer too. Widths of texts are not known
before they are drawn: names are shortened to what fits in the widest of the usual monospaced fonts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

from edgekit.errors import QuantizeError
from edgekit.quantize.drawing import Place, add, linear, number, round_ticks, shortened, tooltip
from edgekit.quantize.ranking import Ranking, decibels, predicted_db

_MOST_BARS = 40
_NAME_LENGTH = 34
# Pixels. The bars stand between their labels, which end at _BARS_LEFT, and their figures, 90 wide.
_ROW, _TOP, _BARS_LEFT, _BARS_WIDTH = 18, 104, 352, 190
_CURVE_LEFT, _CURVE_WIDTH, _CURVE_HEIGHT, _WIDTH = 700, 300, 300, 1100
_INK, _PALE, _GRID = "#1f2328", "#59636e", "#dde1e6"
_BLUE, _ORANGE, _GREEN, _RED = "#2f6db3", "#d9731a", "#1a7f4b", "#b3261e"
_SANS, _MONO = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", "'DejaVu Sans Mono', Menlo, Consolas, monospace"
# The curve is of use up to some gain; beyond, few layers are left and their noise goes to 0, the SQNR to infinity.
_GAIN_DB, _MOST_GAIN_DB, _FEW_LAYERS, _MOST_DOTS = 10.0, 40.0, 8, 40


def ranking_svg(ranking: Ranking) -> str:
    """The picture as an SVG document, to be written as UTF-8.

    Raises QuantizeError for no layer, and for powers or a target that are not finite.
    """
    _check(ranking)
    rows = min(len(ranking.layers), _MOST_BARS) + (len(ranking.layers) > _MOST_BARS)
    height = _TOP + max(rows * _ROW, _CURVE_HEIGHT) + 72
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {_WIDTH} {height}"})
    root.attrib |= {"width": str(_WIDTH), "height": str(height), "role": "img", "aria-label": _summary(ranking)}
    root.attrib |= {"font-family": _SANS, "font-size": "12", "fill": _INK}
    add(root, "rect", width=_WIDTH, height=height, fill="#fff")
    add(root, "text", f"Quantization noise of {_count(len(ranking.layers))}", x=20, y=30, font_size=17, font_weight=600)
    add(root, "text", _summary(ranking), x=20, y=52, fill=_PALE)
    _draw_bars(root, ranking)
    _draw_curve(root, ranking)
    return ElementTree.tostring(root, encoding="unicode")


def _check(ranking: Ranking) -> None:
    """Raise QuantizeError for what cannot be drawn."""
    if not ranking.layers:
        raise QuantizeError("expected the noise of one layer or more, found none")
    for noise in ranking.layers:
        if not 0 <= noise.power < math.inf:
            raise QuantizeError(f"expected a noise power of 0 or more, found {noise.power} for layer {noise.layer!r}")
    if not 0 < ranking.signal < math.inf:
        raise QuantizeError(f"expected a signal power above 0, found {ranking.signal}")
    if sum(noise.power for noise in ranking.layers) == math.inf:
        raise QuantizeError("expected a finite sum of noise powers, found one beyond float64")
    if ranking.target_db is not None and not math.isfinite(ranking.target_db):
        raise QuantizeError(f"expected a finite target in dB, found {ranking.target_db}")


def _summary(ranking: Ranking) -> str:
    """What one reads first: how many layers are kept and what that gives."""
    words = f"Every layer quantized: SQNR {_db(predicted_db(ranking)[0])} predicted."
    kept, value = _as_kept(ranking)
    if not kept:
        return words
    measured = [f", {_db(found)} measured" for count, found in ranking.measured if count == kept]
    return f"{words} {_count(kept)} kept in FP16 or FP32: {_db(value)} predicted{''.join(measured[:1])}."


def _as_kept(ranking: Ranking) -> tuple[int, float]:
    """How many layers are kept, and the SQNR in dB that the others' noise leaves."""
    rest = [noise.power for noise in ranking.layers if noise.layer not in ranking.kept]
    return len(ranking.layers) - len(rest), decibels(ranking.signal, math.fsum(rest))


def _draw_bars(root: ElementTree.Element, ranking: Ranking) -> None:
    """A row a layer: name, operator, bar, figure; then what the layers without a row cost together."""
    ordered = sorted(ranking.layers, key=lambda noise: -noise.power)
    shown, others = ordered[:_MOST_BARS], ordered[_MOST_BARS:]
    total = math.fsum(noise.power for noise in ordered)
    shares = [100 * noise.power / total if total else 0.0 for noise in ordered]
    ticks = round_ticks(0, max(shares) or 100.0, 5)
    bottom = _TOP + (len(shown) + bool(others)) * _ROW
    place = linear(0, ticks[-1], _BARS_LEFT, _BARS_LEFT + _BARS_WIDTH)
    add(root, "text", "Share of the noise power if every layer is quantized", x=20, y=84, font_weight=600)
    _draw_ticks(root, [(place(tick), f"{tick:g}") for tick in ticks], bottom, bottom + 4)
    add(root, "path", d=f"M{_BARS_LEFT} {_TOP}V{bottom}h{_BARS_WIDTH}", stroke=_GRID, fill="none")
    add(root, "text", "share (%)", x=_BARS_LEFT + _BARS_WIDTH / 2, y=bottom + 36, text_anchor="middle", fill=_PALE)
    names = add(root, "g", font_family=_MONO, font_size=11, text_anchor="end")
    operators = add(root, "g", font_family=_MONO, font_size=11, fill=_PALE)
    bars, figures = add(root, "g"), add(root, "g", font_size=11)
    for row, (noise, share) in enumerate(zip(shown, shares, strict=False)):
        base, kept = _TOP + row * _ROW + 13, noise.layer in ranking.kept
        tooltip(add(names, "text", shortened(noise.layer, _NAME_LENGTH), x=248, y=base), noise.layer)
        add(operators, "text", shortened(noise.op_type, 13), x=256, y=base)
        colour = _ORANGE if kept else _BLUE
        bar = add(bars, "rect", x=_BARS_LEFT, y=base - 10, width=place(share) - _BARS_LEFT, height=12, fill=colour)
        tooltip(bar, f"{noise.layer}: noise power {noise.power:.4g}, {_percent(share)}{', kept' if kept else ''}")
        add(figures, "text", _percent(share) + (" kept" if kept else ""), x=place(share) + 5, y=base)
    if others:
        kept_too = sum(noise.layer in ranking.kept for noise in others)
        words = f"and {len(others)} more: {_percent(math.fsum(shares[_MOST_BARS:]))}"
        words += f", {kept_too} of them kept" if kept_too else ""
        add(root, "text", words, x=20, y=bottom - 5, fill=_PALE)


def _draw_curve(root: ElementTree.Element, ranking: Ranking) -> None:
    """The SQNR over the number of kept layers: the predicted line, measured points, the target."""
    predicted = predicted_db(ranking)
    add(root, "text", "SQNR if the costliest layers are kept", x=_CURVE_LEFT - 50, y=84, font_weight=600)
    if not math.isfinite(predicted[0]):
        add(root, "text", "No layer adds noise: the SQNR is infinite.", x=_CURVE_LEFT - 50, y=_TOP + 13, fill=_PALE)
        return
    last = _last_shown(predicted, ranking)
    levels = _levels(predicted[: last + 1], ranking)
    x = linear(0, last, _CURVE_LEFT, _CURVE_LEFT + _CURVE_WIDTH)
    y = linear(levels[0], levels[-1], _TOP + _CURVE_HEIGHT, _TOP)
    _draw_levels(root, levels, y)
    counts = [(x(tick), f"{tick:g}") for tick in round_ticks(0, last, min(last, 6)) if tick <= last]
    _draw_ticks(root, counts, _TOP, _TOP + _CURVE_HEIGHT + 2)
    _draw_predicted(root, predicted[: last + 1], x, y)
    if ranking.target_db is not None:
        _draw_target(root, ranking.target_db, y)
    kept, left = _as_kept(ranking)
    if kept and math.isfinite(left):
        ring = add(root, "circle", cx=x(kept), cy=y(left), r=6.5, fill="none", stroke=_ORANGE, stroke_width=2)
        tooltip(ring, f"{_count(kept)} kept: {_db(left)} predicted")
    for count, value in ranking.measured:
        height = y(value) if math.isfinite(value) else _TOP if value > 0 else _TOP + _CURVE_HEIGHT
        dot = add(root, "circle", cx=x(count), cy=height, r=4.5, fill=_GREEN, stroke="#fff")
        tooltip(dot, f"measured with {_count(count)} kept: {_db(value)}")
    _draw_legend(root, ranking)


def _last_shown(predicted: list[float], ranking: Ranking) -> int:
    """The most kept layers on the axis: enough by prediction, a few at least, those kept, and all that was measured."""
    wanted = max(predicted[0] + _GAIN_DB, ranking.target_db or -math.inf)
    enough = next(count for count, value in enumerate(predicted) if value >= wanted)
    measured = [count for count, _ in ranking.measured]
    return min(max([enough, _FEW_LAYERS, _as_kept(ranking)[0], *measured]), len(ranking.layers))


def _levels(predicted: list[float], ranking: Ranking) -> list[float]:
    """Round numbers of dB from below to above all that is drawn, the prediction up to _MOST_GAIN_DB above its first."""
    others = [value for _, value in ranking.measured if math.isfinite(value)]
    if ranking.target_db is not None:
        others.append(ranking.target_db)
    highest = max([predicted[0] + _GAIN_DB, *others])
    highest = max(highest, min(max(filter(math.isfinite, predicted)), predicted[0] + _MOST_GAIN_DB))
    return round_ticks(min([predicted[0], *others]), highest, 6)


def _draw_levels(root: ElementTree.Element, levels: list[float], y: Place) -> None:
    """Horizontal lines with their SQNR, and what they are."""
    for level in levels:
        add(root, "path", d=f"M{_CURVE_LEFT} {number(y(level))}h{_CURVE_WIDTH}", stroke=_GRID)
        add(root, "text", f"{level:g}", x=_CURVE_LEFT - 8, y=y(level) + 4, text_anchor="end", font_size=11)
    left, middle = _CURVE_LEFT - 42, _TOP + _CURVE_HEIGHT / 2
    turn = f"rotate(-90 {left} {number(middle)})"
    add(root, "text", "SQNR (dB)", x=left, y=middle, text_anchor="middle", fill=_PALE, transform=turn)


def _draw_predicted(root: ElementTree.Element, predicted: list[float], x: Place, y: Place) -> None:
    """The line through the finite values, cut at the top; from there a dashed one to the first infinite value."""
    finite = [(x(count), y(value)) for count, value in enumerate(predicted) if math.isfinite(value)]
    # An inner svg cuts what is outside of it, without an id that another picture on the page could have too.
    area = f"{_CURVE_LEFT} {_TOP} {_CURVE_WIDTH} {_CURVE_HEIGHT}"
    frame = add(root, "svg", x=_CURVE_LEFT, y=_TOP, width=_CURVE_WIDTH, height=_CURVE_HEIGHT, viewBox=area)
    if len(finite) < len(predicted):
        (left, low), right = finite[-1], x(len(finite))
        dashes = f"M{number(left)} {number(low)}L{number(right)} {_TOP}"
        add(frame, "path", d=dashes, stroke=_BLUE, stroke_dasharray="3 4", fill="none")
        add(root, "text", "\u221e", x=right, y=_TOP - 2, text_anchor="middle", font_size=15, fill=_BLUE)
    points = " ".join(f"{number(across)},{number(up)}" for across, up in finite)
    line = add(frame, "polyline", points=points, stroke=_BLUE, stroke_width=2, fill="none")
    line.set("stroke-linejoin", "round")
    for count, (across, up) in enumerate(finite):
        if len(finite) <= _MOST_DOTS and up >= _TOP:
            dot = add(root, "circle", cx=across, cy=up, r=3, fill=_BLUE)
            tooltip(dot, f"{_count(count)} kept: {_db(predicted[count])} predicted")


def _draw_target(root: ElementTree.Element, target_db: float, y: Place) -> None:
    """A dashed line with its word on the right, outside, where no curve runs."""
    line = f"M{_CURVE_LEFT} {number(y(target_db))}h{_CURVE_WIDTH}"
    add(root, "path", d=line, stroke=_RED, stroke_width=1.5, stroke_dasharray="6 4")
    right = _CURVE_LEFT + _CURVE_WIDTH
    add(root, "text", f"target {_db(target_db)}", x=right + 6, y=y(target_db) + 4, fill=_RED, font_size=11)


def _draw_legend(root: ElementTree.Element, ranking: Ranking) -> None:
    """What the axis counts and what line and dots are."""
    middle, bottom = _CURVE_LEFT + _CURVE_WIDTH / 2, _TOP + _CURVE_HEIGHT
    words = f"layers kept (of {len(ranking.layers)})"
    add(root, "text", words, x=middle, y=bottom + 36, text_anchor="middle", fill=_PALE)
    add(root, "path", d=f"M{_CURVE_LEFT} {bottom + 54}h24", stroke=_BLUE, stroke_width=2)
    add(root, "text", "predicted", x=_CURVE_LEFT + 30, y=bottom + 58)
    left = _CURVE_LEFT + 112
    if ranking.measured:
        add(root, "circle", cx=left, cy=bottom + 54, r=4.5, fill=_GREEN)
        add(root, "text", "measured", x=left + 10, y=bottom + 58)
        left += 94
    kept, level = _as_kept(ranking)
    if kept and math.isfinite(level):
        add(root, "circle", cx=left, cy=bottom + 54, r=5.5, fill="none", stroke=_ORANGE, stroke_width=2)
        add(root, "text", "as kept", x=left + 12, y=bottom + 58)


def _draw_ticks(root: ElementTree.Element, ticks: Sequence[tuple[float, str]], top: float, bottom: float) -> None:
    """Vertical lines at (x, label), the labels below."""
    for across, label in ticks:
        add(root, "path", d=f"M{number(across)} {number(top)}V{number(bottom)}", stroke=_GRID)
        add(root, "text", label, x=across, y=bottom + 14, text_anchor="middle", font_size=11)


def _count(layers: int) -> str:
    return f"{layers} layer" if layers == 1 else f"{layers} layers"


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "< 0.01 %"
    return f"{share:.1f} %" if share >= 1 else f"{share:.2f} %" if share else "0 %"


def _db(value: float) -> str:
    if math.isinf(value):
        return "\u221e dB" if value > 0 else "\u2212\u221e dB"
    return f"{value:.1f} dB"
