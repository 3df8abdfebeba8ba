"""The peer of calibration: onnxruntime's own MinMax over the same samples, as `quantize_static` collects it."""

import sys
import tempfile
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

from edgekit.reports import Stopwatch, peak_rss_mib


class Reader(CalibrationDataReader):
    """One sample at a time, read from the .npz as our own streaming does."""

    def __init__(self, file: str, count: int) -> None:
        with np.load(file) as archive:
            self._rows = iter(archive["image"][:count, None])

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self._rows, None)
        return None if row is None else {"image": row}


if __name__ == "__main__":
    model, data, count = sys.argv[1:]
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            Path(model),
            ["Conv", "Gemm", "MatMul"],
            augmented_model_path=f"{folder}/augmented.onnx",
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(Reader(data, int(count)))
        calibrator.compute_data()
    print(watch.seconds(), peak_rss_mib())
