"""Models of a few nodes with Q/DQ: each breaks one rule of TensorRT's, or none. Made by hand, with seeded weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper

Nodes = list[onnx.NodeProto]
S8, U8 = np.int8, np.uint8
IMAGE, ROWS, HEADS = ["batch", 8, 8, 8], ["batch", 8, 32], ["batch", 4, 64, 64]


class Maker:
    """Collects nodes and tensors; a node is named after its first output, `y` is the output of the model."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: Nodes = []
        self.tensors: dict[str, Any] = {}
        self.random = np.random.default_rng(seed)

    def weight(self, name: str, *shape: int) -> np.ndarray:
        self.tensors[name] = self.random.normal(size=shape).astype(np.float32)
        return self.tensors[name]

    def add(self, op_type: str, inputs: list[str], out: str = "y", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [out], out, **attributes))
        return out

    def pair(self, name: str, scale: Any = 0.03, zero: Any = S8(0), dtype: Any = np.float32, **attributes: Any) -> str:
        """QuantizeLinear and DequantizeLinear; without a zero point where it is None."""
        self.tensors[f"{name}_s"] = np.asarray(scale, dtype)
        parameters = [f"{name}_s"] + ([] if zero is None else [f"{name}_z"])
        self.tensors |= {} if zero is None else {f"{name}_z": zero}
        self.add("QuantizeLinear", [name, *parameters], f"{name}_q", **attributes)
        return self.add("DequantizeLinear", [f"{name}_q", *parameters], f"{name}_dq", **attributes)

    def stored(self, name: str, values: np.ndarray, axis: int | None, shift: int = 0, kind: Any = S8) -> str:
        """Integers with a DequantizeLinear: one scale a slice along `axis`, or one scale."""
        others = None if axis is None else tuple(item for item in range(values.ndim) if item != axis)
        scale = (np.abs(values).max(axis=others) / 120).astype(np.float32)
        wide = scale if axis is None else scale.reshape([-1 if item == axis else 1 for item in range(values.ndim)])
        self.tensors[f"{name}_i"] = (np.rint(values / wide) + shift).astype(kind)
        self.tensors |= {f"{name}_s": scale, f"{name}_z": np.full(scale.shape, shift, kind)}
        inputs = [f"{name}_i", f"{name}_s", f"{name}_z"]
        return self.add("DequantizeLinear", inputs, f"{name}_dq", **({} if axis is None else {"axis": axis}))

    def model(self, shape: list[Any], out: list[Any], inputs: str = "x", kind: int = T.FLOAT, opset: int = 20) -> Any:
        values = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
        made = [helper.make_tensor_value_info("y", kind, out)]
        stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in self.tensors.items()]
        graph = helper.make_graph(self.nodes, "g", values, made, stored)
        domains = [helper.make_opsetid("", opset)]
        domains += [helper.make_opsetid(name, 1) for name in sorted({node.domain for node in self.nodes} - {""})]
        return helper.make_model(graph, opset_imports=domains, ir_version=10)


def conv(
    act: dict[str, Any] | None = None, axis: int | None = 0, bias: Callable[[Maker], str] | None = None, **stored: Any
) -> Any:
    """x [batch,8,8,8] -> Conv of 16 channels."""
    make = Maker()
    x = make.pair("x", **(act or {}))
    inputs = [x, make.stored("w", make.random.normal(size=(16, 8, 3, 3)), axis, **stored)]
    inputs += [bias(make)] if bias else []
    make.add("Conv", inputs, pads=[1] * 4)
    return make.model(IMAGE, ["batch", 16, 8, 8], opset=21)


def int32_bias(make: Maker) -> str:
    make.tensors |= {"b_i": np.arange(16, dtype=np.int32) * 1000, "b_s": np.float32(1e-4), "b_z": np.int32(0)}
    return make.add("DequantizeLinear", ["b_i", "b_s", "b_z"], "b_dq")


def int8_bias(make: Maker) -> str:
    return make.stored("b", np.linspace(-1, 1, 16), None)


def float_bias(make: Maker) -> str:
    make.weight("b", 16)
    return "b"


def paired_bias(make: Maker) -> str:
    make.weight("b", 16)
    return make.pair("b", 0.02)


