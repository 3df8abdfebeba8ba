"""A choice and what it makes of a model: right numbers for whatever is quantized and whatever is kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.data import Samples  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize.choice import Choice, Subject, Unit  # noqa: E402
from edgekit.quantize.compensate import with_gptq  # noqa: E402
from edgekit.quantize.int8 import Form  # noqa: E402
from edgekit.quantize.placement import residual_skips  # noqa: E402
from edgekit.quantize.recurrent import quantizable_recurrent  # noqa: E402
from edgekit.reports import no_progress  # noqa: E402
from edgekit.rewrite.opset import raise_opset  # noqa: E402
from tests.quantize.graphs import Arrays, graph, layers_of, node, run, seen, value, weights_of  # noqa: E402

CHOICES = {
    "max": Choice(),
    "percentile": Choice("percentile"),
    "mse": Choice("mse", "mse"),
    "smooth": Choice(alpha=0.75),
    "smooth, shift, bias": Choice("mse", "mse", alpha=0.6, shift=True, bias=True),
    "weigh, bias": Choice(weigh=0.75, bias=True),
    "gptq": Choice(weights="gptq"),
    "gptq, all": Choice(weights="gptq", alpha=0.75, weigh=0.5, shift=True, bias=True),
}


@dataclass(frozen=True)
class Trained:
    """A network, inputs that ranges come from, and others."""

    subject: Subject
    calibration: Arrays
    held_out: Arrays

    def made(self, name: str, form: Form = Form()) -> tuple[Subject, Choice]:
        """With the weights that GPTQ rounds, where the choice is GPTQ."""
        subject, choice = replace(self.subject, form=form), CHOICES[name]
        if choice.weights != "gptq":
            return subject, choice
        count = len(next(iter(self.calibration.values())))
        stream = lambda: iter([Samples(np.arange(count), self.calibration)])  # noqa: E731
        rounded = with_gptq(subject, choice, stream, no_progress)
        assert rounded is not None
        return rounded, choice

    def sqnr_db(self, model: onnx.ModelProto) -> float:
        wanted, found, meter = run(self.subject.model, self.held_out), run(model, self.held_out), Sqnr()
        for key, array in wanted.items():
            meter.add(array, found[key])
        return meter.db()


def trained(model: onnx.ModelProto, calibration: Arrays, held_out: Arrays) -> Trained:
    model = raise_opset(model, 21).model
    layers, recurrent = layers_of(model), quantizable_recurrent(model, ())[0]
    units = tuple(Unit(item.name, item.op_type) for item in recurrent)
    skips = tuple(residual_skips(model, layers))
    axes = {skip.tensor: 1 for skip in skips} | {item.input[0]: -1 for item in recurrent}
    statistics = seen(model, calibration, **axes)
    return Trained(Subject(model, tuple(layers), units, skips, statistics, Form()), calibration, held_out)


@pytest.fixture(scope="module")
def network(shared) -> Callable[[str], Trained]:
    """Those that learnt the digits, as edgekit exports them, and `mixed`, which takes no time."""

    def export_to(folder, name: str) -> None:
        from edgekit.configs import ExportConfig
        from edgekit.export import export
        from tests.quantize import foreign

        export(f"{foreign.__file__}:make_{name}", folder / "float.onnx", ExportConfig(opset=20))

    @functools.cache
    def named(name: str) -> Trained:
        if name == "mixed":
            return mixed()
        datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
        pytest.importorskip("torch", reason="torch trains the networks")
        folder = shared(f"float-{name}", lambda path: export_to(path, name))
        images = (datasets.load_digits().images / 16).astype(np.float32)
        parts = [
            {"image": some[:, None]} if name == "cnn" else {"x": some, "lengths": np.full(len(some), 8)}
            for some in (images[:256], images[1400:1500])  # 1400 were trained on
        ]
        return trained(onnx.load(folder / "float.onnx"), *parts)

    return named


I, H = 8, 6  # noqa: E741


def mixed() -> Trained:
    """x [T,N,8] -> norm -> three products of one tensor, and an LSTM; seeded weights, outliers in two channels."""
    random = np.random.default_rng(0)
    made = [
        node("LayerNormalization", "x g b", "n"),
        *(node("MatMul", f"n w{out}", out) for out in "qkv"),
        node("LSTM", "x W R B", "steps", "lstm", hidden_size=H),
        node("MatMul", "steps u", "m"),
        node("Sigmoid", "m", "s"),
        node("MatMul", "s t", "y"),
    ]
    gain = random.normal(size=I) * np.array([1, 1, 30, 1, 1, 1, 50, 1])
    weights = {"g": gain, "b": random.normal(size=I), "u": random.normal(size=(H, 7)), "t": random.normal(size=(7, 5))}
    weights |= {f"w{out}": random.normal(size=(I, 5)) / np.abs(gain[:, None]) for out in "qkv"}
    weights |= {"W": random.normal(size=(1, 4 * H, I)) / 3, "R": random.normal(size=(1, 4 * H, H)) / 3}
    weights |= {"B": random.normal(size=(1, 8 * H)) / 3}
    single = {name: array.astype(np.float32) for name, array in weights.items()}
    model = graph(made, [value("x", "time", "batch", I)], "qkvy", single, 21)
    feeds = [{"x": random.normal(size=(9, count, I)).astype(np.float32)} for count in (20, 50)]
    return trained(model, *feeds)


CASES = [
    pytest.param(name, choice, marks=[] if name == "mixed" else pytest.mark.slow)  # trains, exports, and many runs
    for name in ("mixed", "cnn", "transformer")
    for choice in CHOICES
    if name == "mixed" or choice != "weigh, bias"  # for recurrent nodes
]
# What 8 bits reach on samples that ranges did not see, less a few dB; outliers that are not smoothed cost `mixed` more.
LEAST_DB = {"mixed": 9, "cnn": 30, "transformer": 28}


@pytest.mark.parametrize(("name", "choice"), CASES)
def test_with_everything_kept_it_is_the_float_model(network, name, choice):
    subject, made = network(name).made(choice)
    kept = {unit.node for unit in subject.units}
    model = subject.quantized(made, kept)
    wanted, found = (run(item, network(name).held_out) for item in (subject.model, model))
    for key, array in wanted.items():
        np.testing.assert_array_equal(found[key], array)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {item.op_type for item in model.graph.node}


@pytest.mark.parametrize(("name", "choice"), CASES)
def test_every_choice_gives_a_model_that_is_near(network, name, choice):
    subject, made = network(name).made(choice)
    before = subject.model.SerializeToString()
    model = subject.quantized(made)
    onnx.checker.check_model(model, full_check=True)
    assert subject.model.SerializeToString() == before
    assert network(name).sqnr_db(model) > LEAST_DB[name]


def noisiest(trained: Trained, subject: Subject, choice: Choice) -> list[str]:
    """Each unit quantized alone, the worst first."""
    nodes = [unit.node for unit in subject.units]
    alone = {item: trained.sqnr_db(subject.quantized(choice, set(nodes) - {item})) for item in nodes}
    return sorted(nodes, key=lambda item: alone[item])


@pytest.mark.parametrize(("name", "choice"), CASES)
def test_keeping_the_noisiest_layers_helps(network, name, choice):
    """The weights of GPTQ were rounded before anything was kept."""
    subject, made = network(name).made(choice)
    order = noisiest(network(name), subject, made)
    found = [network(name).sqnr_db(subject.quantized(made, order[:kept])) for kept in (0, 1, len(order) // 2)]
    assert found[1] > found[0] + 1
    assert found[2] > found[1] + 1


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("kept", ["q", "qv", "lstm"])
def test_the_others_stay_as_they_were(choice, kept):
    """One norm makes what three products and the LSTM read, so that factors and shifts are shared with what is kept."""
    trained = mixed()
    subject, made = trained.made(choice)
    names = {kept} if kept == "lstm" else set(kept)
    wanted, whole = run(subject.model, trained.held_out), run(subject.quantized(made), trained.held_out)
    found = run(subject.quantized(made, names), trained.held_out)
    for name in "qkv":
        if name in names:
            np.testing.assert_array_equal(found[name], wanted[name])
        else:
            meter = Sqnr()
            meter.add(whole[name], found[name])
            assert meter.db() > 60, "but for a value on the edge between two levels"
            assert not np.array_equal(found[name], wanted[name])


def test_smoothing_is_worth_it_where_there_are_outliers():
    trained = mixed()
    plain, smooth = (trained.sqnr_db(trained.subject.quantized(CHOICES[name])) for name in ("max", "smooth"))
    assert smooth > plain + 20


def dequantized(model: onnx.ModelProto, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The integers and scales of what a node reads as its weight."""
    reader = next(item for item in model.graph.node if item.name == name)
    maker = next(item for item in model.graph.node if item.output[0] == reader.input[1])
    return weights_of(model)[maker.input[0]], weights_of(model)[maker.input[1]]


