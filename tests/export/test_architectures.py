"""Every architecture of `export --list`, against torch at batches 1 and 3 and, where time is open, lengths 5 and 37."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import BuildError, RecipeError, UsageError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.attention import no_fast_path  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from edgekit.models import ARCHITECTURES  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from tests.export.cases import CASES, TINY  # noqa: E402
from tests.export.table import table  # noqa: E402

QUICK = ("bilstm_tagger", "rnn_forecaster")


def marked(names: Iterable[str]) -> list:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def test_every_architecture_has_its_case():
    assert set(CASES) == set(ARCHITECTURES)


def test_the_readmes_table_is_what_is_tested():
    assert table() in (Path(__file__).parents[2] / "README.md").read_text()


def compare(name: str, settings: tuple[str, ...], path: Path) -> None:
    """At batches 1 and 3 and two sizes, with inputs that the export never saw; the oracle is torch."""
    case, network = CASES[name], load_network(name, None, settings)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        for size in case.sizes:
            feeds = case.inputs(network.examples, batch, size, torch.Generator().manual_seed(batch * 1000 + size))
            with torch.no_grad(), no_fast_path():
                made = network.module(*feeds.values())
            wanted = (
                [made] if isinstance(made, torch.Tensor) else list(made.values() if isinstance(made, dict) else made)
            )
            found = session.run(None, {key: value.numpy() for key, value in feeds.items()})
            for want, got in zip(wanted, found, strict=True):
                told = want.numel() == 1 or want.dtype == torch.int64 or want.std() > 1e-3 * want.abs().max()
                assert told, "an output that says nothing proves nothing"
                np.testing.assert_allclose(
                    got, want.numpy(), atol=case.tolerance * float(want.abs().max().clamp(min=1))
                )


@pytest.mark.parametrize("name", marked(CASES))
def test_an_architecture(name, tmp_path):
    """Tiny where it has settings; exported, compared, and built in FP32 and in FP16."""
    case = CASES[name]
    report = export(name, tmp_path / "fp32.onnx", ExportConfig(set=case.settings))
    assert {op: report.ops.get(op, 0) for op in case.ops} == case.ops
    assert not any("constant" in line for line in report.warnings)
    assert "Attention" not in report.ops
    compare(name, case.settings, report.path)
    source = report.path
    if case.attention:  # what is for half precision has one node for each
        fused = export(name, tmp_path / "fused.onnx", ExportConfig(set=case.settings, target="rtx", precision="fp16"))
        assert (fused.opset, fused.ops["Attention"]) == (23, case.attention)
        compare(name, case.settings, fused.path)
        source = fused.path
    quantize(source, tmp_path / "fp16.onnx", QuantizeConfig("fp16"))
    for precision in ("fp32", "fp16"):
        built_or_refused(tmp_path / f"{precision}.onnx", case.refused.get(precision))


@pytest.mark.slow  # full-size networks
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.settings])
def test_an_architecture_at_full_size(name, tmp_path):
    compare(name, (), export(name, tmp_path / "m.onnx").path)


def built_or_refused(model: Path, refused: str | None) -> None:
    pytest.importorskip("tensorrt_rtx")
    asked = BuildConfig("rtx", ("8.6",))
    if refused is None:
        assert build(model, model.with_suffix(".engine"), asked).layers
        return
    with pytest.raises(BuildError, match=refused):
        build(model, model.with_suffix(".engine"), asked)


def test_the_same_seed_gives_the_same_file(tmp_path):
    first, second = (export("gru_classifier", tmp_path / name, ExportConfig(set=TINY)).path for name in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("name", "settings", "error", "says"),
    [
        ("lstm_tagger", "hiden_size=3", RecipeError, "did you mean 'hidden_size'"),
        ("lstm_tagger", "hidden_size=wide", RecipeError, "expected int, found 'wide'"),
        ("lstm_tagger", "hidden_size=0", UsageError, "hidden_size: expected 1 or more"),
        ("lstm_tagger", "hidden_size", UsageError, "expected --set as key=value"),
        ("lstm_tagger", "cell=qrnn", UsageError, "cell: expected one of rnn, lstm, gru"),
        ("gru_language_model", "bidirectional=true", UsageError, "it would see the answer"),
        ("resnet18", "layers=3", UsageError, "whose size is fixed"),
        ("my.py:net", "layers=3", UsageError, "expected --set with an architecture's name"),
    ],
)
def test_a_setting_that_is_none(name, settings, error, says):
    with pytest.raises(error, match=says):
        load_network(name, None, (settings,))
