"""A new process that opens a model and tells what it measured, a line of JSON at a time: another program on the device.

It holds only what it takes to open the model and to answer, so that no memory of the measurement counts.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError, IntegrityError, SessionError
from edgekit.fresh import answers_only, fresh_python

if TYPE_CHECKING:
    from edgekit.latency.pinned import Pinned

Inputs = dict[str, npt.NDArray[Any]]
Table = dict[str, Any]
_LONGEST_S = 600


@dataclass(frozen=True)
class Request:
    """What a process is asked: `model` is a bundle, or an ONNX's bytes; `inputs` and `outputs` by name."""

    model: Pinned | bytes
    backend: str
    inputs: Inputs
    outputs: tuple[str, ...]


@contextlib.contextmanager
def written(request: Request) -> Iterator[Table]:
    """What to tell the process, with files that live as long as the context."""
    from edgekit.data import write_npz  # brings Pillow, which is no memory of the processes

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        inputs, model = Path(folder) / "inputs.npz", request.model
        write_npz(inputs, request.inputs)
        if isinstance(model, bytes):
            onnx = Path(folder) / "model.onnx"
            onnx.write_bytes(model)
            asked: Table = {"onnx": str(onnx)}
        else:
            asked = {"bundle": model.table()}
        yield {**asked, "backend": request.backend, "outputs": request.outputs, "inputs": str(inputs)}


@dataclass(frozen=True)
class Child:
    """A process under way, since `begin` on `time.perf_counter`; what it says by itself goes to the file `errors`."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    begin: float

    def line(self) -> Table:
        """Wait for its next line; empty where it has ended without."""
        assert self.process.stdout is not None
        return _table(self.process.stdout.readline())

    def end(self) -> Table:
        """Close its input, by which it knows that it is to end, and wait: all lines that are left, as one table.

        Raises SessionError where it does not end within 600 s.
        """
        try:
            rest, _ = self.process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise SessionError(f"expected a new process to answer within {_LONGEST_S} s, found it busy") from error
        told: Table = {}
        for line in rest.splitlines():
            told |= _table(line)
        return told

    def failure(self, told: Table) -> str:
        """Why it did not tell what it was asked: its own words, else its exit code and the last thing that it said."""
        self.process.wait(_LONGEST_S)
        self.errors.seek(0)
        last = (self.errors.read().decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
        return told.get("error") or f"exit code {self.process.returncode}, {last[:300]}"

    def error(self, told: Table, wanted: str, next_step: str) -> EdgekitError:
        """What to raise where it failed: IntegrityError where it refused what it was to open, else SessionError."""
        kind = IntegrityError if told.get("exit_code") == IntegrityError.exit_code else SessionError
        return kind(f"expected {wanted}, found: {self.failure(told)}", next_step)

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not well."""
        return bool(self.process.poll())


@contextlib.contextmanager
def started(module: str, asked: Table) -> Iterator[Child]:
    """A process that runs `child(asked)` of a module of this room; it is killed where it still runs in the end."""
    with tempfile.TemporaryFile() as errors:  # not a pipe: what a library prints could fill it and stop the process
        begin = time.perf_counter()
        command = fresh_python(module, json.dumps(asked))
        # Unbuffered: what a buffer has read behind a line, `communicate` would not see.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        try:
            yield Child(process, errors, begin)
        finally:
            process.kill()
            process.communicate()


def tell(asked: str, answer: Callable[[Table, Inputs, IO[str]], None]) -> None:
    """In the process: call `answer` with what was asked, the inputs and where to write lines of JSON."""
    answers = answers_only("w")
    table = json.loads(asked)
    with np.load(table["inputs"]) as file:
        inputs = {name: file[name] for name in file.files}
    try:
        answer(table, inputs, answers)
    except EdgekitError as error:
        say(answers, {"error": error.problem, "exit_code": error.exit_code})


def say(answers: IO[str], table: Table) -> None:
    """A line, at once."""
    print(json.dumps(table), file=answers, flush=True)


@contextlib.contextmanager
def opened(asked: Table, inputs: Inputs) -> Iterator[Callable[[], object]]:
    """In the process: a function that runs the model once, a bundle in a Session, an ONNX in onnxruntime."""
    if "bundle" in asked:
        from edgekit.latency.pinned import Pinned  # brings the runtime, which for an ONNX is no memory of the process

        with Pinned.of(asked["bundle"]).session(asked["backend"]) as session:
            yield lambda: session.run(inputs)
        return
    from edgekit.judge import OPTIMIZATION
    from edgekit.runtime.ort import OrtBackend
    from edgekit.specs import TensorSpec

    specs = tuple(TensorSpec(name, str(array.dtype), array.shape) for name, array in inputs.items())
    ort = OrtBackend(Path(asked["onnx"]).read_bytes(), OPTIMIZATION, specs)
    ort.bind({name: array.shape for name, array in inputs.items()}, dict.fromkeys(asked["outputs"]))
    for name, array in inputs.items():
        ort.input(name)[...] = array
    yield ort.enqueue
    ort.close()


def _table(line: bytes) -> Table:
    found: Table = json.loads(line or b"{}")
    return found
