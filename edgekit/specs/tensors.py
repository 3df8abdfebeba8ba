"""A named tensor with its axes, and the range of shapes between which an engine must work."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import ShapeError

# Sizes of at most 64 bits: int() itself refuses texts of thousands of digits.
_DIMS = re.compile(r"[0-9]{1,18}(x[0-9]{1,18})*")


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor; `dtype` is NumPy's name; a dynamic axis is its name, a static axis an int."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def check(self, dtype: str, shape: tuple[int, ...]) -> None:
        """Raise ShapeError unless an array of this dtype and shape fits."""
        fits = len(shape) == len(self.shape) and all(
            isinstance(want, str) or want == got for want, got in zip(self.shape, shape, strict=True)
        )
        if not fits or dtype != self.dtype:
            raise ShapeError(f"{self.name}: expected {self}, found {dtype}[{', '.join(map(str, shape))}]")

    def meets(self, shape: tuple[int | str, ...]) -> bool:
        """Whether some sizes fit both: axes of fixed but different sizes never do."""
        pairs = zip(self.shape, shape, strict=True) if len(shape) == len(self.shape) else [(0, 1)]
        return all(isinstance(one, str) or isinstance(other, str) or one == other for one, other in pairs)

    def at(self, dims: Mapping[str, int]) -> tuple[int, ...] | None:
        """Return the shape once dynamic axes have these sizes; None when one of them is not among `dims`."""
        try:
            return tuple([axis if isinstance(axis, int) else dims[axis] for axis in self.shape])
        except KeyError:
            return None

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def described(array: Any) -> str:
    """An array as a TensorSpec is written, such as float32[3, 8]."""
    return str(TensorSpec("", str(array.dtype), tuple(array.shape)))


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of one input between which an engine must work, and the one it is tuned for."""

    name: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    def __post_init__(self) -> None:
        same_rank = len(self.min) == len(self.opt) == len(self.max)
        sizes = zip(self.min, self.opt, self.max, strict=False)
        # A cache starts empty; but what an engine is tuned for, and what else it takes, is something.
        if not same_rank or not all(0 <= a <= b <= c and b for a, b, c in sizes):
            raise ShapeError(
                f"expected 0 <= min <= opt <= max and 1 <= opt on every axis, found {self}", "--shape name:min:opt:max"
            )

    @classmethod
    def parse(cls, text: str, inputs: Iterable[str] = ()) -> ShapeRange:
        """Read `name:min:opt:max` or `name:shape` from the right, since names may hold a colon.

        `inputs` are the model's input names: where both readings are possible, the one that names an input wins.
        """
        parts = text.split(":")
        readings = []
        for count in (3, 1):
            tail = parts[-count:]
            if len(parts) > count and all(_DIMS.fullmatch(part) for part in tail):
                shapes = [tuple(int(size) for size in part.split("x")) for part in tail] * (3 if count == 1 else 1)
                readings.append((":".join(parts[:-count]), shapes))
        if not readings:
            raise ShapeError(
                f"expected a shape as name:1x3x224x224 or name:min:opt:max, found {text!r}",
                "--shape name:1x3x224x224:4x3x224x224:8x3x224x224",
            )
        known = set(inputs)
        name, shapes = next((reading for reading in readings if reading[0] in known), readings[0])
        return cls(name, *shapes)

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether `shape` lies between the least and the greatest."""
        return len(self.min) == len(shape) and all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True)
        )

    def __str__(self) -> str:
        return ":".join([self.name, *("x".join(map(str, shape)) for shape in (self.min, self.opt, self.max))])
