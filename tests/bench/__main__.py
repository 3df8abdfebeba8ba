"""`make bench`: print one row a figure, with its bar and whether it holds; exits 1 when one does not."""

from __future__ import annotations

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


def printed_seconds(command: list[str]) -> float:
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


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
        took, peer, ratio = medians(ours, bare, printed_seconds, 7)
        control = medians(bare, bare, printed_seconds, 5)[2]
    beside = f"{took:.2f} s against {peer:.2f} s; bare against bare {control:.2f}"
    return [row("build-engine against a bare builder, ResNet-50", ratio, "x", 1.5, beside)]


if __name__ == "__main__":
    sys.exit(0 if all([*start_up(), *builder()]) else 1)
