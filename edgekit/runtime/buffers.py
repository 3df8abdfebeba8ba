"""Host memory of named tensors: made once at capacity, seen at any shape that fits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.runtime.backend import Array, Shapes


class Buffers:
    """One block of memory a tensor; `arrays` are views of them at the shapes of the last `shape` call."""

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._blocks: dict[str, Array] = {}
        self.arrays: dict[str, Array] = {}

    def reserve(self, shapes: Shapes) -> None:
        """Make blocks of at least these shapes, zeroed; what a block holds already goes along into a larger one."""
        for name, shape in shapes.items():
            size = max(int(np.prod(shape)) * self._dtypes[name].itemsize, 1)
            old = self._blocks.get(name)
            if old is None or old.size < size:
                # Zeroed: a forgotten input is zeros, never what the last program left in memory.
                self._blocks[name] = np.zeros(size, np.uint8)
                if old is not None:
                    self._blocks[name][: old.size] = old

    def shape(self, shapes: Shapes) -> None:
        """See each of these tensors at this shape: a new view of its block where the shape is another."""
        self.reserve(shapes)
        for name, shape in shapes.items():
            dtype = self._dtypes[name]
            size = int(np.prod(shape)) * dtype.itemsize
            self.arrays[name] = self._blocks[name][:size].view(dtype).reshape(shape)

    def swap(self, one: str, other: str) -> None:
        """Let two tensors change places, with what they hold."""
        for table in (self._blocks, self.arrays):
            table[one], table[other] = table[other], table[one]

    def clear(self) -> None:
        """Forget all; a view that someone holds lives on."""
        self._blocks.clear()
        self.arrays.clear()
