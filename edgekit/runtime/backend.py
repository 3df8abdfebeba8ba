"""What a Session needs of whoever computes. Small enough that a test can fake it in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]


class Backend(Protocol):
    """One engine or model with its buffers. All methods are called from the Session's owner thread."""

    name: str
    device: str

    def bind(self, inputs: Shapes, outputs: Mapping[str, tuple[int, ...] | None]) -> None:
        """Allocate buffers of these shapes; None is an output whose shape only the run tells."""

    def input(self, name: str) -> Array:
        """The host buffer of an input, to be written in place."""

    def output(self, name: str) -> Array:
        """The host buffer of an output, as the last run left it."""

    def enqueue(self) -> None:
        """Start one inference on the bound buffers."""

    def synchronise(self, timeout_s: float | None) -> bool:
        """Wait for the inference; False when it is still running after `timeout_s`."""

    def close(self) -> None:
        """Give everything back."""


def empty_buffers(shapes: Shapes, dtypes: Mapping[str, str]) -> dict[str, Array]:
    """Zeroed host arrays: a forgotten input is zeros, never what the last program left in memory."""
    return {name: np.zeros(shape, dtypes[name]) for name, shape in shapes.items()}
