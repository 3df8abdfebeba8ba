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
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import EdgekitError, SessionError
from edgekit.fresh import answers_only, fresh_python

Inputs = dict[str, npt.NDArray[Any]]
Table = dict[str, Any]
_LONGEST_S = 600


@dataclass(frozen=True)
class Request:
    """What a process is asked: `model` is a bundle or its archive, or an ONNX's bytes; `inputs` and `outputs` by name.

    A bundle has to be signed by one of `trusted_keys`, where there are any; by anybody with `require_signature`.
    """

    model: Path | bytes
    backend: str
    inputs: Inputs
    outputs: tuple[str, ...]
    trusted_keys: tuple[Path, ...] = ()
    require_signature: bool = False


@contextlib.contextmanager
def written(request: Request) -> Iterator[Table]:
    """What to tell the process, with files that live as long as the context."""
    from edgekit.bundle import is_archive  # of a process that opens an ONNX this is no memory, either
    from edgekit.data import write_npz  # brings Pillow, which is no memory of the processes

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        inputs, model = Path(folder) / "inputs.npz", request.model
        write_npz(inputs, request.inputs)
        if isinstance(model, bytes):
            source = Path(folder) / "model.onnx"
            source.write_bytes(model)
        else:
            source = model.resolve()
        yield {
            "source": str(source),
            "is_bundle": source.is_dir() or is_archive(source),
            "backend": request.backend,
            "outputs": request.outputs,
            "inputs": str(inputs),
            "trusted_keys": [str(key) for key in request.trusted_keys],
            "require_signature": request.require_signature,
        }


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
        say(answers, {"error": error.problem})


def say(answers: IO[str], table: Table) -> None:
    """A line, at once."""
    print(json.dumps(table), file=answers, flush=True)


@contextlib.contextmanager
def opened(asked: Table, inputs: Inputs) -> Iterator[Callable[[], object]]:
    """In the process: a function that runs the model once, a bundle in a Session, an ONNX in onnxruntime."""
    source = Path(asked["source"])
    if asked["is_bundle"]:
        from edgekit.runtime import Session

        keys, signed = asked["trusted_keys"] or None, asked["require_signature"]
        with Session.open(source, asked["backend"], trusted_keys=keys, require_signature=signed) as session:
            yield lambda: session.run(inputs)
        return
    from edgekit.judge import OPTIMIZATION
    from edgekit.runtime.ort import OrtBackend
    from edgekit.specs import TensorSpec

    specs = tuple(TensorSpec(name, str(array.dtype), array.shape) for name, array in inputs.items())
    ort = OrtBackend(source.read_bytes(), OPTIMIZATION, specs)
    ort.bind({name: array.shape for name, array in inputs.items()}, dict.fromkeys(asked["outputs"]))
    for name, array in inputs.items():
        ort.input(name)[...] = array
    yield ort.enqueue
    ort.close()


def _table(line: bytes) -> Table:
    found: Table = json.loads(line or b"{}")
    return found
