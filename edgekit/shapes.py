"""Which sizes the open axes may have: from --shape, else from the export's metadata, else the batch rule."""

from __future__ import annotations

from typing import Any

from edgekit.errors import ModelError, ShapeError, nearest
from edgekit.specs import ShapeRange, TensorSpec

_BATCH = (1, 1, 8)


Profile = tuple[ShapeRange, ...]


def shape_ranges(inputs: tuple[TensorSpec, ...], asked: tuple[str, ...], known: Any) -> Profile:
    """Return one range an input, in the model's order; of several profiles what any of them takes, opt of the first.

    Raises what `profiles` raises.
    """
    found = profiles(inputs, asked, known)
    return tuple(_around(ranges) for ranges in zip(*found, strict=True))


def profiles(inputs: tuple[TensorSpec, ...], asked: tuple[str, ...], known: Any) -> tuple[Profile, ...]:
    """Return the profiles of an engine, each with one range an input, in the model's order.

    An input that is given k ranges makes k profiles, such as one for a prompt and one for a step; one that is given one
    range, or none, has it in all of them. `known` maps dimension names to [min, opt, max], as edgekit's export leaves
    them in the file; ModelError where the file holds anything else. Raises ShapeError for a range that does not fit the
    model, for an open axis, other than axis 0, that nothing gives a range, and for numbers of ranges that do not match.
    """
    if not isinstance(known, dict):
        raise ModelError(f"expected a table in the model's metadata edgekit.ranges, found {known!r}")
    names = {spec.name for spec in inputs}
    given: dict[str, list[ShapeRange]] = {}
    for text in asked:
        found = ShapeRange.parse(text, names)
        if found.name not in names:
            raise ShapeError(
                f"--shape {text}: no input {found.name!r}; {nearest(found.name, names)}", "--shape NAME:SHAPE"
            )
        given.setdefault(found.name, []).append(found)
    columns = {spec.name: [_fitting(spec, item) for item in given.get(spec.name, ())] for spec in inputs}
    count = max((len(column) for column in columns.values()), default=1) or 1
    for name, column in columns.items():
        if len(column) not in (0, 1, count):
            raise ShapeError(f"expected 1 or {count} ranges for {name}, one a profile, found {len(column)}", "--shape")
    return tuple(_profile(inputs, {name: column[at % len(column)] for name, column in columns.items() if column}, known)
                 for at in range(count))  # fmt: skip


def _profile(inputs: tuple[TensorSpec, ...], given: dict[str, ShapeRange], known: dict[str, Any]) -> Profile:
    """What was given, and the rest from what is known; an axis of a name that was given is the same in all inputs."""
    named = dict(known)
    for spec in inputs:
        if spec.name in given:
            found = given[spec.name]
            sizes = zip(found.min, found.opt, found.max, strict=True)
            named |= {name: list(size) for name, size in zip(spec.shape, sizes, strict=True) if isinstance(name, str)}
    return tuple(given[spec.name] if spec.name in given else _from_known(spec, named) for spec in inputs)


def _around(ranges: tuple[ShapeRange, ...]) -> ShapeRange:
    low = tuple(min(sizes) for sizes in zip(*(item.min for item in ranges), strict=True))
    high = tuple(max(sizes) for sizes in zip(*(item.max for item in ranges), strict=True))
    return ShapeRange(ranges[0].name, low, ranges[0].opt, high)


def _fitting(spec: TensorSpec, found: ShapeRange) -> ShapeRange:
    for shape in (found.min, found.opt, found.max):
        if len(shape) != len(spec.shape):
            raise ShapeError(
                f"--shape {found}: expected {len(spec.shape)} axes for {spec.name}: {spec}, found {len(shape)}",
                "--shape with as many",
            )
        for axis, (want, got) in enumerate(zip(spec.shape, shape, strict=True)):
            if isinstance(want, int) and want != got:
                raise ShapeError(
                    f"--shape {found}: axis {axis} of {spec.name} is fixed at {want}, found {got}", f"{want} there"
                )
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
