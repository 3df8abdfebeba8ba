"""Who computes the outputs that are judged: an engine in a Session, or onnxruntime in a process of its own.

onnxruntime's CPU has hardly a kernel for BF16 or FP16. BF16 it refuses; FP16 it computes in FP32, and goes on in FP32
from node to node, where 1e8 stays finite that is infinite on a GPU. So a model that holds either is judged by its FP32
twin (edgekit.rewrite.emulated), which rounds each tensor as the model does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekit.data import Batch
from edgekit.errors import ModelError, TargetError, first_line
from edgekit.judge import Judge
from edgekit.rewrite.emulated import emulated
from edgekit.rewrite.reading import read_onnx
from edgekit.runtime.choice import choose
from edgekit.validate.subject import ORT, Subject

_NARROW_INPUTS = ("float16", "bfloat16")


class Runner(Protocol):
    """Whoever computes the outputs of a batch."""

    def run(self, batch: Batch) -> Batch: ...


@dataclass(frozen=True)
class Running:
    """`backend` is for the verdict, such as `ort, cpu, fp16 emulated`; `emulated` are the dtypes that were."""

    runner: Runner
    backend: str
    emulated: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@contextmanager
def running(subject: Subject, backend: str) -> Iterator[Running]:
    """Yield whoever computes.

    onnxruntime runs at ORT_DISABLE_ALL; an engine runs in a Session, which only a bundle has. Where a twin cannot be
    made or loaded, the model itself is run, with a warning. Raises TargetError for a backend that is not there, and
    ModelError where neither a twin nor the model itself can be loaded.
    """
    with ExitStack() as stack:
        if not subject.on_onnxruntime(backend):
            session = stack.enter_context(subject.session(backend))
            yield Running(session, f"{session.backend}, {session.device}")
        elif subject.narrow:
            yield _narrow(subject, stack)
        else:
            yield Running(stack.enter_context(_judge(subject)), ORT)


def check_timeable(subject: Subject, backend: str) -> None:
    """Raise TargetError for a backend that is not there, and where latency is to be measured of a BF16 model that
    onnxruntime cannot run: a twin's would be that of another model."""
    if subject.manifest is not None:
        choose(subject.manifest, backend)
    if "bf16" not in subject.narrow or not subject.on_onnxruntime(backend):
        return
    with _judge(subject) as judge:
        try:
            judge.load()
        except ModelError as error:
            raise TargetError(
                f"expected a model to measure the latency of, found BF16 in {subject.called}, which onnxruntime's CPU "
                "cannot run",
                "a --budget without latency; a GPU runs the bundle's engine",
            ) from error


def _judge(subject: Subject) -> Judge:
    return Judge(subject.onnx, subject.called, subject.kept.inherited if subject.kept else ())


def _narrow(subject: Subject, stack: ExitStack) -> Running:
    """The twin, or else the model itself."""
    dtypes = " and ".join(subject.narrow)
    try:
        twin = stack.enter_context(_twin(subject))
    except Exception as error:  # whatever it is: the model itself may still run
        reason = first_line(error)
    else:
        return Running(_Widening(twin, subject), f"{ORT}, {dtypes} emulated", subject.narrow)
    itself = stack.enter_context(_judge(subject))
    try:
        itself.load()
    except ModelError as error:
        raise ModelError(f"{error.problem}; and its {dtypes} cannot be emulated: {reason}") from error
    warning = (
        f"{dtypes} was not emulated but run by onnxruntime, in FP32 from node to node: what overflows on a GPU "
        f"may be finite here ({reason})"
    )
    return Running(itself, f"{ORT}, {dtypes} not emulated", warnings=(warning,))


@contextmanager
def _twin(subject: Subject) -> Iterator[Judge]:
    """The emulation, loaded; its file is gone by then, since onnxruntime has read it."""
    with ExitStack() as stack:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder) / "twin.onnx"
            path.write_bytes(emulated(read_onnx(subject.onnx)).SerializeToString())
            judge = stack.enter_context(Judge(path, f"the FP32 twin of {subject.called}"))
            judge.load()
        yield judge


class _Widening:
    """Feeds a twin, whose inputs are FP32 where the model's are narrow."""

    def __init__(self, twin: Judge, subject: Subject) -> None:
        self._twin = twin
        self._narrow = {spec.name for spec in subject.inputs if spec.dtype in _NARROW_INPUTS}

    def run(self, batch: Batch) -> Batch:
        wide = {name: array.astype("float32") for name, array in batch.items() if name in self._narrow}
        return self._twin.run(batch | wide)
