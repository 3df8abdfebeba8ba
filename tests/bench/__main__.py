"""`make bench`: print one row a figure, with its bar and whether it holds; exits 1 when one does not."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import sysconfig
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


# Rounds of so many calls each: some seconds on a network of milliseconds, and on one of microseconds.
SERVED = {"efficientnet_lite0": (60, 3), "lstm_forecaster": (300, 50)}


def session(folder: Path) -> list[bool]:
    """What a Session adds to onnxruntime, beside what onnxruntime adds to itself."""
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    results = []
    for name, (rounds, calls) in SERVED.items():
        deploy(name, folder / name, DeployConfig(target="cpu", precision="fp32", budget="cosine>=0.999"))
        bundle = folder / name / "bundle"
        command = [sys.executable, "-m", "tests.bench.runtime", *map(str, (bundle, rounds, calls))]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for what, share, most_us in (("execute", 2, 10), ("run", 5, math.inf)):
            ours, raw, difference, ratio = found[what]
            control = found[f"{what} control"]
            # A share of a network of milliseconds; microseconds where a call is hardly more than that.
            large = raw > 1
            value, unit, bar = (100 * (ratio - 1), "%", share) if large else (1e3 * difference, "us", most_us)
            beside = f"{ours:.4f} ms against {raw:.4f} ms; raw against raw {100 * (control[3] - 1):+.2f} %, "
            beside += f"{1e3 * control[2]:+.1f} us"
            results.append(row(f"Session.{what} over onnxruntime, {name}", value, unit, bar, beside))
    return results


def opened() -> list[bool]:
    """All that is checked before onnxruntime sees a byte."""
    command = [sys.executable, "-m", "tests.bench.opening"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    results = []
    for what, (ours, bare, ratio, control) in found.items():
        beside = f"{1e3 * ours:.0f} ms against {1e3 * bare:.0f} ms; bare against bare {control:.2f}"
        results.append(row(f"{what} / reading and hashing once", ratio, "x", 1.2, beside))
    return results


def camera_loop() -> list[bool]:
    """At twice the rate that can be served; the queue is the control, which breaks the bar.

    What happens while the whole machine stands still is told apart, with how often that touches any frame.
    """
    command = [sys.executable, "-m", "tests.bench.loop", "300"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    results = []
    for name, bar in (("latest", 0), ("fifo of 8", math.inf)):
        case = found[name]
        late = 100 * (case["above"] - case["paused"])
        beside = f"age p50 {case['age']['p50']:.1f} ms, p99 {case['age']['p99']:.1f}; with pauses of the machine "
        beside += f"{100 * case['above']:.1f} %, and they touch {100 * case['any_paused']:.1f} % of all frames"
        results.append(row(f"frames above service + period + lateness + 2 ms, {name}", late, "%", bar, beside))
    worst = max(case["largest_ratio"] for case in found["watchdog"])
    results.append(row("watchdog's report / its limit, at worst", worst, "x", 1.5, "limits of 20 and 100 ms"))
    results.append(row("the loop's own time a frame", found["frame_us"], "us", math.inf, "with an empty function"))
    return results


# What each network is built for: name:min:opt:max.
BUILT = {
    "resnet50": ("image:1x3x224x224:1x3x224x224:8x3x224x224",),
    "bert_classifier": ("tokens:1x1:1x128:8x512", "mask:1x1:1x128:8x512"),
}


def builder(folder: Path, polygraphy: Path) -> list[bool]:
    """Ours, the bare script twice, and Polygraphy's convert, in turn, on each network in FP16."""
    results = []
    for name, ranges in BUILT.items():
        model = half_precision(name, folder)
        ours, bare = (
            [sys.executable, str(HERE / f"{kind}_builder.py"), str(model), str(folder / kind), *ranges]
            for kind in ("our", "bare")
        )
        convert = polygraphy_command(polygraphy, model, folder / "polygraphy.engine", ranges)
        two_figures(ours), two_figures(bare), seconds(convert)
        runs = [[*(two_figures(command) for command in (ours, bare, bare)), seconds(convert)] for _ in range(9)]
        for index, what in enumerate(("after the imports", "imports included")):
            results.append(builder_row(f"{name}, {what}", index, runs))
        process = [sys.executable, "-m", "edgekit", "build-engine", str(model), str(folder / "our"), "--target", "rtx"]
        process += ["--compute-capability", "8.6", *(word for text in ranges for word in ("--shape", text))]
        took, peer, ratio = medians(process, convert, seconds, 5)
        beside = f"{took:.2f} s against {peer:.2f} s, whole commands"
        results.append(row(f"build-engine / polygraphy convert, {name}", ratio, "x", math.inf, beside))
    return results


def half_precision(name: str, folder: Path) -> Path:
    from edgekit.configs import ExportConfig
    from edgekit.export import export
    from edgekit.quantize import quantize

    export(name, folder / f"{name}.onnx", ExportConfig(target="rtx", precision="fp16"))
    return quantize(folder / f"{name}.onnx", folder / f"{name}.fp16.onnx").path


def builder_row(what: str, index: int, runs: list[list]) -> bool:
    ratio, control = (statistics.median(run[a][index] / run[b][index] for run in runs) for a, b in ((0, 1), (2, 1)))
    took, peer = (statistics.median(run[which][index] for run in runs) for which in (0, 1))
    beside = f"{took:.2f} s against {peer:.2f} s; bare against bare {control:.2f}"
    # The bar is without the start of the interpreter, imports included: the second row is for the record.
    return row(f"build-engine / bare builder, {what}", ratio, "x", 1.5 if index == 0 else math.inf, beside)


def polygraphy_command(tool: Path, model: Path, out: Path, ranges: tuple[str, ...]) -> list[str]:
    """The same build by Polygraphy: https://github.com/NVIDIA/TensorRT/tree/main/tools/Polygraphy."""
    command = [str(tool), "convert", str(model), "-o", str(out), "--compute-capabilities", "8.6"]
    for at, flag in enumerate(("--trt-min-shapes", "--trt-opt-shapes", "--trt-max-shapes"), 1):
        shapes = (text.split(":") for text in ranges)
        command += [flag, *(f"{parts[0]}:[{parts[at].replace('x', ',')}]" for parts in shapes)]
    return ["env", "POLYGRAPHY_USE_TENSORRT_RTX=1", *command]


def install_polygraphy(folder: Path) -> Path:
    """Polygraphy in an environment of its own that sees ours: it is a peer, not a dependency."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "polygraphy==0.53.6"], check=True)
    return folder / "bin/polygraphy"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        polygraphy = install_polygraphy(work / "polygraphy")
        parts = (start_up(), opened(), session(work), camera_loop(), builder(work, polygraphy), calibration(work))
        sys.exit(0 if all(holds for part in parts for holds in part) else 1)
