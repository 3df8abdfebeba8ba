"""Run an ONNX model over batches in a process of its own.

onnxruntime's optimisations turn some good FP16 and Q/DQ models into noise, and some FP16 recurrent models crash it
while loading: so numbers are judged at ORT_DISABLE_ALL, and a crash is an error of one line, not ours. Batches go
through pipes, one at a time: memory is that of one batch, and nothing is written to disk.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.data import Batch
from edgekit.data.arrays import put_batch, take_batch
from edgekit.errors import ModelError
from edgekit.fresh import answers_only, fresh_python

OPTIMIZATION = "disable_all"


class Judge:
    """One model in one process; use it as a context manager, from one thread. Two of them load side by side."""

    def __init__(self, model: Path, called: str = "", inherited: tuple[int, ...] = ()) -> None:
        """Errors name the model as `called`, or else by its path.

        The process has the open files `inherited`, by the same numbers: one that has no name has only these.
        """
        self._called = called or str(model)
        self._loaded = False
        # A file, not a pipe: what onnxruntime prints could fill a pipe and stop it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            fresh_python(__name__, str(model)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=inherited,
        )

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> None:
        """Wait until the model is loaded; ModelError when onnxruntime refuses or crashes."""
        if not self._loaded:
            self._answer()
            self._loaded = True

    def run(self, batch: Batch) -> Batch:
        """The outputs by name; ModelError when onnxruntime refuses or crashes."""
        self.load()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it said is read below
            put_batch(self._process.stdin, batch)
        return self._answer()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _answer(self) -> Batch:
        assert self._process.stdout is not None
        found = take_batch(self._process.stdout)
        if found is None:
            raise self._failure()
        return found

    def _failure(self) -> ModelError:
        code = self._process.wait()
        if code < 0:
            return ModelError(f"onnxruntime crashed with signal {-code} on {self._called}")
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        # The message stands behind the last line of the traceback, and may have several lines.
        last = max((index for index, line in enumerate(lines) if line.startswith(" ")), default=-1)
        reason = " ".join(lines[last + 1 :]) or "no reason given"
        return ModelError(f"onnxruntime refuses {self._called}: {reason[:300]}")


def outputs_of(model: Path, inputs: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the outputs of `model` by name for each batch; ModelError when onnxruntime refuses or crashes."""
    with Judge(model) as judge:
        judge.load()
        for batch in inputs:
            yield judge.run(batch)


def plain_session(model: str | bytes) -> Any:
    """An onnxruntime session on the CPU at ORT_DISABLE_ALL, in this process; raises what onnxruntime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def child(model: str) -> None:
    """The process itself: takes batches until there are no more."""
    answers = answers_only("wb")
    session = plain_session(model)
    put_batch(answers, {})
    names = [output.name for output in session.get_outputs()]
    while (batch := take_batch(sys.stdin.buffer)) is not None:
        put_batch(answers, dict(zip(names, (np.asarray(item) for item in session.run(names, batch)), strict=True)))
