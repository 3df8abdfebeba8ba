"""What opening a bundle costs before onnxruntime has it, beside reading and hashing its files once.

`python -m tests.bench.opening` prints as JSON, for a bundle with a model of 160 MB and for its archive, the medians of
[our seconds, bare seconds, ratio, bare against bare], pair by pair.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from edgekit.bundle import Contents, Manifest, ModelEntry, archive, pack, verify_archive
from edgekit.runtime import opening
from edgekit.specs import TensorSpec

_ROUNDS = 15
_WEIGHTS = 40  # of 4 MB each


def large_bundle(folder: Path) -> Path:
    """Forty products in a row; the weights are random, since only their size counts here."""
    helper, random = onnx.helper, np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(random.normal(size=(1000, 1000)).astype(np.float32), f"w{index}")
        for index in range(_WEIGHTS)
    ]
    nodes = [
        helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"x{index + 1}"], f"product{index}")
        for index in range(_WEIGHTS)
    ]
    ends = [helper.make_tensor_value_info(name, 1, ["batch", 1000]) for name in ("x0", f"x{_WEIGHTS}")]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "m.onnx")
    first, last = (TensorSpec(name, "float32", ("batch", 1000)) for name in ("x0", f"x{_WEIGHTS}"))
    model = ModelEntry("model.onnx", "", "", "fp32", "disable_all")
    manifest = Manifest("bench", "", model, "", "", "", (), (first,), (last,), {"batch": (1, 1, 8)}, (), {})
    pack(folder / "bundle", manifest, Contents({"model.onnx": folder / "m.onnx"}))
    return folder / "bundle"


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def bare(path: Path) -> None:
    """Every file read and hashed once."""
    for file in [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]:
        hashlib.sha256(file.read_bytes()).digest()


def compared(ours: Callable[[], object], path: Path) -> list[float]:
    """Ours, bare and bare again, in turn."""
    runs = [(seconds(ours), seconds(lambda: bare(path)), seconds(lambda: bare(path))) for _ in range(_ROUNDS + 1)][1:]
    took, read = (statistics.median(run[index] for run in runs) for index in (0, 1))
    return [took, read, *(statistics.median(run[index] / run[1] for run in runs) for index in (0, 2))]


def main() -> None:
    """Measure both; nothing is loaded, so that only the way there counts."""
    opening.load = lambda verified, choice: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as name:
        bundle, archived = large_bundle(Path(name)), Path(name, "bundle.ekb")
        archive(bundle, archived)
        found = {
            "Session.open, 160 MB": compared(lambda: opening.open_bundle(bundle, "ort", "raise"), bundle),
            "verify of an .ekb, 160 MB": compared(lambda: verify_archive(archived), archived),
        }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
