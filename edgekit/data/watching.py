"""What passes by: a digest of the data, the ranges of the inputs, and what is doubtful about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgekit.data.samples import Samples
from edgekit.errors import DataError
from edgekit.specs import ImagePreprocess


class Watched:
    """Looks at samples on their way to the model."""

    def __init__(self) -> None:
        self.count = 0
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}
        self._digests: dict[str, Any] = {}
        self._first: dict[str, bytes] = {}
        self._differ: set[str] = set()
        self._floats: set[str] = set()

    def through(self, stream: Iterator[Samples]) -> Iterator[Samples]:
        """Yield the same samples."""
        for samples in stream:
            self.count += len(samples)
            for name in samples.inputs:
                array = samples.rows(name)
                self._digests.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(array).data)
                self._floats |= {name} if array.dtype.kind == "f" else set()
                self.low[name] = min(self.low.get(name, np.inf), float(array.min()))
                self.high[name] = max(self.high.get(name, -np.inf), float(array.max()))
                self._compare(name, samples)
            yield samples

    def sha256(self) -> str:
        """The digest of all inputs' values so far, in their order, however they were batched."""
        whole = hashlib.sha256()
        for name, digest in sorted(self._digests.items()):
            whole.update(name.encode() + digest.digest())
        return whole.hexdigest()

    def doubts(self, preprocess: ImagePreprocess | None = None) -> tuple[str, ...]:
        """What looks wrong although it fits, one line each.

        Raises DataError for a range that `preprocess` cannot have made by far, such as 0..255 where it makes 0..1.
        """
        found = []
        for name, low in self.low.items():
            high = self.high[name]
            if low == high:
                found.append(f"input {name!r} is {low:g} in every sample")
            elif self.count > 1 and name not in self._differ:
                found.append(f"input {name!r} is the same in all {self.count} samples")
            if preprocess is not None and preprocess.input == name:
                found += _against_recipe(name, low, high, preprocess)
            elif low >= 0 and 200 < high <= 255 and name in self._floats:
                found.append(f"input {name!r} runs from {low:g} to {high:g}: pixels of 0..255 that no one normalised?")
        if self.count == 1:
            found.append("one sample only: it stands for itself, not for what the camera will see")
        return tuple(found)

    def _compare(self, name: str, samples: Samples) -> None:
        for row in () if name in self._differ else samples.rows(name):
            value = np.ascontiguousarray(row).tobytes()
            if self._first.setdefault(name, value) != value:
                self._differ.add(name)
                self._first[name] = b""
                return


def _against_recipe(name: str, low: float, high: float, preprocess: ImagePreprocess) -> list[str]:
    """Pixels of 0..255 become (0 - mean) / std .. (255 - mean) / std."""
    channels = zip(preprocess.mean, preprocess.std, strict=True)
    ends = [(pixel - mean) / std for mean, std in channels for pixel in (0, 255)]
    least, most = min(ends), max(ends)
    span, margin = most - least, 0.01 * (most - least)
    story = f"input {name!r} runs from {low:g} to {high:g}, where its preprocessing makes {least:g} to {most:g}"
    if low < least - span or high > most + span:
        raise DataError(f"{story}: these values went through another one", "a folder of pictures, or normalised arrays")
    if low < least - margin or high > most + margin or high - low < span / 8:
        return [story]
    return []
