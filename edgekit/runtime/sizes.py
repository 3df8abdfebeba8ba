"""The sizes of the open axes: within the bundle's ranges, the same in every tensor that names them."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.errors import IntegrityError, ShapeError
from edgekit.runtime.backend import OpenShapes, Shapes
from edgekit.specs import Stream, TensorSpec


class Sizes:
    """Which size each open axis has now; starts at the opt sizes of the ranges."""

    def __init__(
        self,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        ranges: Mapping[str, tuple[int, ...]],
        stream: Stream | None,
    ) -> None:
        self.inputs, self.outputs, self._ranges = inputs, outputs, ranges
        self.dims = {name: sizes[1] for name, sizes in ranges.items()}
        self._states = stream.pairs() if stream else ()
        self._tokens = stream.tokens if stream else ""
        self.carried = {name for name, _ in self._states}
        # The axis along which a cache grows; empty where there is none.
        self.growth = _growth(stream, inputs, outputs) if stream else ""
        # Whether nothing is bound at these sizes: at first, and once the blocks of a cache changed places, when each is
        # seen at the shape of the other.
        self.stale = True
        # Whether the shape of some output is told by the run alone.
        self.unknown = None in self.outputs_at(self.dims).values()

    def asked(self, shapes: Shapes) -> dict[str, int]:
        """The sizes that these shapes of inputs ask for. Raises ShapeError where two differ or one is out of range."""
        dims: dict[str, int] = {}
        for name, shape in shapes.items():
            for axis, size in zip(self.inputs[name].shape, shape, strict=True):
                if isinstance(axis, str) and dims.setdefault(axis, size) != size:
                    raise ShapeError(f"{name}: expected {axis} of {dims[axis]} as in the other inputs, found {size}")
        self.check(dims)
        return dims

    def check(self, dims: Mapping[str, int]) -> None:
        """Raise ShapeError for a size out of the bundle's range."""
        for dim, size in dims.items():
            low, high = self.range(dim)
            if not low <= size <= high:
                raise ShapeError(f"expected {dim} in {low}..{high}, the range of the bundle, found {size}")

    def range(self, dim: str) -> tuple[int, int]:
        """The least and the largest size of an axis; IntegrityError where the manifest has none."""
        if dim not in self._ranges:
            raise IntegrityError(f"expected a range for every open axis in the manifest, found none for {dim}")
        return self._ranges[dim][0], self._ranges[dim][2]

    def changes(self, dims: Mapping[str, int]) -> bool:
        """Whether these sizes are others than those that are bound."""
        return self.stale or any(self.dims.get(dim) != size for dim, size in dims.items())

    def inputs_at(self, dims: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """The shapes of all inputs at these sizes."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name, spec in self.inputs.items():
            shape = spec.at(dims)
            if shape is None:
                raise IntegrityError("expected a range for every open axis in the manifest, found one missing")
            shapes[name] = shape
        return shapes

    def outputs_at(self, dims: Mapping[str, int]) -> OpenShapes:
        """The shapes of all outputs; None where only the run tells. A cache grows by the tokens of the step."""
        shapes = {name: spec.at(dims) for name, spec in self.outputs.items()}
        if self.growth:
            grown = {**dims, self.growth: dims[self.growth] + self.tokens_in(dims)}
            shapes |= {output: self.inputs[name].at(grown) for name, output in self._states}
        return shapes

    def tokens_in(self, dims: Mapping[str, int]) -> int:
        """How many tokens go in at once, by which a cache grows."""
        axis = self.inputs[self._tokens].shape[1]
        return axis if isinstance(axis, int) else dims[axis]


def _growth(stream: Stream, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> str:
    try:
        return stream.growth(inputs, outputs)
    except ShapeError as error:
        raise IntegrityError(f"expected a stream that fits the model, found: {error.problem}") from error
