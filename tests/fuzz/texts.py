"""What people and devices write: budgets, recipes, shapes, other models, lines of tegrastats."""

from __future__ import annotations

import math
from dataclasses import astuple

from edgekit.budget import parse_budget
from edgekit.device import parse_tegrastats
from edgekit.latency.beside import parse_company
from edgekit.recipe import load_recipe
from edgekit.shapes import shape_ranges
from edgekit.specs import ShapeRange, TensorSpec
from tests.fuzz.target import a_file, text

_INPUTS = (TensorSpec("x", "float32", ("batch", 3, "height")), TensorSpec("a:1", "int64", ("batch",)))
_NAMES = {spec.name for spec in _INPUTS}
_KNOWN = {"batch": [1, 1, 8], "height": [1, 32, 64]}


def budget(data: bytes) -> None:
    """A budget is read again from its own values, exactly, and from its own text, to six digits."""
    limits = parse_budget(text(data))
    assert limits
    assert all(math.isfinite(limit.value) for limit in limits)
    exact = ",".join(f"{limit.key}{limit.relation}{limit.value!r}" for limit in limits)
    assert parse_budget(exact) == limits
    shown = ",".join(map(str, limits))
    assert ",".join(map(str, parse_budget(shown))) == shown


def recipe(data: bytes) -> None:
    """A recipe is the same when it is read again; a NaN in it would differ from itself."""
    path = a_file(data, "recipe.toml")
    assert load_recipe(str(path)) == load_recipe(str(path))


def tegrastats(data: bytes) -> None:
    """Nothing is refused. Numbers are what they say, and white space around a line says nothing."""
    line = data.decode("utf-8", "replace")
    found = parse_tegrastats(line)
    celsius = [value for value in found.celsius.values() if value is not None]
    assert all(math.isfinite(value) for value in celsius)
    counts = [value for value in astuple(found) if isinstance(value, int)]
    counts += [value for core in found.cores for value in astuple(core) if value is not None]
    counts += [value for rail in found.rails.values() for value in astuple(rail)]
    counts += [value for value in found.gpu_mhz if value is not None]
    assert all(value >= 0 for value in counts)
    assert parse_tegrastats(f" {line}\n") == found


def shape(data: bytes) -> None:
    """`--shape` once or more, a line each, for a model of two inputs; a range is read again from its own text."""
    asked = tuple(text(data).splitlines())
    found = [ShapeRange.parse(item, _NAMES) for item in asked]
    assert all(ShapeRange.parse(str(item), (item.name,)) == item for item in found)
    for spec, sizes in zip(_INPUTS, shape_ranges(_INPUTS, asked, _KNOWN), strict=True):
        assert sizes.name == spec.name
        spec.check(spec.dtype, sizes.opt)


def company(data: bytes) -> None:
    """A rate is one that a machine can have, and the model is what stands before it."""
    asked = text(data)
    found = parse_company(asked)
    assert found.fps is None or 0.001 <= found.fps <= 1e6
    assert len(str(found.source)) <= max(1, len(asked))
