"""What a tensor is and what a frame becomes: names, dtypes, axes, ranges, pre- and postprocessing as data."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from edgekit.errors import RecipeError, ShapeError, nearest

_DIMS = re.compile(r"\d+(x\d+)*")


@dataclass(frozen=True)
class TensorSpec:
    """A named tensor; `dtype` is NumPy's name; a dynamic axis is its name, a static axis an int."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def check(self, dtype: str, shape: tuple[int, ...]) -> None:
        """Raise ShapeError unless an array of this dtype and shape fits."""
        fits = len(shape) == len(self.shape) and all(
            isinstance(want, str) or want == got for want, got in zip(self.shape, shape, strict=True)
        )
        if not fits or dtype != self.dtype:
            raise ShapeError(f"{self.name}: expected {self}, found {dtype}[{', '.join(map(str, shape))}]")

    def meets(self, shape: tuple[int | str, ...]) -> bool:
        """Whether some sizes fit both: axes of fixed but different sizes never do."""
        pairs = zip(self.shape, shape, strict=True) if len(shape) == len(self.shape) else [(0, 1)]
        return all(isinstance(one, str) or isinstance(other, str) or one == other for one, other in pairs)

    def at(self, dims: Mapping[str, int]) -> tuple[int, ...] | None:
        """Return the shape once dynamic axes have these sizes; None when one of them is not among `dims`."""
        sizes = [axis if isinstance(axis, int) else dims.get(axis) for axis in self.shape]
        known = tuple(size for size in sizes if size is not None)
        return known if len(known) == len(sizes) else None

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of one input between which an engine must work, and the one it is tuned for."""

    name: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    def __post_init__(self) -> None:
        same_rank = len(self.min) == len(self.opt) == len(self.max)
        if not same_rank or not all(1 <= a <= b <= c for a, b, c in zip(self.min, self.opt, self.max, strict=False)):
            raise ShapeError(f"expected 1 <= min <= opt <= max on every axis, found {self}", "--shape name:min:opt:max")

    @classmethod
    def parse(cls, text: str, inputs: Iterable[str] = ()) -> ShapeRange:
        """Read `name:min:opt:max` or `name:shape` from the right, since names may hold a colon.

        `inputs` are the model's input names: where both readings are possible, the one that names an input wins.
        """
        parts = text.split(":")
        readings = []
        for count in (3, 1):
            tail = parts[-count:]
            if len(parts) > count and all(_DIMS.fullmatch(part) for part in tail):
                shapes = [tuple(int(size) for size in part.split("x")) for part in tail] * (3 if count == 1 else 1)
                readings.append((":".join(parts[:-count]), shapes))
        if not readings:
            raise ShapeError(
                f"expected a shape as name:1x3x224x224 or name:min:opt:max, found {text!r}",
                "--shape name:1x3x224x224:4x3x224x224:8x3x224x224",
            )
        known = set(inputs)
        name, shapes = next((reading for reading in readings if reading[0] in known), readings[0])
        return cls(name, *shapes)

    def __str__(self) -> str:
        return ":".join([self.name, *("x".join(map(str, shape)) for shape in (self.min, self.opt, self.max))])


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the input tensor; `edgekit.preprocess` applies it.

    The shorter side is resized to `resize` pixels, the middle `crop` x `crop` is cut out, and each channel becomes
    (value - mean) / std with value in 0..255.
    """

    kind: str
    input: str
    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    layout: str = "NCHW"
    colour: str = "RGB"

    def __post_init__(self) -> None:
        choices = {
            "kind": ("image",),
            "interpolation": ("bilinear", "bicubic"),
            "layout": ("NCHW", "NHWC"),
            "colour": ("RGB", "BGR", "GRAY"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise RecipeError(f"preprocess.{name}: expected one of {allowed}, found {getattr(self, name)!r}")
        channels = 1 if self.colour == "GRAY" else 3
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not len(self.mean) == len(self.std) == channels or not all(self.std) or not finite:
            raise RecipeError(f"preprocess: expected {channels} means and {channels} nonzero stds for {self.colour}")
        if not 0 < self.crop <= self.resize:
            raise RecipeError(f"preprocess: expected 0 < crop <= resize, found {self.crop} and {self.resize}")


@dataclass(frozen=True)
class Postprocess:
    """What the output means: `classify` turns the logits [N,C] of `output` into a label with its probability."""

    kind: str
    output: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind != "classify":
            raise RecipeError(f"postprocess.kind: expected 'classify', found {self.kind!r}")


def from_table(kind: type[Any], table: Mapping[str, Any], where: str) -> Any:
    """Make a spec or config from a JSON or TOML table; an unknown or missing key is an error that helps."""
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}
    values = {}
    for key, value in table.items():
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}; {nearest(key, known)}")
        values[key] = _typed(value, hints[key], f"{where}: {key}")
    try:
        return kind(**values)
    except TypeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _typed(value: Any, hint: Any, where: str) -> Any:
    """Return a TOML or JSON value as the type that the field declares, or raise RecipeError."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for option in options:
        if get_origin(option) is tuple and isinstance(value, list):
            return tuple(_typed(item, get_args(option)[0], where) for item in value)
        if option is float and type(value) in (int, float):
            return float(value)
        if option is Path and isinstance(value, str):
            return Path(value)
        if option is NoneType and value is None:
            return None
        if isinstance(option, type) and type(value) is option:
            return value
    kinds = " or ".join(getattr(option, "__name__", str(option)) for option in options if option is not type(None))
    raise RecipeError(f"{where}: expected {kinds}, found {value!r}")


def to_table(spec: Any) -> dict[str, Any]:
    """The JSON form of a spec: tuples become lists when dumped."""
    return asdict(spec)
