"""The picture of the ranking, read back: bars and curve against NumPy through the figures on the axes, and any name."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import QuantizeError
from edgekit.quantize.drawing import round_ticks, shortened
from edgekit.quantize.picture import ranking_svg
from edgekit.quantize.ranking import Noise, Ranking, predicted_db

SVG = "{http://www.w3.org/2000/svg}"
BLUE, ORANGE, GREEN, RED = "#2f6db3", "#d9731a", "#1a7f4b", "#b3261e"


def ranking_of(powers, *, signal=1000.0, kept=(), measured=(), target_db=None) -> Ranking:
    layers = tuple(Noise(f"/layer{index}/Conv", "Conv", float(power)) for index, power in enumerate(powers))
    return Ranking(layers, signal, tuple(f"/layer{index}/Conv" for index in kept), tuple(measured), target_db)


def lognormal(layers: int) -> np.ndarray:
    return np.random.default_rng(layers).lognormal(0, 1.6, layers)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def words(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def bars(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") != "#fff"]


def circles(root: ElementTree.Element, **wanted: str) -> list[ElementTree.Element]:
    return [item for item in root.iter(f"{SVG}circle") if all(item.get(key) == value for key, value in wanted.items())]


def figures(root: ElementTree.Element, axis: str) -> list[tuple[float, float]]:
    """(figure, its pixel) of an axis: the labels in its row or column, told apart by the words of the axis."""
    labels = [text for text in root.iter(f"{SVG}text") if (text.text or "").replace(".", "").lstrip("-").isdigit()]
    if axis == "SQNR (dB)":  # labels end at the axis, four pixels below their line
        return [(float(text.text), float(text.get("y")) - 4) for text in labels if text.get("text-anchor") == "end"]
    title = next(text for text in root.iter(f"{SVG}text") if (text.text or "").startswith(axis))
    below = [text for text in labels if 0 < float(title.get("y")) - float(text.get("y")) < 30]
    near = [text for text in below if abs(float(text.get("x")) - float(title.get("x"))) < 200]
    return [(float(text.text), float(text.get("x"))) for text in near]


def value_at(root: ElementTree.Element, axis: str, pixels) -> np.ndarray:
    """Pixels -> values, by the straight line through the axis's figures."""
    shown, at = np.array(figures(root, axis), np.float64).T
    slope, start = np.polyfit(at, shown, 1)
    np.testing.assert_allclose(slope * at + start, shown, atol=0.01 * np.ptp(shown))
    return slope * np.asarray(pixels, np.float64) + start


def curve(root: ElementTree.Element) -> tuple[np.ndarray, np.ndarray]:
    """The predicted line: numbers of kept layers and dB, read off the axes."""
    line = next(root.iter(f"{SVG}polyline"))
    points = np.array([point.split(",") for point in line.get("points").split()], np.float64)
    return value_at(root, "layers kept", points[:, 0]), value_at(root, "SQNR (dB)", points[:, 1])


def sqnr_by_numpy(powers, signal: float) -> np.ndarray:
    left = np.sort(np.asarray(powers, np.float64))[::-1]
    with np.errstate(divide="ignore"):
        return np.array([10 * np.log10(signal / left[count:].sum()) for count in range(len(left) + 1)])


@pytest.mark.parametrize("layers", [1, 5, 40, 50, 200])
def test_bars_are_as_long_as_the_shares_of_power(layers):
    powers = lognormal(layers)
    root = parse(ranking_svg(ranking_of(powers)))
    drawn = bars(root)
    assert len(drawn) == min(layers, 40)
    start = np.array([float(bar.get("x")) for bar in drawn])
    ends = start + np.array([float(bar.get("width")) for bar in drawn])
    np.testing.assert_allclose(value_at(root, "share (%)", start), 0, atol=1e-9)
    shares = np.sort(100 * powers / powers.sum())[::-1]
    np.testing.assert_allclose(value_at(root, "share (%)", ends), shares[:40], atol=1e-3 * shares[0])
    tops = [float(bar.get("y")) for bar in drawn]
    assert all(below - above == 18 for above, below in pairwise(tops))
    assert (f"and {layers - 40} more" in " ".join(words(root))) == (layers > 40)


@pytest.mark.parametrize("layers", [1, 5, 50, 200])
def test_the_curve_is_the_sqnr_that_the_other_layers_leave(layers):
    powers = lognormal(layers)
    ranking = ranking_of(powers, signal=1e3 * powers.sum(), target_db=41.0)
    expected = sqnr_by_numpy(powers, ranking.signal)
    np.testing.assert_allclose(predicted_db(ranking), expected, rtol=1e-12)
    root = parse(ranking_svg(ranking))
    counts, levels = curve(root)
    np.testing.assert_allclose(counts, np.arange(len(counts)), atol=0.005 * layers)
    np.testing.assert_allclose(levels, expected[: len(counts)], atol=0.01)
    assert len(counts) == layers or levels[-1] >= 41  # the crossing of the target can be seen
    assert ("\u221e" in words(root)) == (len(counts) == layers)


