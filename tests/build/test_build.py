"""ONNX -> engine with TensorRT-RTX itself, which builds without a GPU."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engines of these tests")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import BuildError, EdgekitError, ShapeError, TargetError  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.targets import target  # noqa: E402

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
FAST = ("light_squeezenet", "light_bvlc_alexnet")


def test_an_engine_with_its_report(small_onnx, tmp_path):
    half = quantize(small_onnx, tmp_path / "half.onnx", QuantizeConfig("fp16")).path
    report = build(half, tmp_path / "a.engine", BuildConfig("rtx", ("8.6", "8.9"), ("image:2x3x8x8:4x3x8x8:6x3x8x8",)))
    assert report.compute_capabilities == ("8.6", "8.9")
    assert report.shapes == ("image:2x3x8x8:4x3x8x8:6x3x8x8",)
    assert (tmp_path / "a.engine").stat().st_size == report.bytes
    assert {layer.dtype for layer in report.layers if layer.kind == "correlation"} == {"fp16"}
    assert any("conv" in layer.nodes for layer in report.layers)
    assert json.loads((tmp_path / "a.engine.json").read_text())["layers"][0]["name"] == report.layers[0].name


def test_two_profiles_in_one_engine(small_onnx, tmp_path):
    """A range given twice makes two profiles; TensorRT-RTX takes them, and the engine holds both."""
    shapes = ("image:1x3x8x8", "image:2x3x8x8:4x3x8x8:8x3x8x8")
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx", ("8.6",), shape=shapes))
    assert report.shapes == ("image:1x3x8x8:1x3x8x8:1x3x8x8", shapes[1])
    one = build(small_onnx, tmp_path / "b.engine", BuildConfig("rtx", ("8.6",), shape=shapes[1:]))
    assert one.sha256 != report.sha256


def test_a_timing_cache_means_nothing_to_rtx(small_onnx, tmp_path):
    config = BuildConfig("rtx", ("8.6",), timing_cache=tmp_path / "timing.cache")
    assert "measures no kernels" in build(small_onnx, tmp_path / "a.engine", config).warnings[0]
    assert not (tmp_path / "timing.cache").exists()


def test_two_builds_are_bit_identical(small_onnx, tmp_path):
    digests = {build(small_onnx, tmp_path / name, BuildConfig("rtx", ("8.6",))).sha256 for name in ("a", "b")}
    assert len(digests) == 1


def test_for_the_cpu_the_engine_is_the_onnx(small_onnx, tmp_path):
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("cpu"))
    assert report.path.read_bytes() == small_onnx.read_bytes()
    assert (report.flavour, report.compute_capabilities, report.layers) == ("ort", (), ())


@pytest.mark.parametrize("path", [
    pytest.param(path, marks=[] if path.stem in FAST else pytest.mark.slow, id=path.stem) for path in LIGHT
])  # fmt: skip
def test_foreign_models_build(path, tmp_path):
    """Weights from ConstantOfShape, initializers listed as inputs, names with a slash, opset 9."""
    half = quantize(path, tmp_path / "half.onnx", QuantizeConfig("fp16")).path
    for source in (path, half):
        assert build(source, tmp_path / "a.engine", BuildConfig("rtx", ("8.6",))).bytes > 100_000


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (BuildConfig("jetpack6"), "expected TensorRT 10.3 to build for target jetpack6"),
        (BuildConfig("desktop"), "expected TensorRT 10 or 11"),
        (BuildConfig("rtx", ("8.7",)), "with one of 7.5, 8.0, 8.6"),
        (BuildConfig("cpu", ("8.6",)), "expected no compute capability for target cpu"),
    ],
)
def test_what_cannot_be_built_here(small_onnx, tmp_path, config, says):
    with pytest.raises(TargetError) as error:
        build(small_onnx, tmp_path / "a.engine", config)
    assert error.value.exit_code == 6
    assert says in str(error.value)
    assert list(tmp_path.iterdir()) == []


def model(op: str, domain: str, **attributes) -> onnx.ModelProto:
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 4]) for name in "xy")
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], "culprit", domain=domain, **attributes)], "g", [x], [y]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("house", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_a_refused_node_is_named(tmp_path):
    onnx.save(model("Unheard", "house"), tmp_path / "m.onnx")
    with pytest.raises(BuildError) as error:
        build(tmp_path / "m.onnx", tmp_path / "a.engine", BuildConfig("rtx"))
    assert "'culprit' (Unheard)" in str(error.value)
    with pytest.raises(EdgekitError, match="onnxruntime refuses"):
        build(tmp_path / "m.onnx", tmp_path / "a.engine", BuildConfig("cpu"))
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_ctrl_c_inside_tensorrt_stops_it(small_onnx, tmp_path):
    def interrupted(what: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx"), interrupted)
    assert list(tmp_path.iterdir()) == []


def test_the_digest_and_the_default_gpus_are_reported(small_onnx, tmp_path):
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx"))
    assert report.sha256 == hashlib.sha256((tmp_path / "a.engine").read_bytes()).hexdigest()
    assert json.loads((tmp_path / "a.engine.json").read_text())["sha256"] == report.sha256
    assert report.compute_capabilities == target("rtx").default_compute_capabilities
    assert "fp16" not in {layer.dtype for layer in report.layers}


def relu(path: Path, shape: list, **ranges: object) -> Path:
    """x -> Relu -> y with these axes, and with the metadata that edgekit's export leaves."""
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "relu")], "g", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    for key, value in ranges.items():
        made.metadata_props.add(key=f"edgekit.{key}", value=json.dumps(value))
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("kind", ["cpu", "rtx"])
@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("y:1x2x4", "no input 'y'"),
        ("x:1x4", "expected 3 axes for x"),
        ("x:1x2x5", "axis 2 of x is fixed at 4, found 5"),
        ("x:8x2x4:4x2x4:1x2x4", "0 <= min <= opt <= max"),
        ("x:1xtwox4", "--shape name:1x3x224x224"),
        (None, "--shape x:1xtimex4"),
    ],
)
def test_a_shape_that_does_not_fit_writes_nothing(tmp_path, kind, shape, says):
    source = relu(tmp_path / "m.onnx", ["batch", "time", 4])
    with pytest.raises(ShapeError) as error:
        build(source, tmp_path / "a.engine", BuildConfig(kind, shape=(shape,) if shape else ()))
    assert says in str(error.value)
    assert list(tmp_path.iterdir()) == [source]


