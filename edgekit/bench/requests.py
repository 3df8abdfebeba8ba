"""What is sent: real inputs where there are any, and a word about it where there are none."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.data import Batch, Data, PictureData, batches, open_data, read_picture, told
from edgekit.errors import DataError
from edgekit.latency import Doubt
from edgekit.latency.inputs import made_up
from edgekit.validate.subject import Subject

# So many different requests take turns: the time of some networks depends on what they see.
_MOST = 8


@dataclass(frozen=True)
class Requests:
    """`arrays` are ready inputs by name, all of one shape, one for each request; they take turns.

    `pictures`, uint8 [H,W,3] RGB each and as many a request as its batch has places, are what a bundle's own
    preprocessing gets instead. `told` says in a few words what they are.
    """

    arrays: tuple[Batch, ...]
    pictures: tuple[tuple[Any, ...], ...]
    told: str
    doubts: tuple[Doubt, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each input."""
        return {name: array.shape for name, array in self.arrays[0].items()}


def find_requests(subject: Subject, data: str | None) -> Requests:
    """Requests of `data`, else of the example inputs that lie beside the model, else made up, with a doubt.

    Raises DataError for data that do not fit, and for a model that leaves open how large its inputs are.
    """
    examples = examples_of(subject.path)
    if data is None and not examples.is_file():
        return _made_up(subject)
    source = data or str(examples)
    found = open_data(source, subject.inputs, subject.preprocess, subject.classes)
    size = subject.batch()
    read = itertools.islice(batches(found, subject.inputs, size, _MOST * size), _MOST)
    arrays = tuple(samples.inputs for samples in read)
    shapes = {name: array.shape for name, array in arrays[0].items()}
    same = tuple(item for item in arrays if {name: array.shape for name, array in item.items()} == shapes)
    used = sum(len(next(iter(item.values()))) for item in same) if subject.inputs else 0
    pictures = _pictures(found, size) if isinstance(found, PictureData) and subject.manifest else ()
    return Requests(same, pictures, _told(found, source, used, given=data is not None))


def examples_of(source: Path) -> Path:
    """Where `export` writes them: beside the ONNX; `deploy` has that in stages/, beside the bundle."""
    if source.is_dir():
        return source.resolve().parent / "stages" / "model.onnx.examples.npz"
    return source.with_name(f"{source.name}.examples.npz")


def _told(data: Data, source: str, used: int, *, given: bool) -> str:
    return told(data, used) if given else f"the example inputs of {source}"


def _pictures(data: PictureData, size: int) -> tuple[tuple[Any, ...], ...]:
    """Evenly spaced, at most eight or a batch; those of a small set come again to fill the last batch."""
    count = min(len(data.files), max(_MOST, size))
    read = [read_picture(data.files[index * len(data.files) // count]) for index in range(count)]
    whole = range(0, max(count - count % size, 1), size)
    return tuple(tuple(read[(start + place) % count] for place in range(size)) for start in whole)


def _made_up(subject: Subject) -> Requests:
    ranges = subject.manifest.ranges if subject.manifest else {}
    firsts = {spec.shape[0]: subject.batch() for spec in subject.inputs if spec.shape}
    sizes = {str(axis): size for axis, size in firsts.items()} | {axis: sizes[1] for axis, sizes in ranges.items()}
    shapes = {}
    for spec in subject.inputs:
        shape = spec.at(sizes)
        if shape is None:
            raise DataError(f"expected inputs that say how large the open axes of {spec.name} are, {spec}", "--data D")
        shapes[spec.name] = shape
    doubt = Doubt("made-up-inputs", "no real inputs were given: --data has them")
    return Requests((made_up(subject.inputs, shapes),), (), "made-up numbers, not real inputs", (doubt,))
