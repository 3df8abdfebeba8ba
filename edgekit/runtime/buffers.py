"""Host memory of named tensors: made once at capacity, seen at any shape that fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.runtime.backend import Array, Shapes


class Buffers:
    """One block of memory a tensor; `arrays` are views of them at the shapes of the last `shape` call.

    `addresses` are where the blocks lie: asking NumPy for one takes longer than making a view.
    """

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._blocks: dict[str, Array] = {}
        self.arrays: dict[str, Array] = {}
        self.addresses: dict[str, int] = {}

    def reserve(self, shapes: Shapes) -> None:
        """Make blocks of at least these shapes, zeroed."""
        for name, shape in shapes.items():
            self._block(name, shape)

    def shape(self, shapes: Shapes) -> None:
        """See each of these tensors at this shape."""
        for name, shape in shapes.items():
            self.arrays[name] = np.ndarray(shape, self._dtypes[name], self._block(name, shape))

    def swap(self, one: str, other: str) -> None:
        """Let two tensors change places, with what they hold."""
        tables: tuple[dict[str, Any], ...] = (self._blocks, self.arrays, self.addresses)
        for table in tables:
            table[one], table[other] = table[other], table[one]

    def clear(self) -> None:
        """Forget all; a view that someone holds lives on."""
        self._blocks.clear()
        self.arrays.clear()

    def _block(self, name: str, shape: tuple[int, ...]) -> Array:
        """The tensor's block, made anew where it is too small for the shape."""
        size = max(math.prod(shape) * self._dtypes[name].itemsize, 1)
        block = self._blocks.get(name)
        if block is None or block.size < size:
            # Zeroed: a forgotten input is zeros, never what the last program left in memory.
            block = self._blocks[name] = np.zeros(size, np.uint8)
            self.addresses[name] = block.ctypes.data
        return block
