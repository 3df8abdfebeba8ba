"""`make bench`: print one row a figure, with its bar and whether it holds; exits 1 when one does not."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def work_and_total_seconds(command: list[str]) -> tuple[float, float]:
    """What the two builders print: seconds after their imports, and with them."""
    work, total = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1].split()
    return float(work), float(total)


def medians(first: list[str], second: list[str], measure, runs: int) -> tuple[float, float, float]:
    """Run the two in turn; return both medians and the median of the ratios pair by pair."""
    measure(first), measure(second)
    pairs = [(measure(first), measure(second)) for _ in range(runs)]
    ratio = statistics.median(a / b for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def row(what: str, value: float, unit: str, bar: float, beside: str) -> bool:
    holds = value <= bar
    print(
        f"{what:<44} {value:>8.2f} {unit:<3} bar {bar:g} {unit}  {'holds' if holds else 'BROKEN'}  ({beside})",
        flush=True,
    )
    return holds


def start_up() -> list[bool]:
    nothing = [sys.executable, "-c", "pass"]
    help_page = [sys.executable, "-m", "edgekit", "--help"]
    runtime = [sys.executable, "-c", "import edgekit.runtime"]
    results = []
    for what, command in (("edgekit --help", help_page), ("import edgekit.runtime", runtime)):
        took, control, _ = medians(command, nothing, seconds, 15)
        results.append(row(what, took * 1e3, "ms", 150, f"the interpreter alone {control * 1e3:.0f} ms"))
    return results


def builder() -> list[bool]:
    from edgekit.export import export
    from edgekit.quantize import quantize

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export("resnet50", folder / "resnet50.onnx")
        model = quantize(folder / "resnet50.onnx", folder / "resnet50.fp16.onnx").path
        ours, bare = (
            [sys.executable, str(HERE / f"{kind}_builder.py"), str(model), str(folder / kind)]
            for kind in ("our", "bare")
        )
        work_and_total_seconds(ours), work_and_total_seconds(bare)
        runs = [[work_and_total_seconds(command) for command in (ours, bare, bare)] for _ in range(9)]
    results = []
    for index, what in enumerate(("after the imports", "imports included")):
        ratio, control = (statistics.median(run[a][index] / run[b][index] for run in runs) for a, b in ((0, 1), (2, 1)))
        took, peer = (statistics.median(run[which][index] for run in runs) for which in (0, 1))
        beside = f"{took:.2f} s against {peer:.2f} s; bare against bare {control:.2f}"
        # The bar is without the start of the interpreter, imports included: the second row is for the record.
        bar = 1.5 if index == 0 else math.inf
        results.append(row(f"build-engine / bare builder, {what}", ratio, "x", bar, beside))
    return results


if __name__ == "__main__":
    sys.exit(0 if all([*start_up(), *builder()]) else 1)
