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


def two_figures(command: list[str]) -> tuple[float, float]:
    """What a command of ours or a peer's prints last: two numbers."""
    first, second = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1].split()
    return float(first), float(second)


def medians(first: list[str], second: list[str], measure, runs: int) -> tuple[float, float, float]:
    """Run the two in turn; return both medians and the median of the ratios pair by pair."""
    measure(first), measure(second)
    pairs = [(measure(first), measure(second)) for _ in range(runs)]
    ratio = statistics.median(a / b for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def row(what: str, value: float, unit: str, bar: float, beside: str) -> bool:
    holds = value <= bar
    print(
        f"{what:<58} {value:>8.2f} {unit:<3} bar {bar:g} {unit}  {'holds' if holds else 'BROKEN'}  ({beside})",
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


def calibration(folder: Path) -> list[bool]:
    """Memory from 64 to 512 samples, of ours and of onnxruntime's MinMax on the same pictures; then the time."""
    import numpy as np

    from edgekit.data import open_data
    from edgekit.export import export
    from edgekit.recipe import load_recipe
    from edgekit.rewrite.reading import graph_inputs, read_onnx

    model, pictures, data = folder / "lite0.onnx", folder / "crops", folder / "data.npz"
    export("efficientnet_lite0", model)
    crops = HERE.parents[1] / "examples/01_photo/crops.py"
    subprocess.run([sys.executable, str(crops), str(pictures)], check=True, capture_output=True)
    inputs, recipe = graph_inputs(read_onnx(model)), load_recipe("efficientnet_lite0")
    chunks = open_data(str(pictures / "calibration"), inputs, recipe.preprocess).chunks(96, 96)
    image = np.concatenate([chunk.inputs["image"] for chunk in chunks])
    # 96 pictures, each six times: memory and time do not depend on what is on them.
    np.savez(data, image=np.tile(image, (6, 1, 1, 1))[:512])
    ours, peer = HERE / "our_calibration.py", HERE / "calibrate_peer.py"
    found = {}
    for name, script in (("ours", ours), ("peer", peer)):
        for count in (64, 512):
            runs = [two_figures([sys.executable, str(script), *map(str, (model, data, count))]) for _ in range(3)]
            found[name, count] = tuple(statistics.median(run[index] for run in runs) for index in (0, 1))
    growth = {name: 100 * (found[name, 512][1] / found[name, 64][1] - 1) for name in ("ours", "peer")}
    small, large = (found["ours", count][1] for count in (64, 512))
    beside = f"{small:.0f} -> {large:.0f} MiB; onnxruntime's MinMax grows by {growth['peer']:.0f} %"
    ratio = found["ours", 512][0] / found["peer", 512][0]
    took = f"{found['ours', 512][0]:.1f} s against {found['peer', 512][0]:.1f} s"
    return [
        row("calibration memory, 512 samples against 64: growth", growth["ours"], "%", 10, beside),
        row("calibration time / onnxruntime's MinMax, 512 samples", ratio, "x", math.inf, took),
    ]


def builder(folder: Path) -> list[bool]:
    from edgekit.export import export
    from edgekit.quantize import quantize

    export("resnet50", folder / "resnet50.onnx")
    model = quantize(folder / "resnet50.onnx", folder / "resnet50.fp16.onnx").path
    ours, bare = (
        [sys.executable, str(HERE / f"{kind}_builder.py"), str(model), str(folder / kind)] for kind in ("our", "bare")
    )
    two_figures(ours), two_figures(bare)
    runs = [[two_figures(command) for command in (ours, bare, bare)] for _ in range(9)]
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
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if all([*start_up(), *calibration(Path(name)), *builder(Path(name))]) else 1)
