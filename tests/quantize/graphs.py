"""Small FP32 graphs by hand: made, run, and looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from edgekit.judge import plain_session
from edgekit.quantize.observers import Observer, Statistics
from edgekit.quantize.placement import Layer, quantizable_layers
from edgekit.rewrite.sort_nodes import sort_nodes

Arrays = dict[str, np.ndarray]


def node(op_type: str, inputs: str, output: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """Inputs and outputs as words; `-` is one left out. Named after its first output."""
    names = [[item.removeprefix("-") for item in text.split()] for text in (inputs, output)]
    return helper.make_node(op_type, *names, name or names[1][0], **attributes)


def value(name: str, *shape: int | str, dtype: int = onnx.TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def graph(nodes: list, inputs: list, outputs: Iterable[str], weights: Arrays, opset: int = 20) -> onnx.ModelProto:
    """Outputs are FP32; their shapes follow."""
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    made = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    whole = helper.make_graph(nodes, "g", inputs, made, tensors)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model)
    return model


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Passes change a model in place."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def run(model: onnx.ModelProto, feeds: Arrays, *more: str) -> Arrays:
    """All outputs, and `more` tensors, by name; the model may be unsorted, and stays as it is."""
    ready = sort_nodes(copy_of(model)).model
    onnx.checker.check_model(ready)
    ready.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in more)
    session = plain_session(ready.SerializeToString())
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    return quantizable_layers(model)[0]


def seen(model: onnx.ModelProto, feeds: Arrays, others: Iterable[str] = (), **axes: int) -> Statistics:
    """What layers read, and `axes` by their channel axis."""
    wanted = {layer.activation: layer.channels for layer in layers_of(model)} | axes
    return Observer(model, wanted, others).see(feeds)[0]


def same(found: Arrays, wanted: Arrays, rtol: float = 1e-5) -> None:
    """Relative to the largest value of each output."""
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        largest = float(np.abs(array).max())
        assert largest > 1e-3, "an output of nothing proves nothing"
        np.testing.assert_allclose(found[name], array, rtol=0, atol=rtol * largest, err_msg=name)


def count(model: onnx.ModelProto, op_type: str) -> int:
    return sum(item.op_type == op_type for item in model.graph.node)


def weights_of(model: onnx.ModelProto) -> Arrays:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
