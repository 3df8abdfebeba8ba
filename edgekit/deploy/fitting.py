"""Does what the recipe says of frames and answers fit the model? Asked before the bundle is made, not on the robot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.errors import EdgekitError, RecipeError
from edgekit.preprocess import preprocessor
from edgekit.specs import (
    AudioPreprocess,
    Boxes,
    Classify,
    Ctc,
    Forecast,
    Postprocess,
    Preprocess,
    SeriesPreprocess,
    TensorSpec,
)

Specs = Mapping[str, TensorSpec]


def check_preprocess(spec: Preprocess, inputs: Specs, assets: Mapping[str, bytes]) -> None:
    """Raise RecipeError where what it makes is not what the input takes, as far as the sizes are fixed."""
    try:
        preprocessor(spec, assets)
    except EdgekitError as error:
        raise RecipeError(f"[preprocess]: {error.problem}", error.next_step) from error
    axes = inputs[spec.input].shape
    if isinstance(spec, SeriesPreprocess):
        _check("[preprocess] mean", "channels", len(spec.mean), axes, 2 if spec.layout == "TC" else 1)
    if isinstance(spec, AudioPreprocess):
        behind = 2 if spec.channel else 1
        if spec.features == "samples" and spec.window:
            _check("[preprocess] window", "samples", spec.window, axes, behind)
        elif spec.bands:
            bands = spec.bands * (2 if spec.rise else 1)
            _check("[preprocess] bands", "bands", bands, axes, behind + (spec.layout == "TF"))


def check_postprocess(spec: Postprocess, outputs: Specs) -> None:
    """Raise RecipeError where labels, alphabet or channels are not as many as the output has."""
    if isinstance(spec, Classify) and spec.labels:
        _check("[postprocess] labels", "names", len(spec.labels), outputs[spec.output].shape, -1)
    elif isinstance(spec, Ctc):
        axis = 1 if spec.layout == "NCT" else 2
        _check("[postprocess] alphabet", "classes", len(spec.alphabet), outputs[spec.output].shape, axis)
    elif isinstance(spec, Forecast):
        axes = outputs[spec.output].shape
        _check("[postprocess] mean", "channels", len(spec.mean), axes if len(axes) == 3 else (*axes, 1), 2)
    elif isinstance(spec, Boxes) and spec.labels:
        axes, before = (outputs[spec.scores].shape, 0) if spec.scores else (outputs[spec.boxes].shape, 4)
        axis = 1 if spec.layout == "NCK" else 2
        _check("[postprocess] labels", "names", before + len(spec.labels), (*axes, 1) if len(axes) == 2 else axes, axis)


def _check(what: str, unit: str, given: int, axes: tuple[Any, ...], axis: int) -> None:
    """One number against one axis, where that is there and fixed."""
    if not -len(axes) <= axis < len(axes):
        raise RecipeError(f"{what}: expected a tensor with an axis {axis}, found {list(axes)}", "another tensor")
    size = axes[axis]
    if isinstance(size, int) and size != given:
        raise RecipeError(f"{what}: expected {size} {unit} for the axis {axis} of {list(axes)}, found {given}")
