"""ONNX -> ONNX at another precision. Calibrated INT8 comes here; today this room casts to FP16."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgekit.configs import QuantizeConfig
from edgekit.errors import QuantizeError, nearest
from edgekit.files import written_aside
from edgekit.quantize.precision import to_fp16
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import read_onnx

__all__ = ["QuantizeReport", "quantize"]


@dataclass(frozen=True)
class QuantizeReport(StageReport):
    """What the model weighs before and after; `weights` counts bytes by dtype."""

    precision: str
    source: Path
    bytes_before: int
    bytes_after: int
    weights: dict[str, int]
    kept_ops: dict[str, int]


def quantize(
    source: Path, out: Path, config: QuantizeConfig = QuantizeConfig(), progress: Progress = no_progress
) -> QuantizeReport:
    """Write `source` (any ONNX file) at `config.precision` to `out`.

    Raises ModelError, QuantizeError or OutputError; then nothing is written. The numbers are judged by
    `edgekit.validate`, not here.
    """
    watch = Stopwatch()
    with written_aside(out) as partial:
        progress(f"reading {source.name}", 0, 2)
        model = read_onnx(source)
        present = {node.op_type for node in model.graph.node}
        for op_type in config.keep_ops:
            if op_type not in present:
                raise QuantizeError(f"--keep-ops {op_type}: no such operator in {source}; {nearest(op_type, present)}")
        progress(f"casting to {config.precision}", 1, 2)
        result = to_fp16(model, config.keep_ops)
        serialized = result.model.SerializeToString()
        partial.write_bytes(serialized)
    progress("quantized", 2, 2)
    report = QuantizeReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=result.notes,
        precision=config.precision,
        source=source,
        bytes_before=source.stat().st_size,
        bytes_after=len(serialized),
        weights=_bytes_by_type(result.model),
        kept_ops={op: sum(node.op_type == op for node in result.model.graph.node) for op in config.keep_ops},
    )
    report.write()
    return report


def _bytes_by_type(model: onnx.ModelProto) -> dict[str, int]:
    sizes: collections.Counter[str] = collections.Counter()
    for tensor in model.graph.initializer:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        sizes[str(dtype)] += math.prod(tensor.dims) * dtype.itemsize
    return dict(sizes)
