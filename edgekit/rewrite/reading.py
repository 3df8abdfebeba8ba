"""Reads ONNX files as people have them: any opset, weights in odd places, initializers listed as inputs.

What every reader needs is mended here: the order of nodes, and normalisations that only onnxruntime reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError, EncodeError

from edgekit.errors import ModelError
from edgekit.rewrite.bare import without_weights
from edgekit.rewrite.layer_norms import mend_layer_norms
from edgekit.rewrite.names import graphs_of
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.specs import TensorSpec
from edgekit.texts import parse_json

_ANEW = "export it anew"
_NAMES = ("architecture", "task")  # of edgekit's metadata: text, whatever it looks like


@dataclass
class OnnxFile:
    """A model with its serialized form, which parsers take as it is: serializing 50 MB anew costs 0.1 s.

    Who has no more use for the weights of `model` may put one without them in its place: a device has little memory.
    """

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
            raise ModelError(f"expected an ONNX model in {path}, found a file without a graph", _ANEW)
        external = any(tensor.HasField("data_location") for tensor in _tensors(model))
        if external:
            onnx.load_external_data_for_model(model, str(path.parent))
        mended = [sort_nodes(model).modified, mend_layer_norms(model).modified, _mend_interface(model)]
        if external or any(mended):
            serialized = model.SerializeToString()
        onnx.checker.check_model(serialized)
    except FileNotFoundError as error:
        raise ModelError(f"expected an ONNX file at {path}, found none", "edgekit export writes one") from error
    except OSError as error:
        raise ModelError(f"expected to read {path}, found: {error.strerror or error}", "another file") from error
    except (DecodeError, EncodeError, onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    return OnnxFile(model, serialized)


def _mend_interface(model: onnx.ModelProto) -> bool:
    """Let an old file have initializers that are no inputs, and say the shape of an output where it can be inferred."""
    listed = {value.name for value in model.graph.input}
    is_old = model.ir_version < 4 and any(tensor.name not in listed for tensor in model.graph.initializer)
    if is_old:
        model.ir_version = 4  # from there on they need not be (ONNX IR specification)
    silent = [value for value in model.graph.output if _has_no_shape(value)]
    if silent:
        known = {value.name: value for value in onnx.shape_inference.infer_shapes(without_weights(model)).graph.output}
        for value in silent:
            if value.name in known and not _has_no_shape(known[value.name]):
                value.CopyFrom(known[value.name])
    return is_old or bool(silent)


def _has_no_shape(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All that a file may keep outside of itself: initializers, and constants in the attributes of nodes."""
    for graph in graphs_of(model.graph):
        yield from graph.initializer
        for node in graph.node:
            if node.op_type == "Constant":
                yield from (item.t for item in node.attribute if item.HasField("t"))


def _unreadable(path: Path, error: Exception) -> ModelError:
    """onnx's checker names the node in its second and third lines."""
    said = " ".join(str(error).split()) or type(error).__name__
    next_step = _ANEW
    if "TensorProto" in said or "xternal data" in said:
        next_step = "put the file of its weights beside it, whole, or save it with its weights inside"
    elif "exceeds maximum protobuf size" in said:
        next_step = "a model below 2 GB: edgekit quantize --precision int4 on the machine that exports it"
    return ModelError(f"expected an ONNX model in {path}, found: {said[:300]}", next_step)


def graph_inputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The inputs a caller must feed: IR versions below 4 list the initializers among them too."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return tuple(_spec(value) for value in model.graph.input if value.name not in initializers)


def graph_outputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The outputs; an axis that the file leaves unnamed gets a name of its own."""
    return tuple(_spec(value) for value in model.graph.output)


def metadata(model: onnx.ModelProto, key: str) -> Any:
    """The JSON or text that edgekit's export left under `edgekit.<key>`; None in a foreign model.

    `architecture` and `task` are text, `labels` a list of texts: ModelError where they are not.
    """
    text = next((entry.value for entry in model.metadata_props if entry.key == f"edgekit.{key}"), None)
    if text is None:
        return None
    try:
        value = parse_json(text)
    except ValueError:
        value = text
    if key in _NAMES:
        return value if isinstance(value, str) else text
    if key == "labels" and not (isinstance(value, list) and all(isinstance(label, str) for label in value)):
        raise ModelError(f"expected a list of texts in the model's metadata edgekit.labels, found {text[:80]!r}", _ANEW)
    return value


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(
            f"expected {value.name!r} to be a tensor, found a sequence, map or optional",
            "export with a tensor in its place",
        )
    shape: list[int | str] = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            shape.append(dim.dim_value)
        else:
            shape.append(dim.dim_param or f"{value.name}.{axis}")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(value.name, str(dtype), tuple(shape))
