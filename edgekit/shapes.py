"""Which sizes the open axes may have: from --shape, else from the export's metadata, else the batch rule."""

from __future__ import annotations

from typing import Any

from edgekit.errors import ModelError, ShapeError, nearest
from edgekit.specs import ShapeRange, TensorSpec

_BATCH = (1, 1, 8)


def shape_ranges(inputs: tuple[TensorSpec, ...], asked: tuple[str, ...], known: Any) -> tuple[ShapeRange, ...]:
    """Return one range an input, in the model's order.

    `known` maps dimension names to [min, opt, max], as edgekit's export leaves them in the file; ModelError where the
    file holds anything else. Raises ShapeError for a range that does not fit the model, and for an open axis, other
    than axis 0, that nothing gives a range.
    """
    if not isinstance(known, dict):
        raise ModelError(f"expected a table in the model's metadata edgekit.ranges, found {known!r}")
    names = {spec.name for spec in inputs}
    given = {}
    for text in asked:
        found = ShapeRange.parse(text, names)
        if found.name not in names:
            raise ShapeError(f"--shape {text}: no input {found.name!r}; {nearest(found.name, names)}")
        given[found.name] = found
    return tuple(
        _fitting(spec, given[spec.name]) if spec.name in given else _from_known(spec, known) for spec in inputs
    )


def _fitting(spec: TensorSpec, found: ShapeRange) -> ShapeRange:
    for shape in (found.min, found.opt, found.max):
        if len(shape) != len(spec.shape):
            raise ShapeError(
                f"--shape {found}: expected {len(spec.shape)} axes for {spec.name}: {spec}, found {len(shape)}"
            )
        for axis, (want, got) in enumerate(zip(spec.shape, shape, strict=True)):
            if isinstance(want, int) and want != got:
                raise ShapeError(f"--shape {found}: axis {axis} of {spec.name} is fixed at {want}, found {got}")
    return found


def _from_known(spec: TensorSpec, known: dict[str, Any]) -> ShapeRange:
    columns: list[tuple[int, ...]] = []
    for axis, size in enumerate(spec.shape):
        if isinstance(size, int):
            columns.append((size, size, size))
        elif size in known:
            columns.append(_sizes(size, known[size]))
        elif axis == 0:
            columns.append(_BATCH)
        else:
            example = "x".join(
                "1" if isinstance(item, str) and at == 0 else str(item) for at, item in enumerate(spec.shape)
            )
            raise ShapeError(
                f"expected a range for the open axis {axis} of input {spec.name}: {spec}, found none",
                f"--shape {spec.name}:{example} with numbers for the names, or name:min:opt:max",
            )
    low, best, high = zip(*columns, strict=True) if columns else ((), (), ())
    return ShapeRange(spec.name, low, best, high)


def _sizes(dim: str, found: Any) -> tuple[int, ...]:
    """[min, opt, max] of an open axis, from a file that may hold anything."""
    if not isinstance(found, list) or [type(size) for size in found] != [int, int, int] or sorted(found) != found:
        raise ModelError(f"expected edgekit.ranges with [min, opt, max] of the axis {dim}, found {found!r}", "--shape")
    return tuple(found)
