"""Samples that a user's function yields: a log format, a simulator, anything that Python can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from edgekit.data.samples import Batch, Labels, Samples
from edgekit.errors import DataError
from edgekit.usercode import call, load_callable

_END = object()


class GeneratedData:
    """`module:callable` that yields a dict of arrays by input name, samples along axis 0, batch after batch."""

    def __init__(self, source: str) -> None:
        self._source, self._make = source, load_callable(source, DataError)
        self.what = f"samples of {source}"
        self.count: int | None = None
        self.labels: Labels | None = None
        self.names: tuple[str, ...] = ()

    def chunks(self, size: int, limit: int) -> Iterator[Samples]:
        """As they come; the function is called anew for each pass."""
        made = call(self._source, self._make, DataError)
        if not hasattr(made, "__iter__"):
            raise DataError(f"expected {self._source} to yield batches, found {type(made).__name__}")
        stream = call(self._source, lambda: iter(made), DataError)
        first = 0
        # `next` by hand: an error of the user's own code must not be mistaken for one of ours.
        while (batch := call(self._source, lambda: next(stream, _END), DataError)) is not _END:
            samples = self._samples(batch, first)
            first += len(samples)
            yield samples

    def _samples(self, batch: Any, first: int) -> Samples:
        if not isinstance(batch, Mapping) or not batch:
            raise DataError(f"expected {self._source} to yield dicts of arrays, found {type(batch).__name__}")
        # Copies: a function may fill the same arrays anew for each batch, while we still wait for a whole one.
        inputs: Batch = call(
            self._source, lambda: {str(name): np.array(value) for name, value in batch.items()}, DataError
        )
        count = min(array.shape[0] if array.ndim else 0 for array in inputs.values())
        if count == 0:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise DataError(f"expected {self._source} to yield samples along axis 0, found none in {shapes}")
        return Samples(np.arange(first, first + count, dtype=np.int64), inputs)
