"""Reads ONNX files as people have them: any opset, weights in odd places, initializers listed as inputs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from edgekit.errors import ModelError, first_line
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.specs import TensorSpec


@dataclass(frozen=True)
class OnnxFile:
    """A model with its serialized form, which parsers take as it is: serializing 50 MB anew costs 0.1 s."""

    model: onnx.ModelProto
    serialized: bytes


def read_onnx(path: Path) -> onnx.ModelProto:
    """Load, sort and check an ONNX file, with its external data; ModelError for anything that is not one."""
    return read_onnx_file(path).model


def read_onnx_file(path: Path) -> OnnxFile:
    """`read_onnx`, with the bytes: those of the file, unless it had to be mended or has external data."""
    try:
        serialized = path.read_bytes()
        model = onnx.load_model_from_string(serialized)
        if not model.graph.node or not model.opset_import:
            raise ModelError(f"expected an ONNX model in {path}, found a file without a graph")
        external = any(tensor.HasField("data_location") for tensor in model.graph.initializer)
        if external:
            onnx.load_external_data_for_model(model, str(path.parent))
        if sort_nodes(model).modified or external:
            serialized = model.SerializeToString()
        onnx.checker.check_model(serialized)
    except FileNotFoundError as error:
        raise ModelError(f"expected an ONNX file at {path}, found none") from error
    except OSError as error:
        raise ModelError(f"expected to read {path}, found: {error.strerror or error}") from error
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise ModelError(f"expected an ONNX model in {path}, found: {first_line(error)}") from error
    return OnnxFile(model, serialized)


def graph_inputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The inputs a caller must feed: IR versions below 4 list the initializers among them too."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return tuple(_spec(value) for value in model.graph.input if value.name not in initializers)


def graph_outputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The outputs; an axis that the file leaves unnamed gets a name of its own."""
    return tuple(_spec(value) for value in model.graph.output)


def metadata(model: onnx.ModelProto, key: str) -> Any:
    """The JSON or text that edgekit's export left under `edgekit.<key>`; None in a foreign model."""
    for entry in model.metadata_props:
        if entry.key == f"edgekit.{key}":
            try:
                return json.loads(entry.value)
            except ValueError:
                return entry.value
    return None


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(f"expected {value.name!r} to be a tensor, found a sequence, map or optional")
    shape: list[int | str] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            shape.append(dim.dim_value)
        else:
            shape.append(dim.dim_param or f"{value.name}.{axis}")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(value.name, str(dtype), tuple(shape))
