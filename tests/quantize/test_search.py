"""`--method auto` keeps what helps by construction and nothing else, and runs no more models than it says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from edgekit.data import Samples  # noqa: E402
from edgekit.quantize.choice import Choice, Subject, Unit  # noqa: E402
from edgekit.quantize.held_back import HeldBack, Score  # noqa: E402
from edgekit.quantize.int8 import Form  # noqa: E402
from edgekit.quantize.observers import Observer  # noqa: E402
from edgekit.quantize.recurrent import OPSET, quantizable_recurrent  # noqa: E402
from edgekit.quantize.search import Found, search  # noqa: E402
from edgekit.reports import no_progress  # noqa: E402
from tests.quantize.digit_cnn import as_onnx, digits, held_back_of, subject_of  # noqa: E402
from tests.quantize.graphs import Arrays, graph, layers_of, node, value  # noqa: E402


def pointwise(weight: np.ndarray):
    """x [batch,I,4,4] -> Relu -> a 1 x 1 convolution y [batch,O,4,4]: no shift, no SmoothQuant, no GPTQ."""
    nodes, inputs = [node("Relu", "x", "r"), node("Conv", "r w", "y")], [value("x", "batch", weight.shape[1], 4, 4)]
    return graph(nodes, inputs, ["y"], {"w": weight[:, :, None, None].astype(np.float32)})


def searched(model, seen: np.ndarray, held: np.ndarray) -> tuple[Found, HeldBack]:
    held_back = held_back_of(model, {"x": held})
    try:
        return search(subject_of(model, {"x": seen}), held_back, None, no_progress), held_back
    finally:
        held_back.close()


def kept(found: Found) -> list[str]:
    return [tried.what for tried in found.tried if tried.kept]


def test_bias_correction_is_kept_where_it_must_help():
    """Inputs far from zero, and weights whose steps are coarse since one of each row is large: what rounding takes from
    a weight comes with the same sign each time."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(8, 64)) * 0.05
    weight[:, 0] = 10.0
    images = (5 + 0.05 * random.normal(size=(48, 64, 4, 4))).astype(np.float32)
    found, _ = searched(pointwise(weight), images[:32], images[32:])
    assert found.choice.bias
    assert "bias correction" in kept(found)
    by_what = {tried.what: tried.sqnr_db for tried in found.tried}
    assert by_what["bias correction"] > by_what["the largest value everywhere"] + 10
    assert found.tried[0].what == "the largest value everywhere"
    assert found.tried[0].kept


def test_where_nothing_helps_nothing_is_kept():
    """Weights and inputs that are levels themselves: nothing is lost, and there is nothing to win."""
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, size=(8, 16)).astype(np.float32)
    weight[:, 0] = 127
    images = random.integers(-127, 128, size=(48, 16, 4, 4)).astype(np.float32)
    images[:, 0] = 127
    found, _ = searched(pointwise(weight), images[:32], images[32:])
    assert found.choice == Choice()
    assert kept(found) == ["the largest value everywhere"]
    assert len(found.tried) == 5, "once through the rules is enough"
    # The sums are exact, the products with scales are not quite.
    assert all(tried.sqnr_db > 100 for tried in found.tried if "by mse" not in tried.what)


def test_an_outlier_that_calibration_saw_alone_is_clipped():
    random = np.random.default_rng(0)
    weight = random.normal(size=(8, 16))
    images = random.normal(size=(300, 16, 4, 4)).astype(np.float32)
    images[3, 5, 1, 1] = 60.0
    found, _ = searched(pointwise(weight), images[:280], images[280:])
    assert found.choice.ranges in ("mse", "percentile")
    by_what = {tried.what: tried.sqnr_db for tried in found.tried}
    assert by_what[f"ranges by {found.choice.ranges}"] > by_what["the largest value everywhere"] + 6


def test_a_real_network_is_none_the_worse():
    images = {"image": digits()[0][1300:1380]}
    model = as_onnx()
    held_back = held_back_of(model, {"image": digits()[0][1380:1412]})
    subject = subject_of(model, images)
    found = search(subject, held_back, None, no_progress)
    before, after = (
        held_back.score(subject.quantized(choice).SerializeToString()) for choice in (Choice(), found.choice)
    )
    held_back.close()
    assert after.sqnr_db >= before.sqnr_db - 0.01
    assert found.tried[0].sqnr_db == pytest.approx(before.sqnr_db)
    assert {tried.what for tried in found.tried} >= {"bias correction", "ranges by mse", "ranges by percentile"}


