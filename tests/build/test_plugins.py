"""Which nodes of an engine become edgekit's operators, on a stand-in for TensorRT and the emulator's launch plans."""

from __future__ import annotations

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from edgekit.build import build, plugins  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402
from edgekit.errors import BuildError, TargetError  # noqa: E402
from edgekit.files import sha256_of  # noqa: E402
from edgekit.plugins.abi import Library  # noqa: E402
from edgekit.plugins.coverage import library_for_plans  # noqa: E402
from tests.build.test_attention import model as attention  # noqa: E402
from tests.build.test_attention import shapes_of  # noqa: E402
from tests.check.recurrent_models import recurrent  # noqa: E402

pytestmark = pytest.mark.slow  # the emulator is built once, in half a minute
SHAPES = ("x:16x1x40", "lengths:1")


@pytest.fixture
def orin(monkeypatch) -> Path:
    """A machine with a library of edgekit's kernels and the GPU of an AGX Orin, as far as launch plans can tell."""
    library = library_for_plans()
    monkeypatch.setattr(plugins, "find_library", lambda kind: library.path)
    monkeypatch.setattr(plugins, "read_report", lambda path: {"tensorrt": "10.3"})
    monkeypatch.setattr(Library, "current_device", lambda self: self.device(87, 16))
    return library.path


def parsed(asked) -> list[tuple[str, str]]:
    return [(node.domain, node.op_type) for node in onnx.load_model_from_string(asked["model"]).graph.node]


def built(folder: Path, model: onnx.ModelProto, **options):
    onnx.save(model, folder / "m.onnx")
    return build(folder / "m.onnx", folder / "m.engine", BuildConfig("jetpack6", shape=SHAPES, **options))


def test_a_recurrence_is_taken_and_the_library_loaded_first(tmp_path, orin, with_tensorrt):
    asked = with_tensorrt("10.3.0")
    report = built(tmp_path, recurrent(half=True))
    assert asked["library"] == str(orin)
    assert ("edgekit", "EdgekitLSTM") in parsed(asked)
    assert "1 of 1 recurrent nodes became edgekit's operators" in report.warnings
    # The multiply-adds are those of the LSTM: 16 steps, 1024 gates, of 40 inputs and 256 states.
    assert report.compute.total_macs == 16 * 1024 * (40 + 256)
    assert report.compute.shares == {"fp16": 1.0}
    assert (report.plugins, report.plugins_sha256) == (orin, sha256_of(orin))
    assert report.plugin_creators == ("EdgekitLSTM 1 edgekit",)


def test_an_attention_with_a_cache_is_taken_and_a_plain_one_is_not(tmp_path, orin, with_tensorrt):
    """Of the plain one TensorRT 10.3 gets the products and the softmax: it fuses them itself."""
    asked = with_tensorrt("10.3.0")
    for form, taken in (({"past": True}, True), ({}, False)):
        proto = attention(**form)
        onnx.save(proto, tmp_path / "a.onnx")
        report = build(tmp_path / "a.onnx", tmp_path / "a.engine", BuildConfig("jetpack6", shape=shapes_of(proto)))
        assert (("edgekit", "EdgekitAttention") in parsed(asked)) is taken
        assert (("", "Softmax") in parsed(asked)) is not taken
        assert (report.plugins is not None) is taken
        assert report.compute.shares == {"fp16": 1.0}
        assert any("became EdgekitAttention" in line for line in report.warnings) is taken


def test_off_takes_none(tmp_path, orin, with_tensorrt):
    asked = with_tensorrt("10.3.0")
    report = built(tmp_path, recurrent(), plugins="off")
    assert (parsed(asked), "library" in asked) == ([("", "LSTM")], False)
    assert report.plugin_creators == ()


def test_what_does_not_fit_stays_and_no_library_is_loaded(tmp_path, orin, with_tensorrt):
    asked = with_tensorrt("10.3.0")
    report = built(tmp_path, recurrent(hidden=1024))
    assert (parsed(asked), "library" in asked) == ([("", "LSTM")], False)
    assert any("stays as it is: expected recurrent weights that fit on the chip" in line for line in report.warnings)


def test_without_a_library_it_is_said_where_it_would_help(tmp_path, small_onnx, monkeypatch, with_tensorrt):
    monkeypatch.setattr(plugins, "find_library", lambda kind: None)
    with_tensorrt("10.3.0")
    assert any("edgekit plugins build" in line for line in built(tmp_path, recurrent()).warnings)
    report = build(small_onnx, tmp_path / "b.engine", BuildConfig("jetpack6"))
    assert not any("edgekit plugins build" in line for line in report.warnings)


def test_a_library_built_without_tensorrts_headers_takes_none(tmp_path, orin, monkeypatch, with_tensorrt):
    monkeypatch.setattr(plugins, "read_report", lambda path: {"tensorrt": None})
    asked = with_tensorrt("10.3.0")
    report = built(tmp_path, recurrent())
    assert parsed(asked) == [("", "LSTM")]
    assert any("built without TensorRT's headers" in line for line in report.warnings)


def test_a_library_without_plugins_in_it_is_an_error(tmp_path, orin, with_tensorrt):
    with_tensorrt("10.3.0")
    library = tmp_path / "without.so"
    library.write_bytes(orin.read_bytes())
    with pytest.raises(BuildError, match=r"expected tensorrt 10\.3\.0 to load the plugins of .*without\.so"):
        built(tmp_path, recurrent(), plugins=str(library))


def test_a_file_that_is_no_library(tmp_path, small_onnx, with_tensorrt):
    with_tensorrt("10.3.0")
    (tmp_path / "no.so").write_text("no library")
    with pytest.raises(BuildError, match=r"expected edgekit's kernels in .*no\.so"):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack6", plugins=str(tmp_path / "no.so")))


def test_rtx_takes_no_plugins(tmp_path, small_onnx):
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(TargetError, match="expected no plugins for target rtx"):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("rtx", plugins="kernels.so"))


def test_without_a_gpu_there_is_no_plan(tmp_path, with_tensorrt):
    with_tensorrt("10.3.0")
    library = library_for_plans().path
    with pytest.raises(BuildError, match=r"expected a GPU for the kernels of .*--plugins off"):
        built(tmp_path, recurrent(), plugins=str(library))
