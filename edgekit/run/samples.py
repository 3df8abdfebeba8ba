"""One sample after the other: pictures, sounds, lines of text, arrays."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.configs import RunConfig
from edgekit.data import Data, PictureData, batches, open_data, read_picture
from edgekit.errors import DataError
from edgekit.postprocess import lines
from edgekit.runtime import Session
from edgekit.runtime.loop.placed import placed
from edgekit.specs import AudioPreprocess, TextPreprocess, of_pictures

SOUNDS = (".wav", ".wave")
TEXTS = (".txt",)


@dataclass(frozen=True)
class Frame:
    """One input: `answer` is its labels with probabilities, or what else the bundle makes of it, or shapes.

    Boxes are in pixels of the picture; of arrays, in those of the network's input.
    """

    name: str
    answer: tuple[str, ...]
    preprocess_ms: float
    compute_ms: float


def frames(session: Session, config: RunConfig) -> Iterator[Frame]:
    """Run on all that `config.source` names. Raises DataError for what does not fit, before the warm-up."""
    path, spec = Path(config.source), session.preprocessing
    if isinstance(spec, AudioPreprocess) and path.suffix.lower() in SOUNDS:
        from edgekit.runtime.sources.wav import read_wav

        return _items(session, [(path.name, _itself(read_wav(path, spec.rate)))], config.top)
    if isinstance(spec, TextPreprocess) and path.suffix.lower() in TEXTS:
        return _items(session, [(line, _itself(line)) for line in _texts(path)], config.top)
    data = open_data(config.source, tuple(session.inputs.values()), of_pictures(spec))
    if isinstance(data, PictureData):
        return _items(session, [(file.name, _picture(file)) for file in data.files], config.top)
    return _arrays(session, data, config.top)


def _texts(path: Path) -> list[str]:
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a text in UTF-8 at {path}, found: {error}") from error
    texts = [line for line in found if line]
    if not texts:
        raise DataError(f"expected a line of text in {path}, found none")
    return texts


def _itself(item: Any) -> Callable[[], Any]:
    return lambda: item


def _picture(file: Path) -> Callable[[], Any]:
    return lambda: read_picture(file)


def _items(session: Session, items: list[tuple[str, Callable[[], Any]]], top: int) -> Iterator[Frame]:
    """Items with their names, each read when it is its turn, for the bundle's own preprocessing."""
    session.warmup()
    for name, read in items:
        item = read()
        start = time.perf_counter_ns()
        session.preprocess(item)
        preprocess_ms = (time.perf_counter_ns() - start) / 1e6
        timing = session.execute()
        yield Frame(name, _answer(session, top, item), preprocess_ms, timing.compute_ms)


def _arrays(session: Session, data: Data, top: int) -> Iterator[Frame]:
    """One sample after the other, or as many at once as the model fixes; then the answer is the first one's."""
    session.warmup()
    for samples in batches(data, tuple(session.inputs.values()), 1, sys.maxsize):
        # All shapes before any value: another shape makes the buffers anew.
        for name, array in samples.inputs.items():
            if session.input(name).shape != array.shape:
                session.set_shape(name, array.shape)
        for name, array in samples.inputs.items():
            session.input(name)[...] = array
        timing = session.execute()
        yield Frame(f"sample {samples.index[0]}", _answer(session, top), 0.0, timing.compute_ms)


def _answer(session: Session, top: int, item: Any = None) -> tuple[str, ...]:
    """What the bundle makes of batch position 0, or the outputs' shapes where it makes nothing of them.

    Boxes are in pixels of `item`, where that is a picture, else of the network's input.
    """
    if session.postprocessing is None:
        return tuple(f"{name}{list(session.output(name).shape)}" for name in session.outputs)
    try:
        answer = placed(session.postprocess(top)[0], session.preprocessing, item)
        return lines(session.postprocessing, answer)
    except DataError as error:
        return (str(error),)
