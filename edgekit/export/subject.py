"""What is exported and compared: the module, its inputs with their open axes, and other inputs of other sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgekit.configs import ExportConfig
from edgekit.errors import ExportError
from edgekit.export.attention import plain_attention
from edgekit.export.axes import Axes, at_least_two, dynamic_axes, grown, resized
from edgekit.export.dynamo import output_names
from edgekit.export.parity import Case, torch_outputs
from edgekit.models.network import Network


@dataclass(frozen=True)
class Subject:
    """`examples` and `axes` have forward's names, `inputs` and `outputs` are the ONNX names in the same order."""

    module: torch.nn.Module
    examples: dict[str, torch.Tensor]
    axes: Axes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attention: bool
    ranges: dict[str, tuple[int, int, int]]

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ONNX names of inputs and outputs."""
        return self.inputs, self.outputs

    def sizes(self) -> dict[str, int]:
        """The example's size of every open dimension."""
        return {dim: self.examples[name].shape[axis] for name, dims in self.axes.items() for axis, dim in dims.items()}


def make_subject(network: Network, config: ExportConfig) -> Subject:
    """Run the network once on its examples; ExportError when it refuses them, or returns what ONNX has no form for."""
    axes = dynamic_axes(network.examples, config.dynamic, network.axes)
    examples = at_least_two(network.examples, axes)
    inputs = network.inputs or tuple(examples)
    try:
        with torch.no_grad(), plain_attention(network.module, fused=False) as seen:
            made = network.module(**examples)
    except Exception as error:
        shapes = {name: list(value.shape) for name, value in examples.items()}
        raise ExportError(
            f"expected {type(network.module).__name__}.forward to accept the example inputs {shapes}, "
            f"found {type(error).__name__}: {str(error)[:300]}"
        ) from error
    outputs = output_names(network.outputs, made, inputs)
    return Subject(network.module, examples, axes, inputs, outputs, seen.attention, network.ranges)


def parity_cases(subject: Subject) -> list[Case]:
    """The examples, and inputs at sizes that the exporter did not see: larger ones, a batch of 1, and 1 of everything.

    The last is left out where torch itself refuses it, as a convolution over time may.
    """
    sizes = subject.sizes()
    larger = grown(subject.examples, subject.axes, subject.ranges)
    single = {dim: 1 if dim == "batch" else size for dim, size in sizes.items()}
    cases = [subject.examples, *(resized(subject.examples, subject.axes, other) for other in (larger, single))]
    ones = resized(subject.examples, subject.axes, dict.fromkeys(sizes, 1))
    try:
        torch_outputs(subject.module, ones)
    except Exception:
        return cases
    return [*cases, ones]
