"""The TensorRT wrappers of plugins/trt/ on the emulated kernels, driven by a program that plays TensorRT.

TensorRT's headers are not of this repository: EDGEKIT_TENSORRT_ROOTS names some, a colon between, or TENSORRT_ROOT one.
What the kernels compute is judged elsewhere; here that the wrappers hand them what a node says, against NumPy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import reference
from edgekit.errors import TargetError
from edgekit.plugins import building
from edgekit.plugins.attention import stored, widened
from edgekit.plugins.operators import FLOAT, INT, NAMESPACE, OPERATORS, PLUGIN_VERSION, TEXT
from edgekit.reference import Attention
from edgekit.resources import resource
from tests.plugins.formulas import KINDS, computed
from tests.plugins.recurrent_cases import made
from tests.plugins.trt_cases import (
    ATTENTIONS,
    REAL,
    WRONG_ATTENTIONS,
    WRONG_INPUTS,
    F,
    Harness,
    attention,
    attention_case,
    changed,
    query,
    recurrent,
    recurrent_case,
)

REASON = "TensorRT's headers were not found: set TENSORRT_ROOT"
NAMED = os.environ.get("EDGEKIT_TENSORRT_ROOTS") or os.environ.get("TENSORRT_ROOT") or building.find_tensorrt() or ""
ROOTS = [root for root in str(NAMED).split(":") if root]
# FP16 and INT8 weights: h is rounded to FP16 in each step.
CLOSE = {"FP32": 5e-6, "FP16": 4e-3, "BF16": 3e-2, "INT8": 4e-3, "packed": 4e-3}


@pytest.fixture(scope="session", params=ROOTS or [""], ids=lambda root: Path(root).name)
def built(request: pytest.FixtureRequest, emulator_library: Callable[[], Path], workshop: building.Workshop) -> Path:
    """The harness for one version of TensorRT."""
    if not request.param:
        pytest.skip(REASON)
    folder = workshop.cache / ("trt-" + request.param.strip("/").replace("/", "-"))
    options = {"EDGEKIT_EMULATOR": "OFF", "EDGEKIT_HARNESS": str(emulator_library()), "TENSORRT_ROOT": request.param}
    log = folder.with_suffix(".log")
    with building.locked(folder.with_suffix(".lock")):
        said = building.cmake_build(folder, resource("plugins"), options, "trt_harness", log)
    assert "warning" not in said.lower()
    return folder


def headers_of(built: Path) -> Path:
    """What CMake has found."""
    cache = (built / "CMakeCache.txt").read_text()
    return Path(cache.partition("EDGEKIT_TENSORRT_INCLUDE:PATH=")[2].partition("\n")[0])


@pytest.fixture
def harness(built: Path, tmp_path: Path) -> Harness:
    return Harness(built, tmp_path)


def test_the_creators_are_the_operators(harness):
    types = {INT: "int", FLOAT: "float", TEXT: "text"}
    wanted = [
        " ".join([op.name, PLUGIN_VERSION, NAMESPACE, *(f"{name}:{types[t]}" for name, t in op.attributes.items())])
        for op in OPERATORS.values()
    ]
    assert harness.ask().stdout.splitlines() == wanted


def test_the_library_needs_nothing_of_tensorrt_and_shows_what_it_looks_for(harness):
    library = harness.folder / "libedgekit_trt.so"
    found = {}
    for which in ("undefined", "defined"):
        said = subprocess.run(["nm", "-D", f"--{which}-only", library], capture_output=True, text=True, check=True)
        found[which] = {line.split()[-1] for line in said.stdout.splitlines()}
    assert found["defined"] == {"getCreators", "setLoggerFinder"}
    assert "ek_device_current" in found["undefined"]
    assert not [name for name in found["undefined"] if "nvinfer" in name.lower() or name.startswith(("cuda", "getP"))]


@pytest.mark.parametrize("weights", ["FP32", "FP16", "INT8", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_recurrent_layers_at_two_batches_and_two_lengths(harness, kind, weights):
    stored_as = "INT8" if weights == "packed" else weights
    for direction, full in product(reference.DIRECTIONS, (True, False)):
        more = {"direction": direction, "clip": 1.5 if full else 0.0}
        more |= {} if full else {"h0": None, **({"c0": None} if kind == "LSTM" else {})}
        lengths = [np.array(some, np.int32) if full else None for some in ([5, 0, 2], [1])]
        first = made(kind, 5, 3, 12, stored_as, lengths=lengths[0], **more)
        second = made(kind, 2, 1, 12, stored_as, lengths=lengths[1], **more)
        _, found = harness.run(recurrent_case(first, second, weights=weights))
        wanted = [*computed(reference, first), *computed(reference, second)]
        for one, exact in zip(found, wanted, strict=True):
            assert one.shape == exact.shape
            np.testing.assert_allclose(one, exact, atol=CLOSE[weights], rtol=0)


@pytest.mark.parametrize("kind", ["FP32", "FP16", "BF16"])
@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_at_two_batches_and_two_lengths(harness, name, kind):
    ops, capacity = ATTENTIONS[name]
    same = {n: getattr(ops[0], n) for n in ("causal", "scale", "softcap", "window_left", "at_end")}
    ops = [replace(op, **same) for op in ops]
    for bias in {"FP32", kind}:
        _, found = harness.run(attention_case(ops, kind, bias=bias, capacity=capacity))
        for op, outputs in zip(ops, (found[:3], found[3:]), strict=True):
            check_attention(outputs, reference.attention(op), kind, capacity)


def check_attention(found: list[np.ndarray], wanted: reference.AttentionOutputs, kind: str, capacity: int) -> None:
    assert found[0].shape == wanted.o.shape
    np.testing.assert_allclose(found[0], wanted.o, atol=CLOSE[kind], rtol=0)
    for one, exact in zip(found[1:], wanted[1:], strict=True):
        if exact is None:
            assert one.shape == (0,)
            continue
        rows = exact.shape[2]
        assert one.shape[2] == (capacity or rows)
        np.testing.assert_array_equal(one[:, :, :rows], widened(stored(exact, kind), kind))
        assert np.isnan(one[:, :, rows:]).all(), "behind what is new a cache in place stays"


def test_the_workspace_is_enough_for_every_smaller_shape(harness):
    """It is exactly as large as asked for, and both need more than at the largest shape."""
    op = made("RNN, tanh", 1, 32, 129, "FP32", direction="forward")
    small = made("RNN, tanh", 1, 24, 129, "FP32", direction="forward")
    bytes_, found = harness.run(recurrent_case(small, bounds=[recurrent(op)], device=(75, 6)))
    assert bytes_ == 27660, "18440 for 32 rows"
    np.testing.assert_allclose(found[0], reference.rnn(small).y, atol=1e-5)

    prompt, token = query(8, 300, 300, past=300), query(1, 1, 1, past=299)
    bytes_, found = harness.run(attention_case([token], "FP16", bounds=[attention(prompt, "FP16")]))
    assert bytes_ > 0, "a prompt of this length fills the device and needs none"
    np.testing.assert_allclose(found[0], reference.attention(token).o, atol=CLOSE["FP16"])


def test_the_types_that_go_together(harness):
    """All of them, of tensors whose shapes do not say more."""
    op = made("LSTM", 2, 1, 12, "INT8", direction="forward")

    def of(op: Any, weights: str) -> list[str]:
        return harness.ask("formats", harness.file(recurrent_case(op, weights=weights))).stdout.splitlines()

    tail = "FP32 INT32 FP32 FP32 FP32 FP32 FP32"
    assert of(op, "INT8") == [f"FP32 INT8 {tail}"]
    assert of(op, "packed") == [f"FP32 INT32 {tail}"]
    assert of(replace(op, r_scale=None), "INT8") == [f"FP32 FP32 {tail}", f"FP32 FP16 {tail}"]

    def attentions(op: Attention) -> set[str]:
        return set(harness.ask("formats", harness.file(attention_case([op], "FP32"))).stdout.splitlines())

    cached, types = query(1, 2, 2, past=3), ("FP32", "FP16", "BF16")
    one_type = {f"{t} {t} {t} {bias} INT32 {t} {t} INT32 {t} {t} {t}" for t in types for bias in {t, "FP32"}}
    assert attentions(cached) == one_type
    several = {
        f"{t} {t} {t} {bias} INT32 {k} {v} INT32 {t} {t} {t}"
        for t in types
        for bias, k, v in product({t, "FP32"}, repeat=3)
    }
    assert attentions(query(1, 2, 2)) == several


LSTM = made("LSTM", 2, 3, 12, "INT8", direction="forward", lengths=np.array([2, 1, 0], np.int32))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_size": None}, "expected a field hidden_size, found none"),
        ({"hidden_size": 0}, "expected hidden_size of at least 1, found 0"),
        ({"hidden_size": 12.0}, "expected hidden_size to be one INT32, found one FLOAT32"),
        ({"hidden_size": (12, 13)}, "expected hidden_size to be one INT32, found 2 of them"),
        ({"clip": "1"}, "expected clip to be one FLOAT32, found a text"),
        ({"clip": -1.0}, "expected a clip of 0 (none) or more, found -1.000000"),
        ({"direction": "both"}, "expected direction to be one of forward, reverse, bidirectional, found 'both'"),
        ({"layout": 0}, "expected fields of hidden_size, direction, clip, found 'layout'"),
    ],
)
def test_a_wrong_field_makes_no_plugin_and_is_logged(harness, fields, said):
    case = recurrent_case(LSTM, weights="INT8")
    given = {name: value for name, value in {**case.fields, **fields}.items() if value is not None}
    call, log = harness.refusal(replace(case, fields=given))
    assert (call, log) == ("createPlugin", f"EdgekitLSTM, a node: {said}")


@pytest.mark.parametrize(
    ("op", "fields", "said"),
    [
        ("RNN, relu", {"activation": "sigmoid"}, "expected activation to be one of tanh, relu, found 'sigmoid'"),
        ("GRU", {"linear_before_reset": 2}, "expected linear_before_reset to be 0 or 1, found 2"),
        ("", {"in_place": -1}, "expected in_place to be 0 or 1, found -1"),
        ("", {"window_left": -2}, "expected windows of -1 (none) or more, found -2 and -1"),
        ("", {"softcap": float("nan")}, "expected a softcap of 0 (none) or more, found nan"),
        ("", {"scale": float("inf")}, "expected a finite scale, found inf"),
    ],
)
def test_so_is_that_of_each_operator(harness, op, fields, said):
    case = recurrent_case(made(op, 1, 1, 12)) if op else attention_case([query(1, 1, 1)], "FP32")
    call, log = harness.refusal(replace(case, fields={**case.fields, **fields}))
    assert (call, log) == ("createPlugin", f"{case.op}, a node: {said}")


@pytest.mark.parametrize(("index", "kind", "array", "call", "said"), WRONG_INPUTS)
def test_wrong_shapes_and_types_of_a_layer_are_refused(harness, index, kind, array, call, said):
    case = recurrent_case(LSTM, weights="INT8")
    wrong = replace(case, runs=[changed(index, kind, array, list(case.runs[0]))])
    done = harness.ask("run", harness.file(wrong), harness.tmp / "results")
    logged = [f"log: EdgekitLSTM, getOutputShapes: {said}"] if said else []
    assert (done.returncode, done.stdout.splitlines()) == (3, [*logged, f"refused: {call}"])


@pytest.mark.parametrize(("case", "call", "said"), WRONG_ATTENTIONS)
def test_wrong_attentions_are_refused(harness, case, call, said):
    assert harness.refusal(case) == (call, f"EdgekitAttention, {call.split()[0]}: {said}")


def test_what_only_a_run_shows_is_refused_then(harness):
    """The engine is built for any batch; one run has two of them."""
    runs = [recurrent(made("GRU", 2, batch, 12, direction="forward")) for batch in (3, 2)]
    wrong = replace(recurrent_case(made("GRU", 1, 1, 12, direction="forward")), runs=runs)
    harness.run(wrong)
    runs[1] = changed(4, *runs[0][4], runs[1])
    runs[0] = changed(4, *recurrent(made("GRU", 2, 4, 12, direction="forward"))[4], runs[0])
    call, log = harness.refusal(replace(wrong, runs=runs))
    assert (call, log) == ("onShapeChange 2", "EdgekitGRU, onShapeChange: expected h0 of [1,3,12], found [1,4,12]")


def test_a_layer_that_does_not_fit_on_the_device_is_refused_by_its_reason(harness):
    large = reference.LSTM(xproj=np.zeros((1, 1, 1, 2400), F), r=np.zeros((1, 2400, 600), F))
    call, log = harness.refusal(recurrent_case(large, device=(87, 8)))
    assert call == "configurePlugin 1"
    assert "expected recurrent weights that fit on the chip, found 600 hidden units in FP32" in log


def test_another_number_of_inputs_is_refused(harness):
    case = recurrent_case(LSTM, weights="INT8")
    call, log = harness.refusal(replace(case, runs=[case.runs[0][:5]]))
    assert (call, log) == (
        "getOutputShapes 2",
        "EdgekitLSTM, getOutputShapes: expected 6 inputs and 3 outputs, found 5 and 3",
    )


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"hidden_size": 12, "direction": "reverse", "clip": 1.5}, "Successfully created plugin: EdgekitLSTM"),
        ({"hidden_size": 12, "direction": "both"},
         "EdgekitLSTM, a node: expected direction to be one of forward, reverse, bidirectional, found 'both'\n"),
        ({"hidden_size": 12, "clip": 1},
         "EdgekitLSTM, a node: expected clip to be one FLOAT32, found one INT32\n"),
    ],
)  # fmt: skip
def test_a_real_parser_makes_the_plugin_of_a_node(built, attributes, said):
    """Or its logger is told why not. TensorRT-RTX 1.x has the classes of TensorRT 11."""
    pytest.importorskip("tensorrt_rtx")
    if not building.tensorrt_version(headers_of(built)).startswith("11."):
        pytest.skip("TensorRT-RTX loads what was built with the headers of TensorRT 11")
    command = [sys.executable, "-c", REAL, built / "libedgekit_trt.so", json.dumps(attributes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said in done.stdout, done.stdout + done.stderr
    assert ("parsed False" in done.stdout) == said.endswith("\n")


@pytest.mark.slow  # nvcc
def test_the_wrappers_are_in_the_library_for_a_gpu(built, workshop, monkeypatch):
    monkeypatch.setenv("TENSORRT_ROOT", str(headers_of(built)))
    try:
        library = building.build_plugins((87,), workshop=workshop)
    except TargetError as error:
        pytest.skip(f"needs nvcc: {error}")
    said = {
        which: subprocess.run(["nm", "-D", f"--{which}-only", library], capture_output=True, text=True).stdout
        for which in ("defined", "undefined")
    }
    names = {line.split()[-1] for line in said["defined"].splitlines()}
    assert {"getCreators", "setLoggerFinder", "ek_lstm_launch"} <= names
    assert all(name.startswith("ek_") for name in names - {"getCreators", "setLoggerFinder"})
    assert "nvinfer" not in said["undefined"].lower()
    assert building.read_report(library)["tensorrt"] == building.tensorrt_version(headers_of(built))
    assert "warning" not in library.parent.with_suffix(".log").read_text().lower()


def test_headers_that_are_named_have_to_be_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORRT_ROOT", str(tmp_path))
    with pytest.raises(TargetError, match=r"expected TensorRT's headers in TENSORRT_ROOT, found no NvInferRuntime\.h"):
        building.find_tensorrt()
    (tmp_path / "include").mkdir()
    (tmp_path / "include/NvInferRuntime.h").write_text("")
    found = building.find_tensorrt()
    assert found == tmp_path / "include"
    assert building.tensorrt_version(found) == "unknown"
    (found / "NvInferVersion.h").write_text("#define NV_TENSORRT_MAJOR 10 //\n#define NV_TENSORRT_MINOR 3 //\n")
    assert building.tensorrt_version(found) == "10.3"