def recurrent() -> tuple[onnx.ModelProto, Arrays]:
    """x [batch,12,6] -> two products around an LSTM -> y [batch,12,5]: everything may be tried on it."""
    random = np.random.default_rng(0)
    arrays = {
        "in": random.normal(size=(6, 8)) * np.geomspace(0.05, 2, 8),
        "W": random.normal(size=(1, 32, 8)) * 0.4,
        "R": random.normal(size=(1, 32, 8)) * 0.3,
        "out": random.normal(size=(8, 5)),
    }
    nodes = [
        node("MatMul", "x in", "a0"),
        node("Gelu", "a0", "a"),
        node("Transpose", "a", "steps", perm=[1, 0, 2]),
        node("LSTM", "steps W R", "states", "lstm", hidden_size=8),
        node("Squeeze", "states axis", "s"),
        node("Transpose", "s", "h", perm=[1, 0, 2]),
        node("Gelu", "h", "g"),
        node("MatMul", "g out", "y"),
    ]
    constants = {name: array.astype(np.float32) for name, array in arrays.items()} | {"axis": np.array([1])}
    model = graph(nodes, [value("x", "batch", 12, 6)], ["y"], constants, opset=OPSET)
    return model, {"x": random.normal(size=(64, 12, 6)).astype(np.float32)}


def test_all_rules_together_run_thirty_models_at_the_most(monkeypatch):
    model, feeds = recurrent()
    nodes, _ = quantizable_recurrent(model, ())
    layers = tuple(layers_of(model))
    axes = {"steps": -1} | {layer.activation: layer.channels for layer in layers}
    seen = Observer(model, axes).see({"x": feeds["x"][:48]})[0]
    units = tuple(Unit(item.name, item.op_type) for item in nodes)
    assert [unit.op_type for unit in units] == ["LSTM"]
    subject = Subject(model, layers, units, (), seen, Form())
    held_back = held_back_of(model, {"x": feeds["x"][48:]})
    runs: list[Score] = []
    original = HeldBack.score

    def counting(self: HeldBack, serialized: bytes, most: int | None = None) -> Score:
        runs.append(original(self, serialized, most))
        return runs[-1]

    def stream() -> Iterator[Samples]:
        yield Samples(np.arange(48), {"x": feeds["x"][:48]})

    monkeypatch.setattr(HeldBack, "score", counting)
    found = search(subject, held_back, stream, no_progress)
    assert 14 <= len(runs) <= 30
    said = " ".join(tried.what for tried in found.tried)
    for what in ("SmoothQuant", "weighed by power", "bias correction", "ranges by", "weights by mse", "GPTQ"):
        assert what in said
    final = held_back.score(found.subject.quantized(found.choice).SerializeToString())
    held_back.close()
    assert final.sqnr_db >= runs[0].sqnr_db
    assert final.sqnr_db == pytest.approx(max(tried.sqnr_db for tried in found.tried if tried.kept), abs=1)


class Text(str):
    """Stands in for a model; and its bytes for the file."""

    def SerializeToString(self) -> bytes:
        return self.encode()


@dataclass(frozen=True)
class Scripted(Subject):
    """A subject whose models are the texts of their choices."""

    def quantized(self, choice: Choice, kept=()):
        CHOICES[repr(choice).encode()] = choice
        return Text(repr(choice))


CHOICES: dict[bytes, Choice] = {}


class Judged(HeldBack):
    """Scores by what a function says of each choice, in dB; no two samples differ."""

    def __init__(self, db_of: Callable[[Choice], float]) -> None:
        super().__init__()
        self._db_of, self.runs = db_of, 0

    def score(self, model: bytes, most: int | None = None) -> Score:
        self.runs += 1
        db = self._db_of(CHOICES[model])
        noise = 10 ** (-db / 10)
        return Score(noise, db, None, (noise,) * 8)


def run_script(db_of: Callable[[Choice], float], model=None, stream=None) -> tuple[Found, Judged]:
    model = model or pointwise(np.ones((2, 2)))
    (layer,) = layers_of(model)
    statistics = Observer(model, {layer.activation: 1}).see({"x": 1 + np.ones((1, 2, 4, 4), np.float32)})[0]
    judged = Judged(db_of)
    return search(Scripted(model, (layer,), (), (), statistics, Form()), judged, stream, no_progress), judged


def test_one_change_makes_room_for_another():
    """Clipped ranges help only with clipped weights, which come later: so the rules are gone through twice."""

    def db_of(choice: Choice) -> float:
        return 20 + 3 * (choice.weights == "mse") + (2 if choice.weights == "mse" else -2) * (choice.ranges == "mse")

    found, _ = run_script(db_of)
    assert found.choice == Choice(ranges="mse", weights="mse")
    assert kept(found) == ["the largest value everywhere", "weights by mse", "ranges by mse"]


