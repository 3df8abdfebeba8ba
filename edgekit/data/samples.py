"""Samples as a stream: what every form of data yields, checked against the model and cut into batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, EdgekitError, nearest
from edgekit.specs import TensorSpec

Array = npt.NDArray[Any]
Batch = dict[str, Array]
Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Some samples: `index` int64 [N] says which of the set they are, `inputs` has them by input name.

    They lie along axis 0, but for inputs that `axes` gives another one: a recurrent state is [layers,N,H].
    """

    index: Indices
    inputs: Batch
    axes: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice) -> Samples:
        picked = {name: array[(slice(None),) * self.axes.get(name, 0) + (rows,)] for name, array in self.inputs.items()}
        return Samples(self.index[rows], picked, self.axes)

    def rows(self, name: str) -> Array:
        """An input with its samples along axis 0."""
        return np.moveaxis(self.inputs[name], self.axes.get(name, 0), 0)


class Data(Protocol):
    """Samples that fit a model.

    `what` says in a few words what they are, `count` how many there are (None: only reading tells), and `labels`
    int64 [count, ...] what each of them is, where the data itself says so. `names` are the samples' names, where they
    have any.
    """

    @property
    def what(self) -> str: ...

    @property
    def count(self) -> int | None: ...

    @property
    def labels(self) -> Labels | None: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    def chunks(self, size: int, limit: int) -> Iterator[Samples]:
        """About `size` samples at a time, at most `limit` in all; each call starts anew."""


def told(data: Data, used: int) -> str:
    """What was used of the data, in a few words."""
    if data.count is None:
        return f"{used} {data.what}"
    return data.what if used == data.count else f"{used} of {data.what}"


def spread(count: int, limit: int) -> Indices:
    """Which samples stand for all `count`: `limit` of them, evenly spaced, since neighbours are alike."""
    kept = min(count, limit)
    return np.arange(kept, dtype=np.int64) * count // max(kept, 1)


def batches(data: Data, inputs: tuple[TensorSpec, ...], preferred: int, limit: int) -> Iterator[Samples]:
    """Read at most `limit` samples in batches of `preferred`, or of the size that the model fixes.

    A batch holds samples of one shape, along the batch axis of each input. What is left over is a smaller batch, unless
    the model fixes the size: then it is left out. Raises DataError for what does not fit `inputs`, for NaN and Inf, and
    when no batch comes together.
    """
    fixed = fixed_batch(inputs)
    size = fixed or preferred
    axes = batch_axes(inputs)
    waiting: list[Samples] = []
    read = given = 0
    for chunk in data.chunks(size, limit) if limit > 0 else ():
        chunk = _checked(data.what, chunk, inputs)[: limit - read]
        read += len(chunk)
        if waiting and _shapes(waiting[0]) != _shapes(chunk):
            if not fixed:
                given += 1
                yield _laid_out(_joined(waiting), axes)
            waiting = []
        waiting.append(chunk)
        if sum(map(len, waiting)) >= size:
            ready = _joined(waiting)
            rest = len(ready) % size
            for start in range(0, len(ready) - rest, size):
                given += 1
                yield _laid_out(ready[start : start + size], axes)
            waiting = [ready[-rest:]] if rest else []
        if read >= limit:
            break
    if waiting and not fixed:
        given += 1
        yield _laid_out(_joined(waiting), axes)
    if not given:
        least = f"{fixed} samples of one shape for a model with a batch of {fixed}" if fixed else "one sample"
        raise DataError(f"{data.what}: expected at least {least}, found {read}")


def fixed_batch(inputs: tuple[TensorSpec, ...]) -> int | None:
    """The batch size that the model fixes, by any of its inputs; None when the batch axis of all is open."""
    axes = batch_axes(inputs)
    sizes = [spec.shape[axes.get(spec.name, 0)] if spec.shape else 1 for spec in inputs]
    return next((size for size in sizes if isinstance(size, int)), None)


def batch_axes(inputs: tuple[TensorSpec, ...]) -> dict[str, int]:
    """The batch axis of each input that has it elsewhere than in front: by the name that it has in front of another."""
    names = [spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], str)]
    behind = [spec for spec in inputs if names and names[0] in spec.shape[1:] and isinstance(spec.shape[0], int)]
    return {spec.name: spec.shape.index(names[0]) for spec in behind}


def sample_first(spec: TensorSpec, axes: dict[str, int]) -> TensorSpec:
    """The same input as data holds it: samples along axis 0."""
    axis = axes.get(spec.name, 0)
    return TensorSpec(spec.name, spec.dtype, ("N", *spec.shape[:axis], *spec.shape[axis + 1 :]))


def check_names(where: str, found: list[str], inputs: tuple[TensorSpec, ...]) -> None:
    """Raise DataError unless there is exactly one array for each input."""
    known = [spec.name for spec in inputs]
    for name in found:
        if name not in known:
            raise DataError(f"{where}: no input {name!r}; {nearest(name, known)}")
    for name in known:
        if name not in found:
            raise DataError(f"{where}: expected an array {name!r}, found {', '.join(found) or 'none'}")


def check_fits(where: str, spec: TensorSpec, dtype: str, shape: tuple[int, ...]) -> None:
    """Raise DataError unless samples of this dtype and shape fit `spec`, whose axis 0 is that of the samples."""
    if 0 in shape[1:]:
        raise DataError(f"{where}: {spec.name}: expected {spec}, found samples without values, {list(shape)}")
    try:
        spec.check(dtype, shape)
    except EdgekitError as error:
        raise DataError(f"{where}: {error}") from error


def _checked(what: str, chunk: Samples, inputs: tuple[TensorSpec, ...]) -> Samples:
    """The same samples, their inputs in the model's order."""
    check_names(what, list(chunk.inputs), inputs)
    counts = {name: len(array) for name, array in chunk.inputs.items() if array.ndim}
    axes = batch_axes(inputs)
    for spec in inputs:
        array = chunk.inputs[spec.name]
        check_fits(what, sample_first(spec, axes), str(array.dtype), array.shape)
        if counts[spec.name] != len(chunk):
            raise DataError(f"{what}: expected the same number of samples for every input, found {counts}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
            raise DataError(
                f"{what}: expected finite numbers in {spec.name!r}, found NaN or Inf in sample {chunk.index[rows[0]]}"
            )
    return Samples(chunk.index, {spec.name: chunk.inputs[spec.name] for spec in inputs})


def _shapes(chunk: Samples) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in chunk.inputs.values()]


def _joined(parts: list[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
    return Samples(np.concatenate([part.index for part in parts]), inputs)


def _laid_out(chunk: Samples, axes: dict[str, int]) -> Samples:
    """The same samples as the model takes them."""
    if not axes:
        return chunk
    moved = {name: np.ascontiguousarray(np.moveaxis(chunk.inputs[name], 0, axis)) for name, axis in axes.items()}
    return Samples(chunk.index, chunk.inputs | moved, axes)
