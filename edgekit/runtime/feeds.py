"""Is an array what an input wants? If not: what was expected, what was found, and the call that mends it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edgekit.errors import ShapeError, nearest
from edgekit.runtime.backend import Array
from edgekit.specs import TensorSpec

# Where a picture or a sequence has its axes in the order of another framework.
_TURNS = ((0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1), (2, 0, 1), (1, 0, 2), (1, 0))


def known(name: str, specs: Collection[str]) -> None:
    """Raise ShapeError unless one of these tensors has that name; the nearest is named."""
    if name not in specs:
        raise ShapeError(f"expected one of {', '.join(specs)}, found {name!r}; {nearest(name, specs)}")


def check_named(feeds: object) -> None:
    """Raise ShapeError for arrays without names."""
    if not isinstance(feeds, Mapping):
        raise ShapeError(f"expected a dict of arrays by name, found {type(feeds).__name__}", '{"name": array}')


def check(spec: TensorSpec, array: Array) -> None:
    """Raise ShapeError unless the array fits, with what would make it fit: a layout, a batch axis, a dtype."""
    try:
        spec.check(str(array.dtype), array.shape)
    except ShapeError as error:
        raise ShapeError(error.problem, _remedy(spec, array)) from None


def check_all(specs: Mapping[str, TensorSpec], arrays: Mapping[str, Array]) -> None:
    """Raise ShapeError unless there is one array for each input, and it fits."""
    for name in arrays:
        known(name, specs)
    for name, spec in specs.items():
        if name not in arrays:
            raise ShapeError(f"expected inputs {', '.join(specs)}, found no {name!r}")
        check(spec, arrays[name])


def fitted(spec: TensorSpec, array: Array, bound: tuple[int, ...]) -> tuple[int, ...]:
    """The shape at which an array goes into an input that is bound at `bound`: its own, or with the batch axis of 1.

    Raises ShapeError for any other: NumPy would repeat a value or a row without a word.
    """
    if array.ndim == len(bound) - 1 and bound[0] == 1:
        array = array[None]
    check(spec, array)
    return array.shape


def _remedy(spec: TensorSpec, array: Array) -> str:
    steps = "" if str(array.dtype) == spec.dtype else f".astype({spec.dtype!r})"
    for turn in _TURNS:
        if len(turn) == array.ndim and not spec.meets(array.shape):
            turned = tuple(array.shape[axis] for axis in turn)
            if spec.meets(turned):
                return f"array.transpose{turn}{steps}"
    if not spec.meets(array.shape) and spec.meets((1, *array.shape)):
        return f"array[None]{steps}"
    return f"array{steps}" if steps and spec.meets(array.shape) else ""
