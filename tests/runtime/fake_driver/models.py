"""Small models for the scenarios, and the specs that a bundle would have of them."""

from __future__ import annotations

import functools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekit.specs import TensorSpec

_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}
_TYPES |= {"bool": TensorProto.BOOL}


def _weights(**shapes: tuple[int, ...]) -> list[onnx.TensorProto]:
    random = np.random.default_rng(7)
    return [
        numpy_helper.from_array((random.normal(size=shape) / 2).astype(np.float32), name)
        for name, shape in shapes.items()
    ]


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    weights: list[onnx.TensorProto],
) -> tuple[bytes, tuple[TensorSpec, ...]]:
    infos = [
        [helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], spec.shape) for spec in specs]
        for specs in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "small", *infos, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString(), (*inputs, *outputs)


@functools.cache
def tagger() -> tuple[bytes, tuple[TensorSpec, ...]]:
    """x [N,T,8] and mask [N,T] -> y [N,T,5], and how many are masked in, count [N]."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["product"]),
        node("Tanh", ["product"], ["hidden"]),
        node("Cast", ["mask"], ["float_mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float_mask", "last"], ["wide"]),
        node("Mul", ["hidden", "wide"], ["y"]),
        node("Cast", ["mask"], ["int_mask"], to=TensorProto.INT64),
        node("ReduceSum", ["int_mask", "last"], ["count"], keepdims=0),
    ]
    inputs = [TensorSpec("x", "float32", ("batch", "time", 8)), TensorSpec("mask", "bool", ("batch", "time"))]
    outputs = [TensorSpec("y", "float32", ("batch", "time", 5)), TensorSpec("count", "int64", ("batch",))]
    last = numpy_helper.from_array(np.array([-1], np.int64), "last")
    return _model(nodes, inputs, outputs, [*_weights(w=(8, 5)), last])


@functools.cache
def stream() -> tuple[bytes, tuple[TensorSpec, ...]]:
    """x [N,4] and h [N,6], c [N,6] -> y [N,3] and the next h and c: a recurrent cell."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["from_x"]),
        node("MatMul", ["h", "u"], ["from_h"]),
        node("Sum", ["from_x", "from_h", "c"], ["sum"]),
        node("Tanh", ["sum"], ["h_next"]),
        node("Mul", ["h_next", "half"], ["halved"]),
        node("Add", ["halved", "c"], ["c_next"]),
        node("MatMul", ["h_next", "v"], ["y"]),
    ]
    state = ("batch", 6)
    inputs = [TensorSpec("x", "float32", ("batch", 4)), *(TensorSpec(name, "float32", state) for name in ("h", "c"))]
    outputs = [TensorSpec("y", "float32", ("batch", 3))]
    outputs += [TensorSpec(name, "float32", state) for name in ("h_next", "c_next")]
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    return _model(nodes, inputs, outputs, [*_weights(w=(4, 6), u=(6, 6), v=(6, 3)), half])


@functools.cache
def cached() -> tuple[bytes, tuple[TensorSpec, ...]]:
    """x [1,2,1,4] and past [1,2,S,4] -> y [1,2,1,4], and present [1,2,S+1,4]: a cache that grows by a token a step."""
    node = helper.make_node
    nodes = [
        node("Concat", ["past", "x"], ["present"], axis=2),
        node("ReduceSum", ["present", "axis"], ["y"], keepdims=1),
    ]
    inputs = [TensorSpec("x", "float32", (1, 2, 1, 4)), TensorSpec("past", "float32", (1, 2, "past", 4))]
    outputs = [TensorSpec("y", "float32", (1, 2, 1, 4)), TensorSpec("present", "float32", (1, 2, "total", 4))]
    return _model(nodes, inputs, outputs, [numpy_helper.from_array(np.array([2], np.int64), "axis")])


@functools.cache
def finder() -> tuple[bytes, tuple[TensorSpec, ...]]:
    """x [8] -> where [1,count]: how many there are depends on the data."""
    nodes = [helper.make_node("NonZero", ["x"], ["where"])]
    return _model(nodes, [TensorSpec("x", "float32", (8,))], [TensorSpec("where", "int64", (1, "count"))], [])


@functools.cache
def halves() -> tuple[bytes, tuple[TensorSpec, ...]]:
    """x float16 [N,4] -> y float16 [N,4]."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    return _model(nodes, [TensorSpec("x", "float16", ("batch", 4))], [TensorSpec("y", "float16", ("batch", 4))], [])