def test_a_hand_made_ranking():
    """Powers 70, 20, 10 of a signal of 10000: 20 dB; without the 70, 10 log10(10000/30); without the 20 too, 30 dB."""
    ranking = ranking_of([20, 70, 10], signal=1e4, kept=[1], measured=[(0, 19.5), (1, 25.0)], target_db=28.0)
    assert predicted_db(ranking) == pytest.approx([20.0, 25.2287874528, 30.0, math.inf])
    root = parse(ranking_svg(ranking))
    assert [text for text in words(root) if text.endswith("Conv")][:3] == [
        "/layer1/Conv",
        "/layer0/Conv",
        "/layer2/Conv",
    ]
    assert {"70.0 % kept", "20.0 %", "10.0 %"} <= set(words(root))
    assert [bar.get("fill") for bar in bars(root)] == [ORANGE, BLUE, BLUE]
    summary = "Every layer quantized: SQNR 20.0 dB predicted. "
    summary += "1 layer kept in FP16 or FP32: 25.2 dB predicted, 25.0 dB measured."
    assert root.get("aria-label") == summary
    assert summary in words(root)
    dots = [dot for dot in circles(root, fill=GREEN) if dot.find(f"{SVG}title") is not None]
    np.testing.assert_allclose(value_at(root, "layers kept", [float(dot.get("cx")) for dot in dots]), [0, 1], atol=0.01)
    heights = [float(dot.get("cy")) for dot in dots]
    np.testing.assert_allclose(value_at(root, "SQNR (dB)", heights), [19.5, 25.0], atol=0.01)
    target = next(path for path in root.iter(f"{SVG}path") if path.get("stroke") == RED)
    height = float(target.get("d").split(" ")[1].split("h")[0])
    np.testing.assert_allclose(value_at(root, "SQNR (dB)", [height]), [28.0], atol=0.01)
    assert "target 28.0 dB" in words(root)


def test_layers_that_are_kept_are_marked_though_they_are_not_the_costliest():
    ranking = ranking_of([70, 20, 10], signal=1e4, kept=[2])
    root = parse(ranking_svg(ranking))
    assert [bar.get("fill") for bar in bars(root)] == [BLUE, BLUE, ORANGE]
    assert "1 layer kept in FP16 or FP32: 20.5 dB predicted." in root.get("aria-label")
    ring = next(ring for ring in circles(root, stroke=ORANGE) if ring.find(f"{SVG}title") is not None)
    np.testing.assert_allclose(value_at(root, "SQNR (dB)", [float(ring.get("cy"))]), 10 * np.log10(1e4 / 90), atol=0.01)
    hidden = parse(ranking_svg(ranking_of(np.arange(50, 0, -1), kept=[0, 45, 48])))
    assert any(text.startswith("and 10 more: 4.3 %, 2 of them kept") for text in words(hidden))


def test_layers_without_noise_and_infinite_sqnr():
    silent = parse(ranking_svg(ranking_of([0, 0, 0], measured=[(0, math.inf)])))
    assert [bar.get("width") for bar in bars(silent)] == ["0", "0", "0"]
    assert "No layer adds noise: the SQNR is infinite." in words(silent)
    assert predicted_db(ranking_of([0, 0, 0])) == [math.inf] * 4
    partly = parse(ranking_svg(ranking_of([0, 3, 0], kept=[1], measured=[(1, math.inf), (2, -math.inf)])))
    counts, levels = curve(partly)
    np.testing.assert_allclose([counts[0], levels[0]], [0, 10 * np.log10(1000 / 3)], atol=0.01)
    assert len(counts) == 1
    assert "as kept" not in words(partly)  # a point at infinity has no place
    assert "1 layer kept in FP16 or FP32: \u221e dB predicted, \u221e dB measured." in partly.get("aria-label")
    tops = {dot.find(f"{SVG}title").text: float(dot.get("cy")) for dot in circles(partly, stroke="#fff")}
    frame = next(svg for svg in partly.iter(f"{SVG}svg") if svg is not partly)
    top, height = float(frame.get("y")), float(frame.get("height"))
    assert tops == {
        "measured with 1 layer kept: \u221e dB": top,
        "measured with 2 layers kept: \u2212\u221e dB": top + height,
    }


def text_boxes(element: ElementTree.Element, inherited: dict[str, str]) -> list[tuple[str, np.ndarray]]:
    """(words, [left, top, right, bottom]) of every text, each letter as wide as a wide font has it on average."""
    style = inherited | element.attrib
    boxes = [box for child in element for box in text_boxes(child, style)]
    if element.tag == f"{SVG}text":
        size, x, y = float(style["font-size"]), float(style["x"]), float(style["y"])
        length = 0.61 * size * len(element.text or "")
        left = x - length * {"start": 0, "middle": 0.5, "end": 1}[style.get("text-anchor", "start")]
        box = [left, y - 0.8 * size, left + length, y + 0.25 * size]
        if style.get("transform"):  # a quarter turn to the left about (x, y)
            box = [x - 0.8 * size, y - length / 2, x + 0.25 * size, y + length / 2]
        boxes.append((element.text or "", np.array(box)))
    return boxes


