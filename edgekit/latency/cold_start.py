"""How long a new process takes to its first answer, and how much memory it needs: what a robot's restart costs.

Each start is a process of its own that only opens the model and answers, so that no memory of the measurement counts.
The files have been read before: what a disk adds after a reboot is not in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError, SessionError
from edgekit.reports import Progress, no_progress, peak_rss_mib

Inputs = dict[str, npt.NDArray[Any]]
_MORE_RUNS = 5  # an allocator reaches its peak after a few
_LONGEST_S = 600
# As edgekit.judge starts its own: not `-m`, which puts the current folder first.
_ROOT = Path(__file__).parents[2]
_START = (
    "import sys; sys.path[:] = [item for item in sys.path if item] + [sys.argv[1]]; "
    "from edgekit.latency.cold_start import _main; _main(sys.argv[2])"
)


@dataclass(frozen=True)
class Request:
    """What a process is asked: `model` is a bundle's folder, or an ONNX's bytes; `inputs` and `outputs` by name."""

    model: Path | bytes
    backend: str
    inputs: Inputs
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """One process: `seconds` from its start to its first answer, of which `open_s` is opening and `first_s` the first
    inference; the rest is Python and its imports. `peak_rss_mib` is the most memory that it had, after six answers."""

    seconds: float
    open_s: float
    first_s: float
    peak_rss_mib: float


def cold_starts(request: Request, count: int, progress: Progress = no_progress) -> tuple[Start, ...]:
    """Start `count` processes, one after the other, that open the model and answer. SessionError when one fails."""
    from edgekit.data import write_npz  # brings Pillow, which is no memory of the processes

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        inputs, model = Path(folder) / "inputs.npz", request.model
        write_npz(inputs, request.inputs)
        if isinstance(model, bytes):
            source = Path(folder) / "model.onnx"
            source.write_bytes(model)
        else:
            source = model.resolve()
        table = {"source": str(source), "backend": request.backend, "outputs": request.outputs, "inputs": str(inputs)}
        starts = []
        for index in range(count):
            progress("starting processes", index, count)
            starts.append(_started(json.dumps(table)))
        return tuple(starts)


def _started(asked: str) -> Start:
    with tempfile.TemporaryFile() as errors:  # not a pipe: what a library prints could fill it and stop the process
        begin = time.perf_counter()
        # Unbuffered: what a buffer has read behind the first line, `communicate` would not see.
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(_ROOT), asked], stdout=subprocess.PIPE, stderr=errors, bufsize=0
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            seconds = time.perf_counter() - begin
            rest, _ = process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise SessionError(
                f"expected a new process to answer six times in {_LONGEST_S} s, found it busy"
            ) from error
        finally:
            process.kill()
            process.communicate()
        told: dict[str, Any] = {}
        for line in (first, *rest.splitlines()):
            told |= json.loads(line or b"{}")
        if process.returncode or "peak_rss_mib" not in told:
            errors.seek(0)
            last = (errors.read().decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
            said = told.get("error") or f"exit code {process.returncode}, {last[:300]}"
            raise SessionError(f"expected a new process to open the model and answer, found: {said}", "--cold-starts 0")
        return Start(seconds=round(seconds, 4), **told)


def _main(asked: str) -> None:
    """The process itself: a line of JSON after the first answer, and one at its end."""
    # Nothing but answers may go out: what a library prints, also in C++, goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    table = json.loads(asked)
    with np.load(table["inputs"]) as file:
        inputs = {name: file[name] for name in file.files}
    try:
        _answer(table, inputs, answers)
    except EdgekitError as error:
        print(json.dumps({"error": error.problem}), file=answers, flush=True)


def _answer(asked: dict[str, Any], inputs: Inputs, answers: Any) -> None:
    begin = time.perf_counter()
    with _opened(Path(asked["source"]), asked["backend"], inputs, asked["outputs"]) as run:
        opened = time.perf_counter()
        run()
        done = time.perf_counter()
        parts = {"open_s": round(opened - begin, 4), "first_s": round(done - opened, 4)}
        print(json.dumps(parts), file=answers, flush=True)
        for _ in range(_MORE_RUNS):
            run()
        print(json.dumps({"peak_rss_mib": peak_rss_mib()}), file=answers, flush=True)


@contextlib.contextmanager
def _opened(source: Path, backend: str, inputs: Inputs, outputs: list[str]) -> Iterator[Callable[[], object]]:
    if source.is_dir():
        from edgekit.runtime import Session

        with Session.open(source, backend) as session:
            yield lambda: session.run(inputs)
        return
    from edgekit.judge import OPTIMIZATION
    from edgekit.runtime.ort import OrtBackend
    from edgekit.specs import TensorSpec

    specs = tuple(TensorSpec(name, str(array.dtype), array.shape) for name, array in inputs.items())
    ort = OrtBackend(source.read_bytes(), OPTIMIZATION, specs)
    ort.bind({name: array.shape for name, array in inputs.items()}, dict.fromkeys(outputs))
    for name, array in inputs.items():
        ort.input(name)[...] = array
    yield ort.enqueue
    ort.close()
