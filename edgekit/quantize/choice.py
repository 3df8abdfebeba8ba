"""The choices that one model's 8-bit form depends on, and the form that follows from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import onnx

from edgekit.quantize.bias import correct_bias
from edgekit.quantize.int8 import Form, insert_qdq, rounding_error
from edgekit.quantize.observers import Statistics
from edgekit.quantize.placement import Layer, Skip
from edgekit.quantize.ranges import range_of
from edgekit.quantize.recurrent import quantize_recurrent
from edgekit.quantize.shift import shift
from edgekit.quantize.smooth import smooth
from edgekit.quantize.weigh import weigh
from edgekit.quantize.weights import Levels, finite_values


@dataclass(frozen=True)
class Choice:
    """How the scales follow, and what is done before anything is rounded.

    `ranges` and `weights` name the rules of activations and weights. `shift` moves activations to the middle of their
    range, `alpha` is SmoothQuant's, `weigh` the power by which inputs of recurrent nodes are weighed, and `bias` says
    whether biases are corrected.
    """

    ranges: str = "max"
    weights: str = "max"
    alpha: float | None = None
    weigh: float | None = None
    shift: bool = False
    bias: bool = False

    def __str__(self) -> str:
        parts = [f"activations by {self.ranges}", f"weights by {self.weights}"]
        parts += [] if self.alpha is None else [f"SmoothQuant {self.alpha:g}"]
        parts += [] if self.weigh is None else [f"recurrent inputs weighed by the power {self.weigh:g}"]
        parts += ["activations moved to the middle"] if self.shift else []
        return ", ".join([*parts, *(["biases corrected"] if self.bias else [])])


@dataclass(frozen=True)
class Unit:
    """What can be quantized or kept by itself: a layer or a recurrent node."""

    node: str
    op_type: str


@dataclass(frozen=True)
class Prepared:
    """The float model as it is before anything is rounded: the same numbers, other weights and activations."""

    model: onnx.ModelProto
    layers: list[Layer]
    statistics: Statistics


@dataclass(frozen=True)
class Subject:
    """The float model with all that may be quantized in it, and what was seen of its activations.

    `recurrent` names the recurrent nodes whose weights become INT8, `skips` the inputs of residual adds that get Q/DQ.
    `rounded` has the weights that GPTQ rounded, by node and number of its input, for one choice.
    """

    model: onnx.ModelProto
    layers: tuple[Layer, ...]
    recurrent: tuple[Unit, ...]
    skips: tuple[Skip, ...]
    statistics: Statistics
    form: Form
    rounded: Mapping[tuple[str, int], Levels] = field(default_factory=dict)

    @property
    def units(self) -> tuple[Unit, ...]:
        """All that is quantized unless it is kept."""
        return (*(Unit(layer.node, layer.op_type) for layer in self.layers), *self.recurrent)

    def quantized(self, choice: Choice, kept: Collection[str] = ()) -> onnx.ModelProto:
        """A new model of 8 bits by `choice`, but for the nodes in `kept`."""
        return self.with_recurrent(self.with_qdq(choice, kept), choice, kept)

    def with_recurrent(self, model: onnx.ModelProto, choice: Choice, kept: Collection[str]) -> onnx.ModelProto:
        """`model`, which comes from `with_qdq`, with INT8 weights in its recurrent nodes; in place."""
        nodes = {unit.node for unit in self.recurrent if unit.node not in kept}
        return quantize_recurrent(model, nodes, self.rounded if choice.weights == "gptq" else {}).model

    def prepared(self, choice: Choice, kept: Collection[str] = ()) -> Prepared:
        """A new float model, ready to be rounded."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        layers = [layer for layer in self.layers if layer.node not in kept]
        if choice.weigh is not None:
            nodes = {unit.node for unit in self.recurrent if unit.node not in kept}
            weigh(model, nodes, self.statistics, choice.weigh)
        prepared = Prepared(model, layers, self.statistics)
        if choice.shift:
            shifted = shift(model, layers, self.statistics)
            prepared = Prepared(model, shifted.layers, shifted.statistics)
        if choice.alpha is not None:
            smoothed = smooth(model, prepared.layers, prepared.statistics, choice.alpha, self.layers)
            prepared = Prepared(model, smoothed.layers, smoothed.statistics)
        return prepared

    def with_qdq(self, choice: Choice, kept: Collection[str] = ()) -> onnx.ModelProto:
        """A new model whose layers, but for those in `kept`, have 8 bits; recurrent nodes are as they were."""
        prepared = self.prepared(choice, kept)
        levels = self._levels(prepared, choice)
        if choice.bias:
            weights = {tensor.name: tensor for tensor in prepared.model.graph.initializer}
            errors = {
                layer.node: rounding_error(finite_values(weights[layer.weight]), levels[layer.node], layer.axis)
                for layer in prepared.layers
            }
            correct_bias(prepared.model, prepared.layers, prepared.statistics, errors)
        skips = [skip for skip in self.skips if skip.layer not in kept]
        tensors = [*(layer.activation for layer in prepared.layers), *(skip.tensor for skip in skips)]
        ranges = {tensor: _range(prepared.statistics, tensor, choice) for tensor in tensors}
        return insert_qdq(prepared.model, prepared.layers, ranges, levels, self.form, skips).model

    def range_of(self, tensor: str, choice: Choice) -> float:
        """The |x| up to which an activation is covered, before SmoothQuant."""
        return _range(self.statistics, tensor, choice)

    def _levels(self, prepared: Prepared, choice: Choice) -> dict[str, Levels]:
        """The rounded weight of each layer; layers that share a weight share its levels."""
        form = replace(self.form, fit="mse" if choice.weights == "mse" else "max")
        weights = {tensor.name: tensor for tensor in prepared.model.graph.initializer}
        given = self.rounded if choice.weights == "gptq" else {}
        plain: dict[tuple[str, int], Levels] = {}
        levels: dict[str, Levels] = {}
        for layer in prepared.layers:
            key = (layer.weight, layer.axis)
            if (layer.node, 1) in given:
                levels[layer.node] = given[layer.node, 1]
                continue
            if key not in plain:
                plain[key] = form.weight(finite_values(weights[layer.weight]), layer.axis)
            levels[layer.node] = plain[key]
        return levels


def _range(statistics: Statistics, tensor: str, choice: Choice) -> float:
    seen = statistics.tensors[tensor]
    return range_of(choice.ranges, seen.largest, seen.histogram)