@pytest.mark.parametrize(("gain", "is_kept"), [(0.05, False), (0.15, True), (-1.0, False), (-math.inf, False)])
def test_a_gain_below_a_tenth_of_a_decibel_is_left(gain, is_kept):
    found, _ = run_script(lambda choice: 20 + gain if choice.bias else 20)
    assert found.choice.bias == is_kept


def test_the_best_of_a_rule_is_taken():
    found, _ = run_script(lambda choice: {"max": 20, "mse": 21, "percentile": 23}[choice.ranges])
    assert found.choice.ranges == "percentile"
    assert kept(found) == ["the largest value everywhere", "ranges by percentile"]


def test_a_shift_must_gain_more_than_the_bias_correction_that_comes_with_it():
    shifted = graph(
        [node("Sigmoid", "x", "s"), node("Conv", "s w", "y")],
        [value("x", "batch", 2, 4, 4)],
        ["y"],
        {"w": np.ones((2, 2, 1, 1), np.float32)},
    )
    for gain in (0.0, 0.05, 0.5):
        found, _ = run_script(lambda choice, more=gain: 20 + 5 * choice.bias + more * choice.shift, shifted)
        assert found.choice == Choice(bias=True, shift=gain > 0.1)
        assert any("shift" in tried.what for tried in found.tried), "it can be tried here"
    found, _ = run_script(lambda choice: 20 + choice.shift * (2 if choice.bias else -1), shifted)
    assert found.choice == Choice(bias=True, shift=True), "where bias correction alone gives nothing"


@pytest.mark.parametrize(
    ("gain", "without_bias", "wanted"),
    [
        (0.05, 0.0, Choice(weights="gptq", bias=True)),
        (0.05, 1.0, Choice(weights="gptq", bias=False)),
        (-0.05, 1.0, Choice(bias=True)),
    ],
)
def test_gptq_is_kept_for_any_gain(monkeypatch, gain, without_bias, wanted):
    """It costs nothing at run time. Whether biases still need their correction is tried on top of it."""
    monkeypatch.setattr("edgekit.quantize.search.with_gptq", lambda subject, choice, stream, progress: subject)

    def db_of(choice: Choice) -> float:
        if choice.weights == "gptq":
            return 25 + gain + without_bias * (not choice.bias)
        return 20 + 5 * choice.bias

    found, _ = run_script(db_of, stream=lambda: iter(()))
    assert found.choice == wanted
    assert any(tried.what == "weights by GPTQ" for tried in found.tried)


def test_in_the_end_the_ranges_are_those_of_all_samples():
    images = np.ones((48, 2, 4, 4), np.float32)
    images[40] = 7.0
    found, held_back = searched(pointwise(np.ones((2, 2))), images[:32], images[32:])
    assert held_back.statistics.tensors["r"].channels.count == 16 * 16
    assert found.subject.statistics.tensors["r"].channels.count == 16 * 48
    assert found.subject.statistics.tensors["r"].largest == 7.0
    assert found.tried[0].sqnr_db < 10, "while rules were tried, it was clipped"


def test_what_was_kept_can_be_taken_back():
    """Bias correction helps at first, and hurts once weights are clipped."""

    def db_of(choice: Choice) -> float:
        return 20 + 5 * (choice.weights == "mse") + (-1 if choice.weights == "mse" else 1) * choice.bias

    assert run_script(db_of)[0].choice == Choice(weights="mse")


TABLE = st.fixed_dictionaries(
    {
        (ranges, weights, bias): st.floats(0, 60)
        for ranges in ("max", "mse", "percentile")
        for weights in ("max", "mse")
        for bias in (False, True)
    }
)


@given(TABLE)
@settings(max_examples=40, deadline=None)
def test_no_single_change_of_what_was_found_is_better_by_much(table):
    """Unless it would have taken a third time through the rules: each step of the way was a gain."""

    def db_of(choice: Choice) -> float:
        return table[choice.ranges, choice.weights, choice.bias]

    found, judged = run_script(db_of)
    assert judged.runs <= 14
    steps = [tried.sqnr_db for tried in found.tried if tried.kept]
    assert all(after > before for before, after in itertools.pairwise(steps))
    assert db_of(found.choice) == steps[-1]
    assert len({tried.what for tried in found.tried}) <= len(found.tried)
