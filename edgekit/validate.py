"""Is the model still the model? Accuracy against its FP32 reference, judged against a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.budget import Limit, parse_budget
from edgekit.configs import ValidateConfig
from edgekit.data import Batch, batches, batching, open_data
from edgekit.errors import ModelError, UsageError
from edgekit.files import write_json
from edgekit.judge import outputs_of
from edgekit.metrics import Sqnr
from edgekit.recipe import load_recipe
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import graph_inputs, read_onnx

EXIT_CODES = {"PASS": 0, "accuracy": 3, "latency": 4, "INCONCLUSIVE": 5}
_BATCH = 4


@dataclass(frozen=True)
class ValidateReport(StageReport):
    """`verdict` is PASS or FAIL with the backend that ran.

    `sqnr_db` is by output: 'inf' for equal, '-inf' for NaN or Inf, since JSON has no such numbers.
    """

    source: Path
    verdict: str
    exit_code: int
    backend: str
    budget: tuple[str, ...]
    broken: tuple[str, ...]
    sqnr_db: dict[str, float | str]
    samples: int
    data: str

    def write(self) -> Path:
        """The report is the output itself."""
        write_json(self.path, self.to_json())
        return self.path


def validate(
    source: Path, out: Path, config: ValidateConfig = ValidateConfig(), progress: Progress = no_progress
) -> ValidateReport:
    """Compare the ONNX file `source` with `config.reference` on `config.data` and write the report to `out`.

    Both run in onnxruntime on the CPU at ORT_DISABLE_ALL, each in a process of its own. Raises DataError, ModelError
    or RecipeError; a broken budget is not an error but a verdict.
    """
    watch = Stopwatch()
    limits = parse_budget(config.budget)
    if config.reference is None or config.data is None:
        raise UsageError("expected a reference and data to judge on, found none", "--reference REF.onnx --data D")
    inputs = graph_inputs(read_onnx(source))
    preprocess = load_recipe(config.recipe).preprocess if config.recipe else None
    data = open_data(config.data, inputs, preprocess)
    size, count = batching(data, inputs, _BATCH, config.samples)
    progress("running the reference", 0, 2)
    wanted = outputs_of(config.reference, batches(data, size, count))
    found = outputs_of(source, batches(data, size, count))
    sqnr = _compare(wanted, found)
    progress("judged", 2, 2)
    worst = min(sqnr.values())
    broken = tuple(limit for limit in limits if not limit.holds(worst))
    report = ValidateReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=(),
        source=source,
        verdict=f"{'FAIL' if broken else 'PASS'} (ort, cpu)",
        exit_code=_exit_code(broken),
        backend="ort, cpu",
        budget=tuple(map(str, limits)),
        broken=tuple(f"{limit}: found {worst:.2f}" for limit in broken),
        sqnr_db={name: round(value, 2) if math.isfinite(value) else str(value) for name, value in sqnr.items()},
        samples=count,
        data=data.what,
    )
    report.write()
    return report


def _compare(wanted: Iterator[Batch], found: Iterator[Batch]) -> dict[str, float]:
    meters: dict[str, Sqnr] = {}
    for reference, model in zip(wanted, found, strict=True):
        if list(reference) != list(model):
            raise ModelError(f"expected the outputs {list(reference)} of the reference, found {list(model)}")
        for name, array in reference.items():
            if array.shape != model[name].shape:
                raise ModelError(f"{name}: expected shape {array.shape} of the reference, found {model[name].shape}")
            meters.setdefault(name, Sqnr()).add(array, model[name])
    return {name: meter.db() for name, meter in meters.items()}


def _exit_code(broken: tuple[Limit, ...]) -> int:
    """Accuracy before latency: 3 also when both failed."""
    gates = {limit.gate for limit in broken}
    return min((EXIT_CODES[gate] for gate in gates), default=EXIT_CODES["PASS"])