def float_weight() -> Any:
    make = Maker()
    x = make.pair("x")
    w = make.weight("w", 16, 8, 3, 3)
    pair = make.pair("w", np.abs(w).max((1, 2, 3)) / 127, np.zeros(16, S8), axis=0)
    make.add("Conv", [x, pair], pads=[1] * 4)
    return make.model(IMAGE, ["batch", 16, 8, 8])


def transposed(axis: int) -> Any:
    """ConvTranspose, whose output channels are axis 1."""
    make = Maker()
    inputs = [make.pair("x"), make.stored("w", make.random.normal(size=(8, 16, 2, 2)), axis)]
    make.add("ConvTranspose", inputs, strides=[2, 2])
    return make.model(IMAGE, ["batch", 16, 16, 16])


def matmul(axis: int | None, turned: bool = False, bias: bool = False) -> Any:
    """x [batch,8,32] times [32,48], or the transpose of a stored [48,32]; a bias is added as stored integers."""
    make = Maker()
    x = make.pair("x")
    w = make.stored("w", make.random.normal(size=(48, 32) if turned else (32, 48)), axis)
    w = make.add("Transpose", [w], "wt", perm=[1, 0]) if turned else w
    made = make.add("MatMul", [x, w], "m" if bias else "y")
    if bias:
        make.add("Add", [made, make.stored("b", np.linspace(-1, 1, 48), None)])
    return make.model(ROWS, ["batch", 8, 48])


def gemm(axis: int, turned: int) -> Any:
    make = Maker()
    inputs = [make.pair("x"), make.stored("w", make.random.normal(size=(48, 32) if turned else (32, 48)), axis)]
    make.add("Gemm", inputs, transB=turned)
    return make.model(["batch", 32], ["batch", 48])


def blocked(kind: int) -> Any:
    """A weight with a scale for 16 rows of a column: int8, int4."""
    make = Maker()
    make.tensors["w_s"] = make.random.uniform(0.01, 0.02, size=(2, 48)).astype(np.float32)
    make.add("DequantizeLinear", ["w_i", "w_s"], "w_dq", axis=0, block_size=16)
    make.add("MatMul", ["x", "w_dq"])
    proto = make.model(ROWS, ["batch", 8, 48], opset=21)
    levels = make.random.integers(-7, 8, size=32 * 48).tolist()
    proto.graph.initializer.append(helper.make_tensor("w_i", kind, [32, 48], levels))
    return proto


def concat(scale: float, same: bool = False) -> Any:
    make = Maker()
    left = make.pair(make.add("Relu", ["x"], "a"), 0.03)
    right = make.pair(make.add("Sigmoid", ["x"], "b"), scale)
    joined = make.add("Concat", [left, right], "c", axis=1)
    joined = make.pair(joined, scale) if same else joined
    make.add("Conv", [joined, make.stored("w", make.random.normal(size=(8, 16, 3, 3)), 0)], pads=[1] * 4)
    return make.model(IMAGE, ["batch", 8, 8, 8])


def attention(places: str, kind: int = T.FLOAT16, size: int = 64, shift: int = 0) -> Any:
    """softmax(q k^T) v with pairs on q, k, s (the scores), p (the Softmax's output), v and o (the result)."""
    make = Maker()
    dtype = helper.tensor_dtype_to_np_dtype(kind)

    def maybe(place: str, name: str, scale: float = 0.03) -> str:
        return make.pair(name, scale, S8(shift), dtype) if place in places else name

    make.tensors["c"] = np.asarray(0.25, dtype)
    query = maybe("q", make.add("Mul", ["q", "c"], "query"))
    key = make.add("Transpose", [maybe("k", make.add("Mul", ["k", "c"], "key"))], "turned", perm=[0, 1, 3, 2])
    scores = maybe("s", make.add("MatMul", [query, key], "scores"), 0.2)
    weights = maybe("p", make.add("Softmax", [scores], "weights", axis=-1), 1 / 127)
    made = make.add("MatMul", [weights, maybe("v", "v")], "result")
    make.add("Identity", [maybe("o", made)])
    shape = [*HEADS[:3], size]
    return make.model(shape, shape, "qkv", kind)


def attention_node(paired: bool) -> Any:
    make = Maker()
    make.add("Attention", [make.pair(name, dtype=np.float16) if paired else name for name in "qkv"])
    return make.model(HEADS, HEADS, "qkv", T.FLOAT16, opset=23)