@pytest.mark.parametrize("layers", [1, 2, 5, 8, 39, 40, 41, 50, 200])
@pytest.mark.parametrize("kept", [0, 1, 12, 200])
@pytest.mark.parametrize("silent", [0, 3])
def test_no_text_lies_on_another_or_leaves_the_picture(layers, kept, silent):
    powers = np.where(np.arange(layers) < silent, 0.0, lognormal(layers))
    layered = ranking_of(powers, kept=range(min(kept, layers)), measured=[(0, 12.25)], target_db=33.3).layers
    long = tuple(Noise(f"/a/very/long/name/of/a{noise.layer}", "ConvTranspose", noise.power) for noise in layered)
    names = tuple(noise.layer for noise in long[:kept])
    root = parse(ranking_svg(Ranking(long, 1000.0, names, ((0, 12.25), (1, 14.0)), 33.3)))
    boxes = text_boxes(root, {})
    whole = np.array([0, 0, float(root.get("width")), float(root.get("height"))])
    assert root.get("viewBox").split() == [f"{edge:g}" for edge in whole]
    for index, (text, box) in enumerate(boxes):
        assert (box[:2] >= whole[:2]).all(), text
        assert (box[2:] <= whole[2:]).all(), text
        for other, there in boxes[:index]:
            apart = (box[:2] >= there[2:]).any() or (there[:2] >= box[2:]).any()
            assert apart, (text, other)
    for dot in root.iter(f"{SVG}circle"):
        assert 700 <= float(dot.get("cx")) <= 1000
        assert 104 <= float(dot.get("cy")) <= whole[3]


def test_sixty_layers_with_long_names_stay_small():
    name = "/model/bert/encoder/layer.11/attention/self/query_projection/MatMul"
    layers = tuple(Noise(f"{name}_{index}", "MatMul", power) for index, power in enumerate(lognormal(60)))
    svg = ranking_svg(Ranking(layers, 1000.0, (f"{name}_3",), ((0, 10.0), (1, 12.0)), 20.0))
    assert len(svg.encode()) < 30_000
    assert "<script" not in svg
    assert "href" not in svg
    names = [title.text for text in parse(svg).iter(f"{SVG}text") for title in text.iter(f"{SVG}title")]
    costliest = sorted(layers, key=lambda noise: noise.power)[::-1][:40]
    assert names == [noise.layer for noise in costliest]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=4), st.text())
def test_any_name_gives_a_picture_that_xml_can_read(names, op_type):
    layers = tuple(Noise(name, op_type, index + 1.0) for index, name in enumerate(names))
    root = parse(ranking_svg(Ranking(layers, 10.0, tuple(names[:1]))))
    assert len(bars(root)) == len(names)


def test_marks_of_xml_in_a_name_stay_letters():
    name = "</text><script>alert('&amp;\"')</script>\x00\ud800"
    svg = ranking_svg(Ranking((Noise(name, "<Conv>", 1.0),), 10.0))
    root = parse(svg)
    assert [item.tag for item in root.iter() if "script" in item.tag] == []
    title = bars(root)[0].find(f"{SVG}title").text
    assert title.startswith("</text><script>alert('&amp;\"')</script>\ufffd\ufffd: noise power 1, 100.0 %")
    assert "<Conv>" in words(root)


@given(st.text(max_size=80), st.integers(3, 40))
def test_shortened_names_keep_their_ends(name, most):
    short = shortened(name, most)
    assert len(short) <= most
    if len(name) <= most:
        assert short == name
    else:
        head, tail = short.split("\u2026")[0], short[len(short.split("\u2026")[0]) + 1 :]
        assert name.startswith(head)
        assert name.endswith(tail)
        assert len(short) == most


@given(st.floats(-200, 200), st.just(0.0) | st.floats(1e-6, 300), st.integers(1, 8))
def test_figures_of_an_axis_enclose_it_and_are_few(low, span, most):
    ticks = round_ticks(low, low + span, most)
    assert 2 <= len(ticks) <= most + 2
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= low + span - 1e-9
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("ranking", "complaint"),
    [
        (ranking_of([]), "one layer or more"),
        (ranking_of([1, math.nan]), "found nan for layer '/layer1/Conv'"),
        (ranking_of([math.inf]), "found inf for layer"),
        (ranking_of([-1e-3]), "found -0.001 for layer"),
        (ranking_of([1e308, 1e308]), "finite sum"),
        (ranking_of([1], signal=0.0), "signal power above 0"),
        (ranking_of([1], signal=math.nan), "signal power above 0"),
        (ranking_of([1], target_db=math.inf), "finite target"),
    ],
)
def test_what_cannot_be_drawn_is_refused(ranking, complaint):
    with pytest.raises(QuantizeError, match=complaint):
        ranking_svg(ranking)
