"""What a Session needs of whoever computes. Small enough that a test can fake it in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    # NumPy is more than half of the runtime's import time; it comes with the first session.
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


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
    import numpy as np

    return {name: np.zeros(shape, dtypes[name]) for name, shape in shapes.items()}
