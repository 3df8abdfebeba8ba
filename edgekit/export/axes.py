"""Which axes of the inputs stay open, and how they are named."""

from __future__ import annotations

import torch

from edgekit.errors import UsageError, nearest

# Axes[input][axis] = the dimension's name.
Axes = dict[str, dict[int, str]]


def dynamic_axes(examples: dict[str, torch.Tensor], asked: tuple[str, ...], known: Axes) -> Axes:
    """Axis 0 is the batch; axis 1 of a 3-D float or 2-D integer input is time; `known` says otherwise for an input.

    `asked` adds `name:axis=dim`; with dim "batch" it moves the batch from axis 0 to there. Two time axes of different
    example length get different names: a shared name would promise equal lengths. Raises UsageError for a text that
    does not fit, or a dimension that has two sizes in the examples.
    """
    axes: Axes = {}
    time_lengths: dict[str, int] = {}
    for name, value in examples.items():
        if name in known:
            axes[name] = dict(known[name])
            continue
        axes[name] = {0: "batch"}
        if value.dim() == (3 if value.is_floating_point() else 2):
            dim = "time" if time_lengths.setdefault("time", value.shape[1]) == value.shape[1] else f"{name}_time"
            axes[name][1] = dim
    for text in asked:
        name, axis, dim = parse_dynamic(text)
        if name not in examples:
            raise UsageError(f"--dynamic {text}: no input {name!r}; {nearest(name, examples)}")
        if axis >= examples[name].dim():
            raise UsageError(f"--dynamic {text}: expected an axis of {name} below {examples[name].dim()}, found {axis}")
        if dim == "batch":
            axes[name].pop(0, None)
        axes[name][axis] = dim
    _check_sizes(examples, axes)
    return axes


def _check_sizes(examples: dict[str, torch.Tensor], axes: Axes) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for name, dims in axes.items():
        for axis, dim in dims.items():
            size = examples[name].shape[axis]
            if size == 0:
                raise UsageError(
                    f"expected an example of {name!r} with one value or more along its open axis {axis}, found none",
                    "an example of 2 along it, such as a past of two steps",
                )
            first, expected = seen.setdefault(dim, (name, size))
            if size != expected:
                raise UsageError(
                    f"expected one size of {dim} in all example inputs, found {expected} in {first!r} and {size} along "
                    f"axis {axis} of {name!r}",
                    f"--dynamic {name}:AXIS={dim}, where the {dim} of {name} is",
                )


def parse_dynamic(text: str) -> tuple[str, int, str]:
    """Read `input:axis=name`."""
    left, _, dim = text.partition("=")
    name, _, axis = left.rpartition(":")
    if not (name and axis.isdecimal() and dim.isidentifier()):
        raise UsageError(f"expected --dynamic as name:axis=dim, found {text!r}", "--dynamic image:2=height")
    return name, int(axis), dim


def at_least_two(examples: dict[str, torch.Tensor], axes: Axes) -> dict[str, torch.Tensor]:
    """Repeat open axes of size 1: torch.export takes a size of 1 for a constant."""
    larger = {}
    for name, value in examples.items():
        for axis in axes[name]:
            if value.shape[axis] == 1:
                value = value.repeat_interleave(2, dim=axis)
        larger[name] = value
    return larger


def grown(examples: dict[str, torch.Tensor], axes: Axes, ranges: dict[str, tuple[int, int, int]]) -> dict[str, int]:
    """Other sizes for parity: one more in the batch, three more of all else, but for the edges of pictures.

    Those grow by 32 and 64, since many networks halve them up to five times. `ranges` bound what a network bounds.
    """
    sizes = {}
    for name, dims in axes.items():
        last = examples[name].dim() - 1
        picture = examples[name].is_floating_point() and last >= 3 and last in dims
        for axis, dim in dims.items():
            edge = picture and axis >= last - 1
            more = 1 if dim == "batch" else 32 * (1 + axis - (last - 1)) if edge else 3
            size = examples[name].shape[axis]
            sizes[dim] = min(size + more, ranges[dim][2]) if dim in ranges else size + more
    return sizes


def resized(examples: dict[str, torch.Tensor], axes: Axes, sizes: dict[str, int]) -> dict[str, torch.Tensor]:
    """Other inputs for parity: open axes at `sizes`, and other values than the examples, within their range.

    Floats get seeded noise of the example's own spread, a constant such as a state of zeros a tenth of its size
    upwards: on zeros alone nothing would be proved of that input. Integers are taken from the example, shifted, so that
    indices stay legal; lengths [N] fall.
    """
    generator = torch.Generator().manual_seed(1)
    other = {}
    for name, value in examples.items():
        for axis, dim in axes[name].items():
            index = torch.arange(sizes[dim]) + (0 if value.is_floating_point() else 1)
            value = value.index_select(axis, index % value.shape[axis])
        if value.is_floating_point():
            spread = float(value.std(correction=0)) if value.numel() else 0.0
            if spread > 0:
                noise = spread * torch.randn(value.shape, generator=generator)
            else:
                size = max(float(value.abs().max()) if value.numel() else 0.0, 1.0)
                noise = 0.1 * size * torch.rand(value.shape, generator=generator)
            value = value + noise.to(value.dtype)
        elif value.dim() == 1:  # lengths, which pack_padded_sequence wants in falling order
            value = value.sort(descending=True).values
        other[name] = value
    return other
