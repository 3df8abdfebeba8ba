"""Graphs that TensorRT-RTX cannot build: `REFUSED` has words of the one line that says so, with the node or tensor."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx

from tests.build.foreign_graphs import (
    T,
    a_function,
    batch_normalization,
    conv,
    helper,
    model,
    node,
    normal,
    typed_input,
    value,
)
from tests.rewrite.microsoft_graphs import REFUSED as MICROSOFT


def dropout_in_training() -> onnx.ModelProto:
    return model(
        [node("Dropout", ["x", "ratio", "training"], ["y"], "dropout")],
        {"ratio": np.float32(0.5), "training": np.array(True)},
    )


def double_conv() -> onnx.ModelProto:
    picture, made = value("x", ("N", 3, 8, 8), T.DOUBLE), value("y", ("N", 4, 8, 8), T.DOUBLE)
    return model([conv()], {"k": normal(4, 3, 3, 3).astype(np.float64)}, [picture], [made])


def output_is_input() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"], "relu")], {}, [value("x")], [value("y"), value("x")])


def output_twice() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"], "relu")], {}, [value("x")], [value("y"), value("y")])


def a_zero_input() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"], "relu")], {}, [value("x", (0, 4))], [value("y", (0, 4))])


def unknown_rank() -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"], "relu")], {}, [value("x", None)], [value("y", None)])


def strings() -> onnx.ModelProto:
    return model(
        [node("Identity", ["x"], ["y"], "same")], {}, [value("x", dtype=T.STRING)], [value("y", dtype=T.STRING)]
    )


def sequence_input() -> onnx.ModelProto:
    sequence = helper.make_tensor_sequence_value_info("x", T.FLOAT, [None, 4])
    return model([node("ConcatFromSequence", ["x"], ["y"], "join", axis=0)], {}, [sequence])


def optional_input() -> onnx.ModelProto:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(T.FLOAT, ["N", 4]))
    return model([node("OptionalGetElement", ["x"], ["y"], "get")], {}, [helper.make_value_info("x", kind)])


def nonzero() -> onnx.ModelProto:
    return model([node("NonZero", ["x"], ["y"], "nonzero")], {}, [value("x")], [value("y", (2, "found"), T.INT64)])


def nms() -> onnx.ModelProto:
    nodes = [node("NonMaxSuppression", ["x", "scores", "most", "iou"], ["y"], "nms")]
    weights = {"most": np.int64([5]), "iou": np.float32([0.5])}
    return model(
        nodes, weights, [value("x", (1, 20, 4)), value("scores", (1, 2, 20))], [value("y", ("found", 3), T.INT64)]
    )


def a_cycle() -> onnx.ModelProto:
    return model(
        [
            node("Add", ["x", "b"], ["a"], "first"),
            node("Neg", ["a"], ["b"], "second"),
            node("Relu", ["b"], ["y"], "last"),
        ]
    )


def an_undefined_input() -> onnx.ModelProto:
    return model([node("Add", ["x", "nowhere"], ["y"], "add")])


def not_onnxs_gelu() -> onnx.ModelProto:
    """An operator of a house with the name of one of ONNX's; TensorRT goes by the name."""
    return model([node("Gelu", ["x"], ["y"], "mine", domain="house")])


def too_long_a_sparse_tensor() -> onnx.ModelProto:
    """A few bytes that claim 4 TB."""
    made = model([node("Add", ["x", "w"], ["y"], "add")])
    dims = [1 << 20, 1 << 20]
    found = helper.make_sparse_tensor(
        helper.make_tensor("w", T.FLOAT, [1], [1.0]), helper.make_tensor("i", T.INT64, [1], [0]), dims
    )
    made.graph.sparse_initializer.append(found)
    return made


def copy(made: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(made.SerializeToString())


def domain_of(made: onnx.ModelProto) -> str:
    return next(item.domain for item in made.graph.node if item.name == "culprit")


REFUSED = {
    "dropout_in_training": (dropout_in_training, r"node 'dropout' \(Dropout\).*; next: export in inference mode"),
    "batch_normalization_in_training": (
        partial(batch_normalization, True), r"node 'norm' \(BatchNormalization\).*; next: export in inference mode"),
    "double_conv": (double_conv, r"input 'x' in a type that TensorRT binds, found double; next: .*float32"),
    "input_uint16": (partial(typed_input, T.UINT16), r"input 'x' in a type that TensorRT binds, found uint16; next: "),
    "output_is_input": (output_is_input, r"found 'x', which is an input or an output already; next: "),
    "output_twice": (output_twice, r"found 'y', which is an input or an output already; next: "),
    "a_zero_input": (a_zero_input, r"found axis 0 of input 'x' with size 0; next: "),
    "unknown_rank": (unknown_rank, r"expected an ONNX model in .*'shape'.*; next: "),
    "strings": (strings, r"'x'.*found string; next: "),
    "sequence_input": (sequence_input, r"'x' to be a tensor, found a sequence.*; next: "),
    "optional_input": (optional_input, r"'x' to be a tensor, found a.*optional.*; next: "),
    "nonzero": (nonzero, r"node 'nonzero' \(NonZero\).*; next: cut the graph before it"),
    "nms": (nms, r"nms_0 has no runners.*; next: "),
    "a_cycle": (a_cycle, r"without cycles, found one through node 'first' \(Add\); next: "),
    "an_undefined_input": (an_undefined_input, r"input 'nowhere' of node: name: add .*; next: "),
    "a_function_that_calls_itself": (partial(a_function, 20, True), r"house::Twice -> house::Twice.*; next: "),
    "a_function_of_an_older_form": (partial(a_function, 9), r"Opset import for .* LeakyRelu.*version 9.*; next: "),
    "not_onnxs_gelu": (not_onnxs_gelu, r"node 'mine' \(house::Gelu\), which TensorRT would take for ONNX's.*; next: "),
    "too_long_a_sparse_tensor": (too_long_a_sparse_tensor, r"sparse weights 'w' of at most 1 GiB.*; next: "),
    **{f"microsoft_{name}": (partial(copy, made), rf"node 'culprit' \({domain_of(made)}::\w+\); next: ")
       for name, made in MICROSOFT.items()},
}  # fmt: skip
