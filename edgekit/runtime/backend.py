"""What a Session needs of whoever computes. Small enough that a test can fake it in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    # NumPy is more than half of the runtime's import time; it comes with the first session.
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
OpenShapes: TypeAlias = Mapping[str, "tuple[int, ...] | None"]


class Backend(Protocol):
    """One engine or model with its buffers. All methods are called from the Session's owner thread, which
    is another after `let_go` and `take`.

    Made with `carried`, input name -> output name: the pairs through which a stream's state goes. Their memory is the
    backend's own, two buffers a pair that change places after each step, so that a state is never copied.
    """

    name: str
    device: str
    notes: dict[str, str]  # what else `health()` says, such as whether a CUDA graph was captured

    def reserve(self, shapes: Shapes) -> None:
        """Make the buffers of these tensors at least so large: a later `bind` within them allocates nothing."""

    def bind(self, inputs: Shapes, outputs: OpenShapes) -> None:
        """Give all tensors these shapes; None is an output whose shape only the run tells.

        A buffer that is too small is made anew, zeroed; an input whose shape changes is zeroed. Carried memory keeps
        its bytes as long as it is large enough.
        """

    def input(self, name: str) -> Array:
        """The host buffer of an input, to be written in place."""

    def output(self, name: str) -> Array:
        """The host buffer of an output, as the last run left it."""

    def enqueue(self, *, step: bool = False) -> None:
        """Start one inference on the bound buffers. In a step, carried tensors stay where they are computed."""

    def synchronise(self, timeout_s: float | None) -> bool:
        """Wait for the inference; False when it is still running after `timeout_s`."""

    def advance(self) -> None:
        """After a step: what the carried outputs hold is what the carried inputs will be."""

    def reset(self) -> None:
        """Zero the carried inputs."""

    def state(self, name: str) -> Array:
        """A copy of a carried input, as the next step will see it."""

    def let_go(self) -> None:
        """Leave the thread; nothing is under way."""

    def take(self) -> None:
        """Come into this thread, after `let_go` in another."""

    def close(self) -> None:
        """Give everything back; what still runs after a timeout is left alone."""