def test_the_exports_metadata_gives_the_ranges(tmp_path):
    source = relu(tmp_path / "m.onnx", ["batch", "time", 4], ranges={"time": [2, 3, 5]})
    assert build(source, tmp_path / "a.engine", BuildConfig("rtx", ("8.6",))).shapes == ("x:1x2x4:1x3x4:8x5x4",)


@pytest.mark.parametrize(
    "ranges", [{"batch": [1, 2]}, {"batch": ["1", "2", "3"]}, {"batch": 5}, {"batch": [8, 4, 1]}, "batch", ["batch"], 7]
)
def test_metadata_that_is_no_range_is_an_error_of_one_line(tmp_path, ranges):
    with pytest.raises(EdgekitError) as error:
        build(relu(tmp_path / "m.onnx", ["batch", 4], ranges=ranges), tmp_path / "a.engine", BuildConfig("cpu"))
    assert "\n" not in str(error.value)
    assert "batch" in str(error.value) or "edgekit.ranges" in str(error.value)


AFTER_A_FAILURE = """
import gc, pathlib, sys
from edgekit.build import build
from edgekit.configs import BuildConfig
from edgekit.errors import BuildError
gc.disable()
refused, good, out = map(pathlib.Path, sys.argv[1:])
try:
    build(refused, out, BuildConfig("rtx"))
except BuildError as error:
    error.itself = error  # a cycle, as debuggers and test runners make: only the collector ends it
sys.setprofile(lambda frame, event, _: gc.collect() if (event, frame.f_code.co_name) == ("call", "log") else None)
print(build(good, out, BuildConfig("rtx", ("8.6",))).bytes)
"""


def test_a_build_after_a_failed_one_does_not_hang(small_onnx, tmp_path):
    """TensorRT logs while it holds its lock; a failed build's builder that is collected there would wait for it."""
    onnx.save(model("Unheard", "house"), tmp_path / "m.onnx")
    command = [sys.executable, "-c", AFTER_A_FAILURE, tmp_path / "m.onnx", small_onnx, tmp_path / "a.engine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) == (tmp_path / "a.engine").stat().st_size


def test_a_device_gives_its_compute_capability_and_contradicts_another(small_onnx, tmp_path):
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx", device="rtx-4090"))
    assert report.compute_capabilities == ("8.9",)
    twice = BuildConfig("rtx", ("8.9", "8.9"), device="rtx-4090")
    assert build(small_onnx, tmp_path / "a.engine", twice).compute_capabilities == ("8.9",)
    with pytest.raises(TargetError, match=r"expected a compute capability of rtx-4090, 8\.9, found 8\.6"):
        build(small_onnx, tmp_path / "b.engine", BuildConfig("rtx", ("8.6",), device="rtx-4090"))


def test_what_a_library_writes_to_standard_error_is_kept_away(small_onnx, tmp_path, capfd, monkeypatch):
    """TensorRT's compiler prints there, past its logger; Python's own sys.stderr is shown."""
    from edgekit.build import engine

    real = engine._built

    def noisy(*arguments):
        os.write(2, b"Internal Error: from C++")
        print("progress", file=sys.stderr, flush=True)
        return real(*arguments)

    monkeypatch.setattr(engine, "_built", noisy)
    build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx", ("8.6",)))
    os.write(2, b"afterwards")
    assert "from C++" not in (said := capfd.readouterr().err)
    assert "afterwards" in said
