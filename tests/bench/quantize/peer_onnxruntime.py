"""Peer: onnxruntime's own quantizer, with the flags that TensorRT's rules ask for.

python peer_onnxruntime.py MODEL CALIBRATION.npz OUT minmax|minmax-outputs|percentile|dynamic|int4
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

OP_TYPES = ["Conv", "Gemm", "MatMul"]


class Reader(CalibrationDataReader):
    """One sample at a time, as its examples have it."""

    def __init__(self, file: str) -> None:
        with np.load(file) as archive:
            arrays = {name: archive[name] for name in archive.files}
        count = len(next(iter(arrays.values())))
        self._rows = iter([{name: value[row : row + 1] for name, value in arrays.items()} for row in range(count)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next sample, or None."""
        return next(self._rows, None)


def static(model: str, data: str, out: str, method: CalibrationMethod, inputs_only: bool) -> None:
    """Symmetric int8 with one scale a channel, weights stored as int8, no bias quantized."""
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "AddQDQPairToWeight": False,
        "QuantizeBias": False,
        "CalibPercentile": 99.99,
        # NVIDIA: Q/DQ on the inputs of a layer; on its output as well it only adds noise.
        "OpTypesToExcludeOutputQuantization": OP_TYPES if inputs_only else [],
    }
    quantize_static(
        model,
        out,
        Reader(data),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=OP_TYPES,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        extra_options=options,
    )


def four_bits(model: str, out: str) -> None:
    """Blocks of 128, rounded one by one: the only one of its rules that it writes as DequantizeLinear."""
    rule = DefaultWeightOnlyQuantConfig(
        block_size=128, is_symmetric=True, quant_format=QuantFormat.QDQ, op_types_to_quantize=("MatMul",)
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(model), algo_config=rule)
    quantizer.process()
    onnx.save(quantizer.model.model, out)


if __name__ == "__main__":
    model, data, out, kind = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        prepared = str(Path(folder) / "prepared.onnx")
        # Its own advice: infer shapes first. Its optimisations would fuse into operators of its own.
        quant_pre_process(model, prepared, skip_optimization=True, skip_symbolic_shape=True)
        if kind == "dynamic":
            quantize_dynamic(prepared, out, per_channel=True, weight_type=QuantType.QInt8)
        elif kind == "int4":
            four_bits(prepared, out)
        else:
            name, _, form = kind.partition("-")
            method = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}[name]
            static(prepared, data, out, method, inputs_only=form != "outputs")