def layer_norm(place: str) -> Any:
    """LayerNormalization with a pair on x, g (the gain) or y (its output), or an int32 bias b; then a MatMul."""
    make = Maker()
    gain, offset = make.weight("g", 32), make.weight("b", 32)
    inputs = [make.pair(name) if name == place else name for name in ("x", "g", "b")]
    if place == "stored":
        inputs[1] = make.stored("gain", gain, None)
    if place == "int32":
        make.tensors |= {"o_i": np.rint(offset / 1e-4).astype(np.int32), "o_s": np.float32(1e-4)}
        inputs[2] = make.add("DequantizeLinear", ["o_i", "o_s"], "o_dq")
    normal = make.add("LayerNormalization", inputs, "normal", axis=-1)
    normal = make.pair(normal) if place == "y" else normal
    make.add("MatMul", [normal, make.stored("w", make.random.normal(size=(32, 48)), 1)])
    return make.model(ROWS, ["batch", 8, 48])


def spelled_out(place: str) -> Any:
    """(x - mean) / sqrt(mean of squares + epsilon) * gain + offset, with a pair on x, on the difference, or on y,
    which a residual sum reads: that is no part of it, nor is a gate behind the quotient."""
    make = Maker()
    make.tensors |= {"two": np.float32(2), "e": np.float32(1e-5), "last": np.array([-1])}
    make.weight("g", 32), make.weight("b", 32)
    x = make.pair("x") if place == "x" else "x"
    mean = make.add("ReduceMean", [x, "last"], "mean")
    difference = make.add("Sub", [x, mean], "difference")
    difference = make.pair(difference) if place == "difference" else difference
    variance = make.add("ReduceMean", [make.add("Pow", [difference, "two"], "square"), "last"], "variance")
    root = make.add("Sqrt", [make.add("Add", [variance, "e"], "above")], "root")
    if place == "gate":
        gate = make.pair(make.add("Sigmoid", ["x"], "gate"), 1 / 127)
        make.add("Mul", [make.add("Div", [difference, root], "quotient"), gate])
        return make.model(ROWS, ROWS)
    scaled = make.add("Mul", [make.add("Div", [difference, root], "quotient"), "g"], "scaled")
    normal = make.add("Add", [scaled, "b"], "normal")
    normal = make.pair(normal) if place == "y" else normal
    make.add("Add", [normal, "x"])
    return make.model(ROWS, ROWS)


def softmax(paired: bool) -> Any:
    make = Maker()
    make.add("Softmax", [make.pair("x", 0.05) if paired else "x"], axis=-1)
    return make.model(ROWS, ROWS)


def qlinear_conv() -> Any:
    make = Maker()
    make.stored("w", make.random.normal(size=(16, 8, 3, 3)), 0)
    make.nodes.clear()
    # 7 bits: x86 without VNNI adds two products in 16 bits, which overflow with 8 (onnxruntime: reduce_range).
    make.tensors["w_i"] = make.tensors["w_i"] // 2
    make.tensors |= {"x_s": np.float32(0.015), "x_z": U8(3), "y_s": np.float32(0.2), "y_z": U8(128)}
    make.tensors["b"] = np.arange(-8, 8, dtype=np.int32) * 500
    make.add("QuantizeLinear", ["x", "x_s", "x_z"], "x_q")
    inputs = ["x_q", "x_s", "x_z", "w_i", "w_s", "w_z", "y_s", "y_z", "b"]
    make.add("QLinearConv", inputs, "y_q", pads=[1] * 4)
    make.add("MaxPool", ["y_q"], "p_q", kernel_shape=[2, 2], strides=[2, 2])
    make.add("DequantizeLinear", ["p_q", "y_s", "y_z"])
    return make.model(IMAGE, ["batch", 16, 4, 4])


