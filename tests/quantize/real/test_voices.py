"""Resemblyzer's speaker encoder with its trained weights: an LSTM of three layers in weight-only INT8.

Real: the weights, and two women of one telephone call. Calibrated on the first long turn of each, judged on the second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

from edgekit.configs import BuildConfig, QuantizeConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.judge import outputs_of  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from tests.bench.quantize.pretrained import resemblyzer_source, spoken  # noqa: E402
from tests.export.real.recording import folder  # noqa: E402

FILES = ("model.onnx", "int8.onnx")

pytestmark = pytest.mark.slow  # a search over models of 1.4 million weights


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """`model.onnx` in FP32, and `int8.onnx`."""
    folder("resemblyzer")
    where = tmp_path_factory.mktemp("voices")
    export(resemblyzer_source(where / "source.py"), where / "model.onnx")
    np.savez(where / "x.npz", mels=np.concatenate([pieces for _, pieces in spoken()[0]]))
    report = quantize(where / "model.onnx", where / "int8.onnx", QuantizeConfig("int8", data=str(where / "x.npz")))
    assert report.quantized_layers == 4
    return where


def embeddings(model: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of the pieces of both women: those of their first turns, and those of their second."""
    parts = [[pieces for _, pieces in part] for part in spoken()]
    stream = [{"mels": pieces} for part in parts for pieces in part]
    found = [next(iter(outputs.values())) for outputs in outputs_of(model, stream)]
    return found[:2], found[2:]


def test_the_weights_of_each_gate_row_are_int8(made):
    """W and R of all three LSTMs, one scale a row of a gate, in the blocked form of opset 21; no activation of one."""
    graph = onnx.load(made / "int8.onnx").graph
    makers = {node.output[0]: node for node in graph.node}
    shapes = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in graph.initializer}
    lstms = [node for node in graph.node if node.op_type == "LSTM"]
    assert len(lstms) == 3
    for node in lstms:
        for name in node.input[1:3]:
            dequantize = makers[name]
            (kind, dims), (_, scale) = shapes[dequantize.input[0]], shapes[dequantize.input[1]]
            assert (dequantize.op_type, kind) == ("DequantizeLinear", onnx.TensorProto.INT8)
            assert (dims[:2], scale) == ([1, 4 * 256], [1, 4 * 256, 1])
            assert {item.name: item.i for item in dequantize.attribute} == {"axis": 2, "block_size": dims[2]}
        assert makers[node.input[0]].op_type not in ("DequantizeLinear", "QuantizeLinear")
    assert (made / "int8.onnx").stat().st_size < 0.3 * (made / "model.onnx").stat().st_size


def test_the_other_turns_are_as_near_as_19_db(made):
    wanted, found = (np.concatenate(embeddings(made / name)[1]).astype(np.float64) for name in FILES)
    assert len(wanted) > 100
    assert 10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()) >= 19


def test_int8_tells_the_women_apart_as_fp32_does(made):
    """Enrolled by the first turn, recognised in pieces of 1.6 s of the second, and in that turn as a whole."""
    right, decided, whole = [], [], []
    for name in FILES:
        first, second = embeddings(made / name)
        enrolled = np.stack([turn.mean(0) / np.linalg.norm(turn.mean(0)) for turn in first])
        who = [(turn @ enrolled.T).argmax(1) for turn in second]
        decided.append(np.concatenate(who))
        right.append(np.mean(decided[-1] == np.repeat([0, 1], [len(turn) for turn in second])))
        whole.append([int((turn.mean(0) @ enrolled.T).argmax()) for turn in second])
    assert whole == [[0, 1], [0, 1]]
    assert right[0] > 0.9
    assert right[1] >= right[0] - 0.01
    assert np.mean(decided[1] == decided[0]) > 0.98


def test_tensorrt_rtx_stores_it_in_a_byte_a_weight(made, tmp_path):
    """What the engine holds besides is the same in both: three bytes of each of 1.4 million weights are saved."""
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build

    bytes_of = [build(made / name, tmp_path / name, BuildConfig("rtx", ("8.6",))).bytes for name in FILES]
    assert bytes_of[0] - bytes_of[1] > 0.8 * 3 * 1_400_000
