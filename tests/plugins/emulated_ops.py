"""edgekit's operators for ONNX's ReferenceEvaluator, computed by the emulated kernels."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from edgekit.plugins.attention import How, attention
from edgekit.plugins.emulator import Emulator
from edgekit.reference import Attention, AttentionOutputs
from tests.plugins.formulas import computed
from tests.plugins.op_runs import Cache, evaluator

TYPES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16"}


def emulated_evaluator(model: onnx.ModelProto, emulator: Emulator) -> ReferenceEvaluator:
    """One in which edgekit's nodes are launches of kernels on the emulator, and all else is ONNX's reference."""

    def run_attention(op: Attention, cache: Cache) -> AttentionOutputs:
        narrow = op.bias is not None and op.bias.dtype != np.float32
        return attention(emulator, op, How(TYPES[str(op.q.dtype)], narrow, cache.capacity))

    return evaluator(model, lambda op: computed(emulator, op), run_attention)