def qlinear_rest() -> Any:
    """QLinearMatMul, then onnxruntime's Add, Sigmoid, Concat and QGemm."""
    make = Maker()
    of_ort = {"domain": "com.microsoft"}
    for name, size in (("w", (32, 16)), ("v", (24, 32))):
        make.stored(name, make.random.normal(size=size), None)
    make.nodes.clear()
    for name, scale, zero in (("x", 0.015, 5), ("m", 0.35, 120), ("a", 0.7, 120), ("s", 1 / 255, 0), ("c", 0.7, 120)):
        make.tensors |= {f"{name}_s": np.float32(scale), f"{name}_z": U8(zero)}
    make.tensors |= {"g_s": np.float32(2), "g_z": U8(110), "b": np.arange(24, dtype=np.int32) * 100}

    def triple(name: str) -> list[str]:
        return [f"{name}_q", f"{name}_s", f"{name}_z"]

    make.tensors |= {"w_q": make.tensors.pop("w_i"), "v_q": make.tensors.pop("v_i")}
    make.add("QuantizeLinear", ["x", "x_s", "x_z"], "x_q")
    make.add("QLinearMatMul", [*triple("x"), *triple("w"), "m_s", "m_z"], "m_q")
    make.add("QLinearAdd", [*triple("m"), *triple("m"), "a_s", "a_z"], "a_q", **of_ort)
    make.add("QLinearSigmoid", [*triple("m"), "s_s", "s_z"], "s_q", **of_ort)
    make.add("QLinearConcat", ["c_s", "c_z", *triple("a"), *triple("s")], "c_q", axis=1, **of_ort)
    make.add("QGemm", [*triple("c"), *triple("v"), "b", "g_s", "g_z"], "g_q", transB=1, alpha=0.5, **of_ort)
    make.add("DequantizeLinear", triple("g"))
    return make.model(["batch", 32], ["batch", 24])


def dynamic() -> Any:
    make = Maker()
    make.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["x_q", "x_s", "x_z"], "x_q"))
    make.add("DequantizeLinear", ["x_q", "x_s", "x_z"])
    return make.model(ROWS, ROWS)


def gathered() -> Any:
    """A table of integers from which rows are taken before they are dequantized."""
    make = Maker()
    make.tensors |= {"table": np.arange(80, dtype=S8).reshape(10, 8), "s": np.float32(0.1), "z": S8(0)}
    make.add("Cast", ["x"], "rows", to=T.INT64)
    make.add("Gather", ["table", "rows"], "taken")
    make.add("DequantizeLinear", ["taken", "s", "z"])
    return make.model(["batch", 3], ["batch", 3, 8])


def scaled_by(shape: tuple[int, ...]) -> Any:
    """x times a stored int8 number."""
    make = Maker()
    make.tensors |= {"c": np.full(shape, 5, S8), "s": np.float32(0.1), "z": S8(0)}
    make.add("Mul", ["x", make.add("DequantizeLinear", ["c", "s", "z"], "c_dq")])
    return make.model(ROWS, ROWS)


def residual(skip: bool) -> Any:
    make = Maker()
    x = make.pair("x")
    made = make.add("Conv", [x, make.stored("w", make.random.normal(size=(8, 8, 3, 3)), 0)], "made", pads=[1] * 4)
    make.add("Add", [x if skip else "x", made])
    return make.model(IMAGE, IMAGE)


@dataclass(frozen=True)
class Case:
    """`model` breaks `rule`, once at each of `nodes`, in words that have `says`."""

    rule: str
    model: Callable[[], Any]
    nodes: tuple[str, ...]
    says: str = ""


def _case(rule: str, nodes: str, model: Callable[..., Any], *arguments: Any, says: str = "", **named: Any) -> Case:
    return Case(rule, lambda: model(*arguments, **named), tuple(nodes.split()), says)


