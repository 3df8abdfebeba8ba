"""One tool on one network in this process: prints its seconds, processor seconds, and the peak of its memory in MiB.

python cost_of.py max|auto|minmax|percentile|pass MODEL DATA.npz OUT
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

from edgekit.configs import QuantizeConfig
from edgekit.judge import plain_session
from edgekit.quantize import quantize
from edgekit.reports import peak_rss_mib


class Reader(CalibrationDataReader):
    """One sample at a time."""

    def __init__(self, data: str) -> None:
        self._rows = rows(data)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next sample, or None."""
        return next(self._rows, None)


def edgekit(model: str, data: str, out: str, method: str) -> float:
    """The whole of `quantize`: calibration, choice, rewriting, and its own last judgement."""
    return quantize(Path(model), Path(out), QuantizeConfig("int8", data=data, method=method)).seconds


def onnxruntime(model: str, data: str, out: str, method: str) -> float:
    """Its calibration alone, as `quantize_static` collects it: rewriting is not counted, in its favour."""
    kind = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}[method]
    options = {"symmetric": True} | ({"percentile": 99.99} if method == "percentile" else {})
    types, start = ["Conv", "Gemm", "MatMul"], time.perf_counter()
    made = create_calibrator(Path(model), types, augmented_model_path=out, calibrate_method=kind, extra_options=options)
    made.collect_data(Reader(data))
    made.compute_data()
    return time.perf_counter() - start


def one_pass(model: str, data: str) -> float:
    """The FP32 model over the data, sample by sample, without optimisation: as onnxruntime calibrates."""
    start = time.perf_counter()
    session = plain_session(model)
    for row in rows(data):
        session.run(None, row)
    return time.perf_counter() - start


def rows(file: str):
    """Samples one by one."""
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for row in range(len(next(iter(arrays.values())))):
        yield {name: array[row : row + 1] for name, array in arrays.items()}


if __name__ == "__main__":
    kind, model, data, out = sys.argv[1:]
    before = os.times()
    if kind == "pass":
        seconds = one_pass(model, data)
    else:
        seconds = (edgekit if kind in ("max", "auto") else onnxruntime)(model, data, out, kind)
    # Of this process and of those that it waited for.
    processor = sum(os.times()[:4]) - sum(before[:4])
    print(seconds, processor, peak_rss_mib())
