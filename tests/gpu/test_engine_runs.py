"""What only a GPU can show: that the engine runs, and that it says what onnxruntime says."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data import read_picture
from edgekit.device import find_gpus
from edgekit.runtime import Session

_SEARCH = find_gpus()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,  # exports EfficientNet-Lite0
    pytest.mark.skipif(not _SEARCH.gpus, reason=f"needs an NVIDIA GPU: {_SEARCH.reason}"),
]


@pytest.mark.parametrize("photo", ["cat", "coffee", "camera_man"])
def test_the_rtx_engine_agrees_with_onnxruntime(lite0, photos, photo):
    frame = read_picture(photos / f"{photo}.png")
    logits = {}
    for backend in ("ort", "rtx"):
        with Session.open(lite0 / "bundle", backend) as session:
            session.preprocess(frame)
            session.execute()
            logits[backend] = session.output("logits").copy()
    # Both compute in FP16: the engine may be as far from onnxruntime as FP16 is from FP32 (47.8 dB on these).
    noise = np.square(logits["ort"] - logits["rtx"]).sum()
    assert 10 * np.log10(np.square(logits["ort"]).sum() / noise) > 40
    assert logits["ort"].argmax() == logits["rtx"].argmax()
