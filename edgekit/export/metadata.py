"""What the exported file tells the stages that read it: architecture, task, labels, ranges of the open axes,
what a stream carries."""

from __future__ import annotations

import json

import onnx

from edgekit.export.subject import Subject
from edgekit.models import ARCHITECTURES
from edgekit.models.network import Network
from edgekit.specs import to_table


def add_metadata(proto: onnx.ModelProto, model: str, network: Network, subject: Subject) -> None:
    """Batches run from 1 to 8, other open axes to four times the example, tuned for the example's own size."""
    sizes = subject.sizes()
    ranges = {dim: [1, 1, 8] if dim == "batch" else [1, size, 4 * size] for dim, size in sizes.items()}
    ranges |= {dim: list(network.ranges[dim]) for dim in sizes if dim in network.ranges}
    metadata = {"edgekit.ranges": json.dumps(ranges)}
    if model in ARCHITECTURES:
        metadata |= {"edgekit.architecture": model, "edgekit.task": ARCHITECTURES[model].task}
    if network.labels:
        metadata["edgekit.labels"] = json.dumps(network.labels)
    if network.stream:
        metadata["edgekit.stream"] = json.dumps(to_table(network.stream))
    onnx.helper.set_model_props(proto, metadata)


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """The sizes of a graph input, or the names of its open axes."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
