"""Run an ONNX model over batches in a process of its own.

onnxruntime's optimisations turn some good FP16 and Q/DQ models into noise, and some FP16 recurrent models crash it
while loading: so numbers are judged at ORT_DISABLE_ALL, and a crash is an error of one line, not ours.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data import Batch, write_npz
from edgekit.errors import ModelError

OPTIMIZATION = "disable_all"
# Not `-m`: that puts the current folder first, where a user's random.py would stand in for Python's own.
_ROOT = Path(__file__).parents[1]
_START = (
    "import sys; sys.path[:] = [item for item in sys.path if item] + [sys.argv[1]]; "
    "from edgekit.judge import _main; _main(*sys.argv[2:4], int(sys.argv[4]))"
)


def outputs_of(model: Path, inputs: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the outputs of `model` by name for each batch; ModelError when onnxruntime refuses or crashes."""
    with tempfile.TemporaryDirectory(prefix="edgekit-judge-") as folder:
        root = Path(folder)
        count = 0
        for count, batch in enumerate(inputs, start=1):
            write_npz(root / f"in{count}.npz", batch)
        done = subprocess.run(
            [sys.executable, "-c", _START, str(_ROOT), str(model), folder, str(count)], capture_output=True, text=True
        )
        if done.returncode < 0:
            raise ModelError(f"onnxruntime crashed with signal {-done.returncode} on {model}")
        if done.returncode > 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(f"onnxruntime refuses {model}: {last[:300]}")
        for index in range(1, count + 1):
            yield _load(root / f"out{index}.npz")


def _load(path: Path) -> Batch:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def plain_session(model: str | bytes) -> Any:
    """An onnxruntime session on the CPU at ORT_DISABLE_ALL, in this process; raises what onnxruntime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _main(model: str, folder: str, count: int) -> None:
    session = plain_session(model)
    names = [output.name for output in session.get_outputs()]
    for index in range(1, count + 1):
        outputs = session.run(names, _load(Path(folder) / f"in{index}.npz"))
        write_npz(Path(folder) / f"out{index}.npz", dict(zip(names, outputs, strict=True)))
