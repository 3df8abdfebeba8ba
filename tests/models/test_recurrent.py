"""The streaming forms: chunk by chunk they are the tagger over the whole; the oracle is torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import UsageError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402

TINY = ("layers=2", "input_size=5", "hidden_size=12", "classes=4")


@pytest.mark.parametrize("cell", ["rnn", pytest.param("lstm", marks=pytest.mark.slow), "gru"])
def test_a_stream_is_the_tagger_in_one_direction(cell, tmp_path):
    """The tagger's checkpoint loads, and chunks of any length give what it says of the whole series."""
    tagger = load_network(f"{cell}_tagger", None, TINY).module
    torch.save(tagger.state_dict(), tmp_path / "tagger.pt")
    asked = ExportConfig(set=TINY, weights=Path(tmp_path / "tagger.pt"))
    report = export(f"{cell}_stream", tmp_path / "m.onnx", asked)
    assert report.warnings == ()
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    x = torch.randn(3, 14, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = tagger(x, torch.tensor([14, 14, 14])).numpy()
    states = {item.name: np.zeros((2, 3, 12), np.float32) for item in session.get_inputs() if item.name != "x"}
    assert set(states) == ({"h", "c"} if cell == "lstm" else {"h"})
    parts = []
    for chunk in x.split([1, 2, 9, 1, 1], dim=1):
        logits, *after = session.run(None, {"x": chunk.numpy(), **states})
        states = dict(zip(states, after, strict=True))
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=1e-5)


def test_a_stream_has_one_direction():
    with pytest.raises(UsageError, match="the future has not come yet"):
        load_network("gru_stream", None, ("bidirectional=true",))
