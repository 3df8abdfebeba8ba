"""What standard TensorRT is asked for, on a stand-in for it: see fake_tensorrt.py."""

from __future__ import annotations

import importlib.metadata
import os
import sys

import pytest

onnx = pytest.importorskip("onnx")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402
from edgekit.errors import BuildError, TargetError  # noqa: E402

STRONGLY_TYPED = 2


@pytest.mark.parametrize(
    ("target", "version", "flags"),
    [("jetpack6", "10.3.0", STRONGLY_TYPED), ("jetpack7.0", "10.13.2.6", STRONGLY_TYPED), ("jetpack7.2", "11.4.1", 0)],
)
def test_networks_are_strongly_typed_on_every_flavour(small_onnx, tmp_path, with_tensorrt, target, version, flags):
    """TensorRT 10 has a flag for it; TensorRT 11 knows nothing else, and no flag."""
    asked = with_tensorrt(version)
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig(target))
    assert (asked["flags"], report.version) == (flags, version)
    assert report.path.read_bytes() == b"ftrt an engine"


@pytest.mark.parametrize(
    ("target", "version", "package", "cuda"),
    [
        ("jetpack6", "10.3.0", None, "12.0"),  # JetPack's own, 12.6: a driver of any 12 will do
        ("jetpack7.2", "11.4.1", None, "13.0"),
        ("desktop", "10.13.2", "tensorrt_cu12", "12.0"),
        ("desktop", "11.4.1", "tensorrt_cu13", "13.0"),
        ("desktop", "11.4.1", None, ""),  # of a tar file nothing tells
    ],
)
def test_an_engine_says_which_platform_and_driver_it_needs(
    small_onnx, tmp_path, with_tensorrt, monkeypatch, target, version, package, cuda
):
    def known(name):
        if name != package:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    with_tensorrt(version)
    monkeypatch.setattr("importlib.metadata.version", known)
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig(target))
    assert (report.os, report.architecture) == (sys.platform, os.uname().machine)
    assert report.minimum_cuda == cuda


def test_the_engine_is_asked_for_its_layers_where_the_log_has_none(small_onnx, tmp_path, with_tensorrt):
    with_tensorrt("10.3.0")
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack6"))
    assert [(layer.name, layer.computes, layer.nodes) for layer in report.layers] == [("conv", "fp16", ("conv",))]
    # Conv on 8x8: 6 * 64 * 27; the MatMul is in no layer and counts as the ONNX has it, in FP32.
    assert report.compute.shares == pytest.approx({"fp16": 10368 / 10398, "fp32": 30 / 10398}, abs=1e-6)


def test_a_timing_cache_is_read_and_written_anew(small_onnx, tmp_path, with_tensorrt):
    asked = with_tensorrt("10.3.0")
    cache = tmp_path / "timing.cache"
    for known in (b"+measured", b"+measured+measured"):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack6", timing_cache=cache))
        assert cache.read_bytes() == known
    assert asked["settings"].cache.stored == b"+measured"


def test_a_cache_of_another_gpu_is_an_error_and_stays(small_onnx, tmp_path, with_tensorrt):
    with_tensorrt("10.3.0")
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"other GPU")
    with pytest.raises(BuildError, match=r"timing cache of tensorrt 10\.3\.0 for this GPU in .*, found another"):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack6", timing_cache=cache))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["timing.cache"]
    assert cache.read_bytes() == b"other GPU"


def test_workspace_and_several_profiles(small_onnx, tmp_path, with_tensorrt):
    asked = with_tensorrt("11.4.1")
    shapes = ("image:1x3x8x8", "image:2x3x8x8:4x3x8x8:8x3x8x8")
    report = build(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack7.2", shape=shapes, workspace_mib=64))
    one, other = asked["settings"].profiles
    assert one.shapes == {"image": ((1, 3, 8, 8),) * 3}
    assert other.shapes == {"image": ((2, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))}
    assert asked["settings"].limits == {"workspace": 64 << 20}
    assert report.shapes == ("image:1x3x8x8:1x3x8x8:1x3x8x8", shapes[1])


def test_another_version_than_the_targets_is_refused(small_onnx, tmp_path, with_tensorrt):
    with_tensorrt("10.7.0")
    with pytest.raises(TargetError, match=r"expected TensorRT 10\.3 for target jetpack6, found 10\.7\.0"):
        build(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack6"))
