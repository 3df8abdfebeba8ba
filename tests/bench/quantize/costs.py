"""What quantizing costs: memory and time on EfficientNet-Lite0 at 224x224, each run in a process of its own."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.bench.quantize.judging import HERE, QUANTIZER, ROOT, digest
from tests.bench.quantize.models import NETWORKS, OUT, arrays

RUNS = 3
SMALL, FEW, MANY = 48, 64, 512
GROWTH_PERCENT, PEAK_MB, TIMES_PLAIN = 10.0, 1000.0, 10.0
# What runs: (kind, samples). The percentile is for the record, and its memory at 512 would be ten times as much.
COMMANDS = [(kind, count) for count in (SMALL, MANY) for kind in ("max", "minmax", "pass", "auto")]
COMMANDS += [("max", FEW), ("auto", FEW), ("percentile", SMALL)]
Found = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Cost:
    """One figure and its bar: `value` and `bar` in `unit`; an infinite bar is none."""

    what: str
    value: float
    unit: str
    bar: float
    beside: str

    @property
    def holds(self) -> bool:
        """At the bar it holds."""
        return self.value <= self.bar


def costs(fresh: bool) -> list[Cost]:
    """Measure, or read what was measured of this very code."""
    network = NETWORKS["lite0"]
    network.prepare(False)
    scripts = [HERE / "cost_of.py", HERE / "costs.py"]
    key = digest([*QUANTIZER, network.model, network.calibration, *scripts], [version("onnxruntime")])
    kept = OUT / f"costs.{key[:16]}.json"
    if fresh or not kept.exists():
        kept.write_text(json.dumps(_measured(network.model, network.calibration)))
    return judged(json.loads(kept.read_text()))


def judged(found: Found) -> list[Cost]:
    """The bars on what was measured: `kind count` -> seconds, processor_seconds, mib, tree_mib (with its children)."""
    made = []
    for kind in ("max", "auto"):
        few, many = (found[f"{kind} {count}"]["tree_mib"] for count in (FEW, MANY))
        what = f"memory of --method {kind}, {MANY} samples against {FEW}: growth"
        made.append(Cost(what, 100 * (many / few - 1), "%", GROWTH_PERCENT, f"{few:.0f} -> {many:.0f} MiB"))
    peaks = {kind: found[f"{kind} {SMALL}"]["tree_mib"] * 2**20 / 1e6 for kind in ("auto", "max", "percentile")}
    beside = f"--method max {peaks['max']:.0f} MB; onnxruntime's percentile {peaks['percentile']:.0f} MB"
    made.append(Cost(f"memory of --method auto, {SMALL} samples", peaks["auto"], "MB", PEAK_MB, beside))
    for count in (SMALL, MANY):
        took = {kind: found[f"{kind} {count}"]["seconds"] for kind in ("max", "auto", "minmax", "pass")}
        allowed = took["minmax"] + took["pass"]
        beside = f"{took['max']:.1f} s against {took['minmax']:.1f} + {took['pass']:.1f} s"
        what = f"time of --method max / (onnxruntime's MinMax + one pass), {count} samples"
        made.append(Cost(what, took["max"] / allowed, "x", 1.0, beside))
        beside = f"{took['auto']:.1f} s against {took['max']:.1f} s"
        what = f"time of --method auto / --method max, {count} samples"
        made.append(Cost(what, took["auto"] / took["max"], "x", TIMES_PLAIN, beside))
    return made


def cost_cells(found: Iterable[Cost]) -> list[list[str]]:
    """The table, its head first."""
    rows = [["cost, EfficientNet-Lite0 at 224x224", "figure", "bar", "beside it", "bar holds"]]
    for cost in found:
        bar = "none" if math.isinf(cost.bar) else f"{cost.bar:g} {cost.unit}"
        rows.append([cost.what, f"{cost.value:.3g} {cost.unit}", bar, cost.beside, "yes" if cost.holds else "BROKEN"])
    return rows


def _measured(model: Path, calibration: Path) -> Found:
    """The median of three runs of each, in turns, so that a busy minute does not fall on one of them."""
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        files = _data(calibration, Path(folder))
        runs: dict[str, list[dict[str, float]]] = {}
        for number in range(RUNS):
            for kind, count in COMMANDS:
                print(f"costs: {kind}, {count} samples, run {number + 1} of {RUNS}", file=sys.stderr, flush=True)
                arguments = map(str, (HERE / "cost_of.py", kind, model, files[count], f"{folder}/out.onnx"))
                runs.setdefault(f"{kind} {count}", []).append(_run([sys.executable, *arguments]))
    return {
        name: {key: statistics.median(run[key] for run in several) for key in several[0]}
        for name, several in runs.items()
    }


def _data(calibration: Path, folder: Path) -> dict[int, Path]:
    """The 96 pictures as often as it takes: memory and time do not depend on what is on them."""
    made = {}
    for count in (SMALL, FEW, MANY):
        made[count] = folder / f"{count}.npz"
        tiled = {name: np.resize(value, (count, *value.shape[1:])) for name, value in arrays(calibration).items()}
        np.savez(made[count], **tiled)
    return made


def _run(command: list[str]) -> dict[str, float]:
    """Seconds and peaks of memory; that of the process with its children is looked at every 5 ms."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        tree = 0.0
        while process.poll() is None:
            tree = max(tree, _resident_mib(process.pid))
            time.sleep(0.005)
        assert process.stdout is not None
        words = process.stdout.read().split()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    seconds, processor, mib = map(float, words[-3:])
    return {"seconds": seconds, "processor_seconds": processor, "mib": mib, "tree_mib": max(tree, mib)}


def _resident_mib(pid: int) -> float:
    """The resident memory of a process and of all below it; pages that they share count twice."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return 0.0
    kib = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return kib / 1024 + sum(_resident_mib(int(child)) for child in children)
