"""Whoever answers the requests, with a stamp at the end of each stage."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgekit.bench.requests import Requests
from edgekit.data import Array
from edgekit.judge import OPTIMIZATION
from edgekit.rewrite.reading import read_onnx_file
from edgekit.runtime import Session
from edgekit.runtime.ort import OrtBackend
from edgekit.validate.subject import Subject

Step = Callable[[], object]


@dataclass(frozen=True)
class Server:
    """Call it once a request. `stages` are the ones that it has, `absent` why it has not the others.

    `stamps` are of all calls so far, in ns: when the call began, and when each stage was over.
    """

    steps: tuple[Step, ...]
    stages: tuple[str, ...]
    backend: str
    device: str
    reason: str
    absent: dict[str, str]
    now: Callable[[], int] = time.perf_counter_ns
    stamps: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self) -> None:
        now = self.now
        stamps = [now()]
        for step in self.steps:
            step()
            stamps.append(now())
        self.stamps.append(tuple(stamps))


@contextmanager
def serving(subject: Subject, backend: str, requests: Requests) -> Iterator[Server]:
    """Yield a server of these requests: a Session for a bundle, onnxruntime for an ONNX."""
    if subject.manifest is not None:
        with Session.open(subject.path, backend) as session:
            yield _of_session(session, requests)
        return
    ort = OrtBackend(read_onnx_file(subject.onnx).serialized, OPTIMIZATION, (*subject.inputs, *subject.outputs))
    sizes = {
        axis: size
        for spec in subject.inputs
        for axis, size in zip(spec.shape, requests.shapes[spec.name], strict=True)
        if isinstance(axis, str)
    }
    ort.bind(requests.shapes, {spec.name: spec.at(sizes) for spec in subject.outputs})
    steps = (_writing(requests, ort.input), ort.enqueue)
    absent = _copies("ort") | {"post": "an ONNX file does not say what its outputs mean"}
    try:
        yield Server(steps, ("pre", "compute"), "ort", ort.device, "an ONNX file", absent)
    finally:
        ort.close()


def _of_session(session: Session, requests: Requests) -> Server:
    steps: list[Step] = []
    if requests.pictures:
        steps.append(_preprocessing(session, requests))
    else:
        for name, shape in requests.shapes.items():
            session.set_shape(name, shape)
        steps.append(_writing(requests, session.input))
    steps.append(session.execute)
    absent, stages = _copies(session.backend), ["pre", "compute"]
    if session.postprocessing is None:
        absent["post"] = "the bundle does not say what its outputs mean"
    else:
        steps.append(session.postprocess)
        stages.append("post")
    return Server(tuple(steps), tuple(stages), session.backend, session.device, session.reason, absent)


def _copies(backend: str) -> dict[str, str]:
    """Why copies to and from the device have no times of their own."""
    why = (
        "onnxruntime's CPU computes in the host's memory"
        if backend == "ort"
        else "part of compute: the copies and the engine are one submission"
    )
    return {"h2d": why, "d2h": why}


def _writing(requests: Requests, buffer: Callable[[str], Array]) -> Step:
    """Copy the next arrays into the bound buffers."""
    turns = itertools.cycle(requests.arrays)

    def write() -> None:
        for name, array in next(turns).items():
            buffer(name)[...] = array

    return write


def _preprocessing(session: Session, requests: Requests) -> Step:
    """Make the next pictures into the input, one for each place of the batch."""
    turns = itertools.cycle(requests.pictures)

    def preprocess() -> None:
        for place, picture in enumerate(next(turns)):
            session.preprocess(picture, place)

    return preprocess