def test_the_levels_of_gptq_are_taken_for_that_choice_alone():
    subject, choice = mixed().made("gptq")
    assert {(unit.node, 1) for unit in subject.units} | {("lstm", 2)} == subject.rounded.keys()
    for unit in subject.units:
        values, scale = subject.rounded[unit.node, 1]
        found = dequantized(subject.quantized(choice), unit.node)
        np.testing.assert_array_equal(found[0], values)
        np.testing.assert_array_equal(found[1], scale)
        plain = dequantized(subject.quantized(Choice()), unit.node)
        assert (plain[0] != values).any()


def test_units_are_what_can_be_kept():
    assert mixed().subject.units == tuple(
        Unit(name, "LSTM" if name == "lstm" else "MatMul") for name in ("q", "k", "v", "m", "y", "lstm")
    )


def scale_before(model: onnx.ModelProto, name: str) -> float:
    """The scale of the activation that a layer reads."""
    reader = next(item for item in model.graph.node if item.name == name)
    maker = next(item for item in model.graph.node if item.output[0] == reader.input[0])
    return float(weights_of(model)[maker.input[1]])


@pytest.fixture(scope="module")
def outlying() -> Trained:
    """One product; one of 40,000 inputs is 100, and all but 8 weights of each output are zero."""
    random = np.random.default_rng(0)
    weight, x = random.normal(size=(400, 50)).astype(np.float32), random.normal(size=(100, 400)).astype(np.float32)
    weight[8:], x[4, 5] = 0, 100
    return trained(
        graph([node("MatMul", "x w", "y")], [value("x", "batch", 400)], ["y"], {"w": weight}), *[{"x": x}] * 2
    )


