"""Every architecture of `export --list`, against torch at batches 1 and 3 and, where time is open, lengths 5 and 37."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import RecipeError, UsageError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from edgekit.models import ARCHITECTURES  # noqa: E402

SMALL = ("layers=2", "input_size=5", "hidden_size=12", "classes=4", "vocabulary=11")
RECURRENT = [name for name, entry in ARCHITECTURES.items() if entry.family == "rnn"]
VISION = [name for name in ARCHITECTURES if name not in RECURRENT]
QUICK = ("bilstm_tagger", "rnn_forecaster")


def cases(names: list[str]) -> list:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def run(model: Path, feeds: dict) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {name: value.numpy() for name, value in feeds.items()})[0]


def inputs(name: str, batch: int, steps: int) -> dict:
    generator = torch.Generator().manual_seed(batch * 100 + steps)
    if name.endswith("language_model"):
        return {"tokens": torch.randint(11, (batch, steps), generator=generator)}
    x = torch.randn(batch, steps, 5, generator=generator)
    if name.endswith("forecaster"):
        return {"x": x}
    return {"x": x, "lengths": torch.randint(1, steps + 1, (batch,), generator=generator)}


@pytest.mark.parametrize("name", cases(RECURRENT))
def test_a_recurrent_architecture(name, tmp_path):
    report = export(name, tmp_path / "m.onnx", ExportConfig(set=SMALL))
    network = load_network(name, None, SMALL)
    kind = name.split("_")[0].removeprefix("bi").upper()
    assert report.ops[kind] == 2
    assert not any("constant" in line for line in report.warnings)
    for batch in (1, 3):
        for steps in (5, 37):
            feeds = inputs(name, batch, steps)
            with torch.no_grad():
                wanted = network.module(**feeds).numpy()
            np.testing.assert_allclose(run(report.path, feeds), wanted, atol=1e-5)
    built(report.path, tmp_path)


@pytest.mark.slow  # full-size networks
@pytest.mark.parametrize("name", VISION)
def test_a_vision_architecture(name, tmp_path):
    report = export(name, tmp_path / "m.onnx")
    network = load_network(name, None)
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 3):
        image = torch.randn(batch, 3, 224, 224, generator=generator)
        with torch.no_grad():
            wanted = network.module(image).numpy()
        assert wanted.std() > 1e-3, "an output that says nothing proves nothing"
        np.testing.assert_allclose(run(report.path, {"image": image}), wanted, atol=1e-4 * np.abs(wanted).max())
    built(report.path, tmp_path)


def built(model: Path, folder: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    assert build(model, folder / "m.engine", BuildConfig("rtx", ("8.6",))).layers


def test_the_same_seed_gives_the_same_file(tmp_path):
    first, second = (export("gru_classifier", tmp_path / name, ExportConfig(set=SMALL)).path for name in "ab")
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