BROKEN = {
    "bias int32": _case("int32-bias", "y", conv, bias=int32_bias, says="the bias 'b_i' is int32, scale 0.0001"),
    "bias int32 of a norm": _case("int32-bias", "normal", layer_norm, "int32", says="'o_i' is int32, scale 0.0001"),
    "bias int8": _case("quantized-bias", "y", conv, bias=int8_bias, says="'b_i' is int8, scale 0.008333"),
    "bias pair": _case("quantized-bias", "y", conv, bias=paired_bias, says="the bias 'b' is int8, scale 0.02"),
    "bias added": _case("quantized-bias", "y", matmul, 1, bias=True, says="'b_i'"),
    "shift int8": _case("zero-point", "x_q", conv, {"zero": S8(3)}, says="'x' is int8, scale 0.03, zero point 3"),
    "shift uint8": _case("zero-point", "x_q", conv, {"zero": U8(128)}, says="uint8, scale 0.03, zero point 128"),
    "shift weight": _case("zero-point", "w_dq", conv, shift=2, says="16 zero points 2 .. 2"),
    "uint8": _case("unsigned", "x_q", conv, {"zero": U8(0)}, says="'x' is uint8, scale 0.03, zero point 0"),
    "uint8 unsaid": _case("unsigned", "x_q", conv, {"zero": None}, says="no zero point says otherwise"),
    "int16": _case("quantized-type", "x_q", conv, {"zero": np.int16(0), "scale": 1.1e-4}, says="'x' is int16"),
    "channels": _case(
        "per-channel-activation",
        "x_q",
        conv,
        {"scale": np.linspace(0.028, 0.032, 8), "zero": np.zeros(8, S8), "axis": 1},
        says="8 scales 0.028 .. 0.032",
    ),
    "one channel": _case(
        "per-channel-activation", "x_q", conv, {"scale": [0.03], "zero": np.zeros(1, S8)}, says="of shape [1]"
    ),
    "axis conv": _case("weight-axis", "y", conv, axis=1, says="along axis 1, expected 0"),
    "axis transposed": _case("weight-axis", "y", transposed, 0, says="along axis 0, expected 1"),
    "axis matmul": _case("weight-axis", "y", matmul, 0, says="along axis 0, expected 1"),
    "axis turned": _case("weight-axis", "y", matmul, 1, True, says="along axis 1, expected 0"),
    "axis gemm": _case("weight-axis", "y", gemm, 0, 0, says="along axis 0, expected 1"),
    "axis gemm transB": _case("weight-axis", "y", gemm, 1, 1, says="along axis 1, expected 0"),
    "concat": _case(
        "concat-scales", "c", concat, 0.01, says="'a': int8, scale 0.03, zero point 0, 'b': int8, scale 0.01"
    ),
    "attention q k": _case("attention", "turned scores", attention, "qk", says="MatMul reads 'query' as int8"),
    "attention p": _case("attention", "result", attention, "p", says="reads 'weights' as int8, scale 0.007874"),
    "attention s": _case("attention", "weights", attention, "s", says="Softmax reads 'scores'"),
    "attention qkpvo s": _case("attention", "turned scores weights result result", attention, "qkspvo"),
    "attention qpvo": _case("attention", "scores result result", attention, "qpvo"),
    "attention qkpv": _case("attention", "turned scores result result", attention, "qkpv"),
    "attention node": _case("attention", "y y y", attention_node, True, says="Attention reads 'q'"),
    "int8 attention": _case("int8-attention", "result", attention, "qkpvo", says="q, k, v"),
    "norm x": _case(
        "normalization", "normal", layer_norm, "x", says="LayerNormalization reads 'x' as int8, scale 0.03"
    ),
    "norm gain": _case("normalization", "normal", layer_norm, "g", says="reads 'g'"),
    "norm stored gain": _case("normalization", "normal", layer_norm, "stored", says="reads 'gain_i'"),
    "norm spelled out x": _case("normalization", "mean difference", spelled_out, "x", says="ReduceMean reads 'x'"),
    "norm spelled out inside": _case("normalization", "square quotient", spelled_out, "difference"),
    "softmax": _case("normalization", "y", softmax, True, says="Softmax reads 'x' as int8, scale 0.05"),
    "dynamic": _case("qoperator", "x_q", dynamic, says="DynamicQuantizeLinear computes on integers"),
    "gathered": _case("integer-constant", "taken", gathered, says="Gather reads the stored integers 'table'"),
    "scalar": _case("integer-constant", "c_dq", scaled_by, (), says="reads the scalar 'c'"),
    "residual": _case("residual", "y", residual, False, says="the skip input 'x' has no pair"),
    "float weight": _case("float-weight", "y", float_weight, says="'w' is stored in floating point"),
}
LEGAL: dict[str, Callable[[], Any]] = {
    "conv": lambda: conv(bias=float_bias),
    "conv one scale": lambda: conv(axis=None),
    "transposed": lambda: transposed(1),
    "matmul": lambda: matmul(1),
    "matmul one scale": lambda: matmul(None),
    "matmul turned": lambda: matmul(0, turned=True),
    "gemm": lambda: gemm(1, 0),
    "gemm transB": lambda: gemm(0, 1),
    "blocks of int8": lambda: blocked(T.INT8),
    "blocks of int4": lambda: blocked(T.INT4),
    "concat": lambda: concat(0.03),
    "attention result": lambda: attention("o"),
    "attention node": lambda: attention_node(False),
    "norm result": lambda: layer_norm("y"),
    "spelled out result": lambda: spelled_out("y"),
    "spelled out gate": lambda: spelled_out("gate"),
    "softmax": lambda: softmax(False),
    "stored number": lambda: scaled_by((1,)),
    "residual": lambda: residual(True),
}