# The rule, and the range of the activation: 99.99 % of 40,000 normal values, and what clips one value of them.
@pytest.mark.parametrize(("rule", "least", "most"), [("max", 100, 100), ("percentile", 3.5, 4.5), ("mse", 8, 99)])
def test_ranges_follow_the_rule_and_smoothed_ones_the_largest_value(outlying, rule, least, most):
    subject = outlying.subject
    found = 127 * scale_before(subject.quantized(Choice(rule)), "y")
    assert least <= round(found, 3) <= most
    assert subject.range_of("x", Choice(rule)) == pytest.approx(found, rel=1e-6)
    scales = {scale_before(subject.quantized(Choice(other, alpha=0.5)), "y") for other in ("max", rule)}
    assert len(scales) == 1


def test_scales_of_weights_follow_the_rule(outlying):
    largest = np.abs(weights_of(outlying.subject.model)["w"]).max(axis=0)
    found = {rule: dequantized(outlying.subject.quantized(Choice(weights=rule)), "y")[1] for rule in ("max", "mse")}
    np.testing.assert_allclose(127 * found["max"], largest, rtol=1e-6)
    ratio = found["mse"] / found["max"]
    assert ((ratio > 0.5) & (ratio < 1.04) & (ratio != 1)).mean() > 0.5


def test_a_skip_is_quantized_unless_its_convolution_is_kept():
    random = np.random.default_rng(0)
    made = [
        node("Relu", "x", "r"),
        node("Conv", "r k", "f", pads=[1] * 4),
        node("Conv", "f l", "h", pads=[1] * 4),
        node("Add", "r h", "y"),
    ]
    weights = {name: random.normal(size=(4, 4, 3, 3)).astype(np.float32) / 6 for name in "kl"}
    model = graph(made, [value("x", "batch", 4, 6, 6)], ["y"], weights)
    feeds = [{"x": random.normal(size=(8, 4, 6, 6)).astype(np.float32)} for _ in range(2)]
    network = trained(model, *feeds)
    for kept, paired in (((), True), ({"f"}, True), ({"h"}, False)):
        found = network.subject.quantized(Choice(), kept)
        add = next(item for item in found.graph.node if item.op_type == "Add")
        maker = next(item for item in found.graph.node if item.output[0] == add.input[0])
        assert (maker.op_type == "DequantizeLinear") == paired
        assert network.sqnr_db(found) > 30


@pytest.mark.parametrize("choice", ["max", "mse", "gptq"])
def test_biases_make_up_for_the_levels_that_were_chosen(choice):
    """(W - Wq) E[x] stands behind the product."""
    trained = mixed()
    subject, made = trained.made(choice)
    found = subject.quantized(replace(made, bias=True))
    values, scale = dequantized(found, "k")
    mean = run(subject.model, trained.calibration, "n")["n"].mean(axis=(0, 1), dtype=float)
    wanted = (weights_of(subject.model)["wk"].astype(float) - values * scale.astype(float)).T @ mean
    (added,) = (weights_of(found)[item.input[1]] for item in found.graph.node if item.output[0] == "k")
    np.testing.assert_allclose(added, wanted, atol=1e-6 + 1e-3 * np.abs(wanted).max())
    assert np.abs(added).max() > 1e-3
