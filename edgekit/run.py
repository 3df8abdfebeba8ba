"""A bundle on real input: pictures become labels, arrays become outputs, each with its time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.configs import RunConfig
from edgekit.data import Data, PictureData, batches, open_data, read_picture
from edgekit.errors import DataError, UsageError
from edgekit.postprocess import lines
from edgekit.reports import StageReport, Stopwatch, peak_rss_mib
from edgekit.runtime import Session
from edgekit.specs import of_pictures


@dataclass(frozen=True)
class Frame:
    """One input: `answer` is its labels with probabilities, or what else the bundle makes of it, or shapes."""

    name: str
    answer: tuple[str, ...]
    preprocess_ms: float
    compute_ms: float


@dataclass(frozen=True)
class RunReport(StageReport):
    """`path` is the bundle; nothing is written."""

    backend: str
    device: str
    reason: str
    frames: tuple[Frame, ...]


def run(bundle: Path, config: RunConfig, show: Callable[[Frame], None] = lambda frame: None) -> RunReport:
    """Run the bundle on `config.source` one frame after the other; `show` hears of each as it is done.

    Raises DataError for a source that does not fit, IntegrityError and TargetError as `Session.open` does.
    """
    watch = Stopwatch()
    if not config.source:
        raise UsageError("expected something to run on, found no source", "--source FILE_OR_FOLDER")
    with Session.open(bundle, config.backend) as session:
        frames = []
        for frame in _frames(session, config):
            show(frame)
            frames.append(frame)
        health = session.health()
    return RunReport(
        path=bundle,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=(),
        backend=str(health["backend"]),
        device=str(health["device"]),
        reason=str(health["reason"]),
        frames=tuple(frames),
    )


def _frames(session: Session, config: RunConfig) -> Iterator[Frame]:
    # Opened first of all: what does not fit is said before the warm-up.
    data = open_data(config.source, tuple(session.inputs.values()), of_pictures(session.preprocessing))
    session.warmup()
    if isinstance(data, PictureData):
        return _picture_frames(session, data.files, config.top)
    return _array_frames(session, data, config.top)


def _picture_frames(session: Session, files: tuple[Path, ...], top: int) -> Iterator[Frame]:
    for file in files:
        picture = read_picture(file)
        start = time.perf_counter_ns()
        session.preprocess(picture)
        preprocess_ms = (time.perf_counter_ns() - start) / 1e6
        timing = session.execute()
        yield Frame(file.name, _answer(session, top), preprocess_ms, timing.compute_ms)


def _array_frames(session: Session, data: Data, top: int) -> Iterator[Frame]:
    """One sample after the other, or as many at once as the model fixes; then the answer is the first one's."""
    for samples in batches(data, tuple(session.inputs.values()), 1, sys.maxsize):
        # All shapes before any value: another shape makes the buffers anew.
        for name, array in samples.inputs.items():
            if session.input(name).shape != array.shape:
                session.set_shape(name, array.shape)
        for name, array in samples.inputs.items():
            session.input(name)[...] = array
        timing = session.execute()
        yield Frame(f"sample {samples.index[0]}", _answer(session, top), 0.0, timing.compute_ms)


def _answer(session: Session, top: int) -> tuple[str, ...]:
    """What the bundle makes of batch position 0, or the outputs' shapes where it makes nothing of them."""
    if session.postprocessing is None:
        return tuple(f"{name}{list(session.output(name).shape)}" for name in session.outputs)
    try:
        return lines(session.postprocessing, session.postprocess(top)[0])
    except DataError as error:
        return (str(error),)
