"""Our calibration of plain INT8 on the first argument's model: seconds and the process's peak of resident memory."""

import sys
import tempfile
from pathlib import Path

from edgekit.configs import QuantizeConfig
from edgekit.quantize import quantize

if __name__ == "__main__":
    model, data, count = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        config = QuantizeConfig("int8", data=data, samples=int(count))
        report = quantize(Path(model), Path(folder) / "int8.onnx", config)
        print(report.seconds, report.peak_rss_mib)
