"""Whoever answers the requests, with a stamp at the end of each stage."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgekit.bench.requests import Requests
from edgekit.data import Array
from edgekit.latency.device_stages import DeviceSource
from edgekit.runtime import Session
from edgekit.runtime.trt_stages import StageEvents, stage_events
from edgekit.validate.subject import Subject, bound_onnx

Step = Callable[[], object]


@dataclass(frozen=True)
class Server:
    """Call it once a request. `stages` are the ones that it has, `absent` why it has not the others.

    `stamps` are of all calls so far, in ns: when the call began, and when each stage was over. `on_device` is who can
    time copies and engine by themselves, None where the host computes.
    """

    steps: tuple[Step, ...]
    stages: tuple[str, ...]
    backend: str
    device: str
    reason: str
    absent: dict[str, str]
    now: Callable[[], int] = time.perf_counter_ns
    stamps: list[tuple[int, ...]] = field(default_factory=list)
    on_device: DeviceSource | None = None

    def __call__(self) -> None:
        now = self.now
        stamps = [now()]
        for step in self.steps:
            step()
            stamps.append(now())
        self.stamps.append(tuple(stamps))

    def infer(self) -> float:
        """A request as any other; what its stage `compute` took, in ms."""
        self()
        began = self.stages.index("compute")
        return (self.stamps[-1][began + 1] - self.stamps[-1][began]) / 1e6


@contextmanager
def serving(subject: Subject, backend: str, requests: Requests) -> Iterator[Server]:
    """Yield a server of these requests: a Session for a bundle, onnxruntime for an ONNX."""
    if subject.manifest is not None:
        with subject.session(backend) as session:
            yield _of_session(session, requests)
        return
    absent = _copies(None) | {"post": "an ONNX file does not say what its outputs mean"}
    with bound_onnx(subject, requests.shapes) as ort:
        steps = (_writing(requests, ort.input), ort.enqueue)
        yield Server(steps, ("pre", "compute"), "ort", ort.device, "an ONNX file", absent)


def _of_session(session: Session, requests: Requests) -> Server:
    steps: list[Step] = []
    if requests.pictures:
        steps.append(_preprocessing(session, requests))
    else:
        for name, shape in requests.shapes.items():
            session.set_shape(name, shape)
        steps.append(_writing(requests, session.input))
    steps.append(session.execute)
    events, stages = stage_events(session), ["pre", "compute"]
    absent = _copies(events)
    if session.postprocessing is None:
        absent["post"] = "the bundle does not say what its outputs mean"
    else:
        steps.append(session.postprocess)
        stages.append("post")
    who = (session.backend, session.device, session.reason)
    return Server(tuple(steps), tuple(stages), *who, absent, on_device=_on_device(session, events))


def _on_device(session: Session, events: StageEvents | None) -> DeviceSource | None:
    if events is None:
        return None
    return DeviceSource(events, lambda: str(session.health()["cuda_graph"]), own_graphs=session.backend == "rtx")


def _copies(events: StageEvents | None) -> dict[str, str]:
    """Why copies to and from the device are no stages of a request."""
    if events is None:
        why = "onnxruntime's CPU computes in the host's memory"
    elif events.copied:
        why = "part of compute: the copies and the engine are one submission, device_stages times them apart"
    else:
        why = "nothing is copied: the GPU computes in the host's memory"
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
