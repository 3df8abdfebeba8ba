"""Which options belong to which precision, and what a recipe for one is worth for another."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnx")

from edgekit.configs import CALIBRATED, PRECISIONS, DeployConfig, QuantizeConfig
from edgekit.deploy.plan import make_plan
from edgekit.errors import UsageError
from edgekit.quantize import fitting, quantize
from edgekit.quantize.making import unused

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
