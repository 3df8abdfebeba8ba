"""What `check` says of LSTM, GRU and RNN, on targets whose TensorRT is not here and on the one that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from edgekit.check import CheckReport, check  # noqa: E402
from edgekit.configs import BuildConfig, CheckConfig  # noqa: E402
from edgekit.errors import BuildError, ShapeError, TargetError  # noqa: E402
from tests.check.recurrent_models import inside_an_if, recurrent  # noqa: E402

SHAPES = ("x:16x1x40", "lengths:1")
ORIN = CheckConfig("jetpack6", device="agx-orin-64", shape=SHAPES)


def checked(folder: Path, model: onnx.ModelProto, config: CheckConfig = ORIN) -> CheckReport:
    onnx.save(model, folder / "lstm.onnx")
    return check(folder / "lstm.onnx", config)


@pytest.mark.slow
def test_half_precision_with_lengths_on_an_orin(tmp_path):
    """The first build of the emulator, whose launch plan is asked, takes half a minute."""
    report = checked(tmp_path, recurrent(half=True))
    (node,) = report.nodes
    assert (node.outcome, node.precision, report.exit_code) == ("plugin", "fp16", 0)
    assert node.reason.startswith("EdgekitLSTM covers it with FP16 weights: H = 256 takes 16 CTAs for eight rows")
    assert node.reason.endswith("the native importer refuses FP16 with lengths")
    without = checked(tmp_path, recurrent(half=True), replace(ORIN, plugins="off"))
    (node,) = without.nodes
    assert (node.outcome, node.precision, without.exit_code) == ("refused", "fp16", 6)
    assert node.reason == "the native importer refuses FP16 with lengths"
    assert node.remedy == "keep it in FP32, as `edgekit quantize --precision fp16` does"


@pytest.mark.slow
def test_in_fp32_it_is_a_loop_and_the_rest_is_told_all_the_same(tmp_path):
    report = checked(tmp_path, recurrent())
    (node,) = report.nodes
    assert (node.outcome, node.precision, report.exit_code) == ("plugin", "fp32", 0)
    for words in ("a loop of 16 steps", "in FP16 the importer refuses it, since it has lengths", "takes 16 CTAs"):
        assert words in node.reason
    (native,) = checked(tmp_path, recurrent(), replace(ORIN, plugins="off")).nodes
    assert (native.outcome, "4490" in native.source) == ("loop", True)


@pytest.mark.slow
def test_weights_that_do_not_fit_and_another_device(tmp_path):
    (large,) = checked(tmp_path, recurrent(hidden=1024)).nodes
    assert (
        "EdgekitLSTM does not cover it on agx-orin-64: expected recurrent weights that fit on the chip" in large.reason
    )
    nano = CheckConfig("jetpack6", device="orin-nano-8", shape=SHAPES)
    assert large.outcome == "loop"
    (small,) = checked(tmp_path, recurrent(hidden=128, half=True), nano).nodes
    assert "H = 128 takes 1 CTA" in small.reason


def test_what_our_kernel_does_not_compute(tmp_path):
    peepholes = checked(tmp_path, recurrent(peepholes=True)).nodes[0]
    assert "EdgekitLSTM does not cover it: it has peepholes" in peepholes.reason
    odd = recurrent(activations=["HardSigmoid", "Tanh", "Tanh"])
    assert "its activations are HardSigmoid, Tanh, Tanh" in checked(tmp_path, odd).nodes[0].reason


def test_without_a_device_no_plan_is_asked(tmp_path):
    config = CheckConfig("jetpack6", shape=SHAPES)
    assert "--device says whether its weights fit" in checked(tmp_path, recurrent(), config).nodes[0].reason


def test_a_recurrence_inside_an_if_is_found(tmp_path):
    report = checked(tmp_path, inside_an_if(recurrent(half=True)), CheckConfig("jetpack6", shape=SHAPES))
    found = {node.node: node.outcome for node in report.nodes}
    assert found == {"branch": "parses", "If.then_branch/steps": "refused", "If.else_branch/zero": "parses"}
    assert report.exit_code == 6


def test_a_device_of_another_target_and_an_open_axis_are_errors(tmp_path):
    with pytest.raises(TargetError, match=r"expected a device of target jetpack7\.0, found agx-orin-64"):
        checked(tmp_path, recurrent(), CheckConfig("jetpack7.0", device="agx-orin-64", shape=SHAPES))
    with pytest.raises(ShapeError, match="--shape x:1xbatchx40"):
        checked(tmp_path, recurrent(), CheckConfig("jetpack6"))


@pytest.fixture
def rtx() -> BuildConfig:
    pytest.importorskip("tensorrt_rtx", reason="its parser and builder are asked")
    return BuildConfig("rtx", ("8.6",), shape=SHAPES)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(("half", "lengths"), [(True, True), (True, False), (False, True)])
def test_tensorrt_itself_says_the_same(tmp_path, rtx, op, half, lengths):
    """The rule that is told of other targets, on the TensorRT that is here; and `build` agrees."""
    from edgekit.build import build

    shapes = SHAPES if lengths else SHAPES[:1]
    report = checked(
        tmp_path, recurrent(op, 64, lengths, half), CheckConfig("rtx", compute_capability=("8.6",), shape=shapes)
    )
    refused = half and lengths
    assert [node.outcome for node in report.nodes] == ["refused" if refused else "loop"]
    assert report.exit_code == (6 if refused else 0)
    config = BuildConfig("rtx", ("8.6",), shape=shapes)
    if refused:
        assert report.nodes[0].reason == "the native importer refuses FP16 with lengths"
        with pytest.raises(BuildError):
            build(tmp_path / "lstm.onnx", tmp_path / "a.engine", config)
    else:
        assert report.shares == {"fp16" if half else "fp32": 1.0}
        build(tmp_path / "lstm.onnx", tmp_path / "a.engine", config)
