"""Engines of standard TensorRT with edgekit's plugins and without: the same answers as onnxruntime's, and both times.

Needs an NVIDIA GPU, TensorRT's Python, its headers (TENSORRT_ROOT) and nvcc. Not run yet.
"""

from __future__ import annotations

import importlib
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.build import BuildReport, build  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.device import find_gpus  # noqa: E402
from edgekit.errors import EdgekitError  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.plugins.building import build_plugins, find_tensorrt  # noqa: E402
from edgekit.rewrite.reading import graph_inputs, graph_outputs, read_onnx  # noqa: E402
from edgekit.runtime.trt import TensorRTBackend  # noqa: E402

_SEARCH = find_gpus()


def _missing() -> str:
    """What this machine lacks; empty where it has all."""
    if not _SEARCH.gpus:
        return f"needs an NVIDIA GPU: {_SEARCH.reason}"
    try:
        if find_tensorrt() is None:
            return "needs TensorRT's headers: set TENSORRT_ROOT"
        if not hasattr(importlib.import_module("tensorrt"), "Builder"):
            return "needs TensorRT's Python"
    except (EdgekitError, ImportError) as error:
        return f"needs TensorRT: {error}"
    return ""


_LACKS = _missing()
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.skipif(bool(_LACKS), reason=_LACKS)]

NETWORKS = ("lstm_tagger", "gru_classifier", "rnn_forecaster", "birnn_tagger", "cnn_bigru_ctc")


@pytest.fixture(scope="module")
def library() -> Path:
    return build_plugins((int(_SEARCH.compute_capabilities[0].replace(".", "")),))


def answers(report: BuildReport, model: Path, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """What an engine says, and the median of its times in ms over 50 runs."""
    proto = read_onnx(model)
    specs = (*graph_inputs(proto), *graph_outputs(proto))
    plugins = report.plugins.read_bytes() if report.plugins else b""
    backend = TensorRTBackend(report.path.read_bytes(), "tensorrt", specs, plugins)
    try:
        backend.bind(
            {name: array.shape for name, array in feeds.items()}, {spec.name: None for spec in graph_outputs(proto)}
        )
        for name, array in feeds.items():
            backend.input(name)[...] = array
        times = []
        for _ in range(60):
            start = time.perf_counter_ns()
            backend.enqueue()
            backend.synchronise(None)
            times.append((time.perf_counter_ns() - start) / 1e6)
        return {spec.name: backend.output(spec.name).copy() for spec in graph_outputs(proto)}, statistics.median(
            times[10:]
        )
    finally:
        backend.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_with_our_plugins_says_what_onnxruntime_says(name, precision, library, tmp_path, record_property):
    from edgekit.export import examples_file, export
    from edgekit.quantize import quantize

    model = tmp_path / "model.onnx"
    export(name, model, ExportConfig(save_examples=True))
    if precision != "fp32":
        model = quantize(model, tmp_path / "half.onnx", QuantizeConfig(precision)).path
    with np.load(examples_file(tmp_path / "model.onnx")) as stored:
        feeds = dict(stored)
    names = [spec.name for spec in graph_outputs(read_onnx(model))]
    wanted = dict(zip(names, plain_session(model.read_bytes()).run(names, feeds), strict=True))
    took = {}
    for plugins in ("off", str(library)):
        config = BuildConfig("desktop", plugins=plugins)
        report = build(model, tmp_path / f"{Path(plugins).stem}.engine", config)
        assert (report.plugins is None) == (plugins == "off")
        found, took[Path(plugins).stem] = answers(report, model, feeds)
        for output in names:
            scale = np.abs(wanted[output]).max()
            assert np.abs(found[output] - wanted[output]).max() <= (1e-4 if precision == "fp32" else 2e-2) * scale
    record_property("median_ms", took)
    print(f"{name} {precision}: {took}")
