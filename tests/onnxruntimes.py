"""Which onnxruntime judges: the one of Python 3.10 is older, and lacks what some cases need."""

from __future__ import annotations

import onnxruntime
import pytest

ORT_MINOR = int(onnxruntime.__version__.split(".")[1])

# onnxruntime 1.23 is the last one for Python 3.10: opsets up to 23, and no DequantizeLinear of opset 23.
needs_opset_24 = pytest.mark.skipif(ORT_MINOR < 24, reason="this onnxruntime has no opset 24")
needs_quantization_of_opset_23 = pytest.mark.skipif(
    ORT_MINOR < 24, reason="this onnxruntime has no DequantizeLinear of opset 23"
)
