"""The types and shapes of all tensors, with every size of the inputs that is open at a number of its own.

Those are primes, so that sizes which agree there agree always: none is 1 by accident, or another one by chance. An
input may name a size that is the sum of two others, a mask over past and new tokens; it is that sum. It is known by its
name, "past + time", or by trying, where the shapes before a softmax are unknown without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import onnx

from edgekit.errors import ModelError
from edgekit.rewrite.shapes_at import Known, shapes_at

_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)
_MOST_TRIALS = 24


def probe(model: onnx.ModelProto) -> dict[str, Known]:
    """What is known at those sizes; nothing where they contradict the model."""
    sizes = _sizes_of(model)
    found = _at(model, sizes)
    asked = [node.input[0] for node in model.graph.node if node.op_type in ("Softmax", "Attention")]
    missing = _missing(found, asked)
    trials = list(_sums(sizes))[:_MOST_TRIALS] if missing else []
    for trial in trials:
        other = _at(model, trial)
        if _missing(other, asked) < missing:
            return other
    return found


def is_shaped(value: onnx.ValueInfoProto) -> bool:
    """Whether it is a tensor with a known number of axes."""
    return value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")


def _missing(found: Mapping[str, Known], asked: list[str]) -> int:
    """How many of these have no shape."""
    return sum(name not in found or found[name].shape is None for name in asked)


def _sums(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Each size as the sum of two others."""
    for name in reversed(list(sizes)):  # a mask comes behind the tokens, as a rule
        for one, other in combinations([item for item in sizes if item != name], 2):
            yield {**sizes, name: sizes[one] + sizes[other]}


def _inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in stored and is_shaped(value)]


def _named(value: onnx.ValueInfoProto) -> list[int | str]:
    """Sizes of an input: a number, or the name of an open one; one without a name is like no other."""
    dims = value.type.tensor_type.shape.dim
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{value.name}[{axis}]"
        for axis, dim in enumerate(dims)
    ]


def _sizes_of(model: onnx.ModelProto) -> dict[str, int]:
    """A number for each open size by its name."""
    sizes = [size for value in _inputs(model) for size in _named(value)]
    names = list(dict.fromkeys(size for size in sizes if isinstance(size, str)))
    sums = {name: [part.strip() for part in name.split("+")] for name in names}
    primes = [prime for prime in _PRIMES if prime not in sizes]
    numbers = dict(zip((name for name in names if len(sums[name]) == 1), primes, strict=False))
    for name, parts in sums.items():
        if name not in numbers and all(part in numbers for part in parts):
            numbers[name] = sum(numbers[part] for part in parts)
    return numbers


def _at(model: onnx.ModelProto, numbers: Mapping[str, int]) -> dict[str, Known]:
    shapes = {}
    for value in _inputs(model):
        shape = [size if isinstance(size, int) else numbers.get(size, -1) for size in _named(value)]
        if -1 not in shape:
            shapes[value.name] = tuple(shape)
    try:
        return shapes_at(model, shapes)
    except ModelError:
        return {}
