"""Which options belong to which precision, what a recipe for one is worth for another, and functions."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")

import onnx

from edgekit.configs import CALIBRATED, PRECISIONS, DeployConfig, QuantizeConfig
from edgekit.deploy.plan import make_plan
from edgekit.errors import UsageError
from edgekit.judge import outputs_of
from edgekit.metrics import Sqnr
from edgekit.quantize import fitting, quantize
from edgekit.quantize.making import unused
from tests.quantize import graphs

# Everything said, as no default has it.
ALL = {
    "keep_ops": ("Softmax",),
    "data": "x.npz",
    "recipe": "resnet18",
    "samples": 7,
    "method": "percentile",
    "per_channel": False,
    "residual": True,
    "keep_layers": "2",
    "min_sqnr_db": 30.0,
    "max_drop": 0.1,
    "labels": Path("y.npy"),
    "scales": Path("s.json"),
    "calibration_cache": Path("c"),
}
# What each precision has no use for, written out by hand.
EIGHT = {"method", "per_channel", "residual", "keep_layers", "min_sqnr_db", "max_drop", "calibration_cache"}
UNUSED = {
    "fp16": EIGHT | {"labels"},
    "int4": EIGHT | {"labels"},
    "bf16": EIGHT | {"labels", "data", "scales", "samples", "recipe"},
    "int8": set(),
    "int8+fp16": set(),
    "fp8": {"calibration_cache"},
}


def test_the_table_here_has_every_option_and_precision():
    assert ALL.keys() | {"precision", "relegalize"} == {item.name for item in fields(QuantizeConfig)}
    assert UNUSED.keys() == set(PRECISIONS[1:])
    for name, value in ALL.items():
        assert value != getattr(QuantizeConfig(), name)


@pytest.mark.parametrize("precision", UNUSED)
def test_what_has_no_use(precision):
    assert unused(QuantizeConfig(precision, **ALL)).keys() == UNUSED[precision]
    assert unused(QuantizeConfig(precision)) == {}


def test_what_says_how_data_is_read_has_no_use_without_data():
    for precision in CALIBRATED:
        found = unused(QuantizeConfig(precision, **(ALL | {"data": None, "calibration_cache": None})))
        assert found.keys() == {"samples", "recipe", "labels"}
    assert unused(QuantizeConfig("int8", data="x", labels=Path("y"))).keys() == {"labels"}
    assert unused(QuantizeConfig("int8", data="x", labels=Path("y"), max_drop=0.0)) == {}


def test_mending_has_a_use_for_nothing_else():
    assert unused(QuantizeConfig("int8", relegalize=True, **ALL)).keys() == ALL.keys()
    assert unused(QuantizeConfig("int8", relegalize=True)) == {}


@given(st.sampled_from(PRECISIONS[1:]), st.booleans(), st.sets(st.sampled_from(sorted(ALL))))
def test_what_fits_is_used_to_the_last_option(precision, mends, names):
    asked = replace(QuantizeConfig(precision, relegalize=mends), **{name: ALL[name] for name in names})
    found = fitting(asked)
    assert unused(found) == {}
    assert (found.precision, found.relegalize) == (precision, mends)
    for name in ALL.keys() - unused(asked).keys():
        assert getattr(found, name) == getattr(asked, name)


def test_the_first_that_has_no_use_is_named_with_its_reason(small_onnx, tmp_path):
    says = r"expected no --no-per-channel here, found it: it belongs to int8, int8\+fp16, fp8, not to fp16"
    with pytest.raises(UsageError, match=says):
        quantize(small_onnx, tmp_path / "q.onnx", QuantizeConfig("fp16", per_channel=False))
    assert list(tmp_path.iterdir()) == []


RECIPE = """
[quantize]
precision = "int8"
method = "max"
keep_layers = "auto"
min_sqnr_db = 20.0
samples = 8
"""


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8+fp16", "fp8", "int4"])
def test_a_recipe_for_int8_deploys_in_another_precision(small_onnx, small_data, tmp_path, precision):
    """What the recipe says of 8 bits does not stand in the way of the others, and stays for those that have 8."""
    (tmp_path / "r.toml").write_text(RECIPE)
    config = DeployConfig(target="cpu", recipe=str(tmp_path / "r.toml"), data=str(small_data), precision=precision)
    asked = make_plan(str(small_onnx), tmp_path, config).quantize_config()
    assert asked.precision == precision
    assert unused(asked) == {}
    of_eight = (asked.method, asked.keep_layers, asked.min_sqnr_db)
    assert of_eight == (("max", "auto", 20.0) if precision in CALIBRATED else ("auto", None, None))
    assert asked.samples == (512 if precision == "bf16" else 8)


def called_twice(path: Path, first: np.ndarray, second: np.ndarray) -> Path:
    """x -> MatMul -> Relu -> MatMul -> Relu -> y: a function of two nodes, called twice, at opset 11."""
    opset = onnx.helper.make_opsetid("", 11)
    body = [graphs.node("MatMul", "a w", "p"), graphs.node("Relu", "p", "b")]
    layer = onnx.helper.make_function("house", "Layer", ["a", "w"], ["b"], body, [opset])
    calls = [
        graphs.node("Layer", "x first", "h", domain="house"),
        graphs.node("Layer", "h second", "y", domain="house"),
    ]
    stored = [onnx.numpy_helper.from_array(first, "first"), onnx.numpy_helper.from_array(second, "second")]
    ends = [graphs.value("x", "batch", len(first))], [graphs.value("y", "batch", second.shape[1])]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(calls, "g", *ends, stored),
        opset_imports=[opset, onnx.helper.make_opsetid("house", 1)],
        functions=[layer],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("precision", "stored", "least_db"), [("int8", "int8", 30), ("int8+fp16", "int8", 30), ("fp16", "float16", 60)]
)
def test_layers_inside_of_a_function_are_quantized(tmp_path, precision, stored, least_db):
    """Against float64: onnx's converter of opsets forgets functions, and no pass would find the layers in one."""
    random = np.random.default_rng(0)
    first, second, x = (random.normal(size=size).astype(np.float32) for size in ((8, 16), (16, 4), (64, 8)))
    np.savez(tmp_path / "x.npz", x=x)
    source = called_twice(tmp_path / "m.onnx", first, second)
    report = quantize(source, tmp_path / "q.onnx", QuantizeConfig(precision, data=str(tmp_path / "x.npz")))
    made = onnx.load(report.path)
    assert not made.functions
    assert {item.domain for item in made.graph.node} == {""}
    assert [graphs.count(made, name) for name in ("MatMul", "Relu")] == [2, 2]
    assert {str(weight.dtype) for weight in graphs.weights_of(made).values() if weight.ndim == 2} == {stored}
    (found,) = outputs_of(report.path, [{"x": x}])
    meter = Sqnr()
    meter.add(np.maximum(np.maximum(x.astype(np.float64) @ first, 0) @ second, 0), found["y"])
    assert meter.db() > least_db
