"""One tiny graph for each operator of onnxruntime's own domains: what its optimizers leave in a file.

N is the batch, T rows, C and H widths. `DECOMPOSED` are those that `edgekit.rewrite.microsoft` writes in ONNX's own
operators, `REFUSED` those that it names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

helper, F = onnx.helper, onnx.TensorProto.FLOAT
node = helper.make_node
ROWS = ("N", 5, 8)
HALF = np.float32(0.5)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def graph(
    op: str,
    weights: dict[str, Any] | None = None,
    shapes: dict[str, Any] | None = None,
    outputs: tuple[str, ...] = ("y",),
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """A Neg before the node, so that what it reads is no input of the graph, and one behind it. Names in order."""
    shapes, weights = shapes or {"x": ROWS}, weights or {}
    attributes = {name: given for name, given in attributes.items() if given != []}
    domain = attributes.pop("domain", "com.microsoft")
    order = attributes.pop("order", [*shapes, *weights])
    inputs = [f"a_{name}" if name in shapes else name for name in order]
    nodes = [node("Neg", [name], [f"a_{name}"], f"before_{name}") for name in shapes]
    nodes.append(
        node(op, inputs, [f"m_{name}" if name else "" for name in outputs], "culprit", domain=domain, **attributes)
    )
    nodes += [node("Neg", [f"m_{name}"], [name], f"behind_{name}") for name in outputs if name]
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, F, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, F, [None] * len(next(iter(shapes.values())))) for name in outputs if name],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return onnx.shape_inference.infer_shapes(helper.make_model(made, opset_imports=opsets, ir_version=8))


WIDE = {"gamma": normal(8), "beta": normal(8)}
TWO = {"x": ROWS, "skip": ROWS}
PICTURE = {"x": ("N", 3, 6, 6)}
KERNEL = {"k": normal(4, 3, 3, 3), "b": normal(4)}
CONV = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
GEMM = {"w": normal(8, 6), "c": normal(6)}
FLAT = {"x": ("N", 8)}
ACTIVATIONS = {
    "Relu": [],
    "Tanh": [],
    "Sigmoid": [],
    "LeakyRelu": [0.2],
    "Clip": [-0.5, 0.5],
    "HardSigmoid": [0.3, 0.4],
}


def _gelus() -> dict[str, onnx.ModelProto]:
    return {f"{op}-{opset}": graph(op, opset=opset) for op in ("Gelu", "FastGelu", "QuickGelu") for opset in (12, 20)}


def _products() -> dict[str, onnx.ModelProto]:
    both = {"x": ("N", 5, 8), "z": ("N", 6, 5)}
    return {
        "FusedMatMul": graph("FusedMatMul", {"w": normal(8, 6)}, alpha=0.25),
        "FusedMatMul-weight-turned": graph("FusedMatMul", {"w": normal(6, 8)}, transB=1),
        "FusedMatMul-both-turned": graph("FusedMatMul", {}, both, transA=1, transB=1, alpha=2.0),
        "TransposeMatMul": graph("TransposeMatMul", {}, {"x": ("N", 5, 8), "z": ("N", 6, 8)}, transB=1),
    }


def _activated() -> dict[str, onnx.ModelProto]:
    made = {}
    for name, values in ACTIVATIONS.items():
        made[f"FusedConv-{name}"] = graph(
            "FusedConv", KERNEL, PICTURE, activation=name, activation_params=values, **CONV
        )
        if name != "Clip":
            parameters = dict(zip(("activation_alpha", "activation_beta"), values, strict=False))
            made[f"FusedGemm-{name}"] = graph("FusedGemm", GEMM, FLAT, activation=name, alpha=0.5, **parameters)
    summed = {**PICTURE, "z": ("N", 4, 6, 6)}
    made["FusedConv-sum"] = graph("FusedConv", KERNEL, summed, order=["x", "k", "b", "z"], activation="Relu", **CONV)
    bounds = {"activation": "Clip", "activation_params": [-0.5, 0.5]}
    made["FusedConv-Clip-10"] = graph("FusedConv", KERNEL, PICTURE, opset=10, **bounds, **CONV)
    return made


def _norms() -> dict[str, onnx.ModelProto]:
    op, simple, epsilon = "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", {"epsilon": 1e-5}
    made = {f"{op}-{opset}": graph(op, WIDE, TWO, opset=opset, **epsilon) for opset in (12, 17, 20)}
    with_bias = {"gamma": normal(8), "bias": normal(8)}
    four = ("y", "", "", "sum")
    made |= {f"{simple}-{opset}": graph(simple, with_bias, TWO, four, opset=opset, **epsilon) for opset in (12, 18, 23)}
    made[f"{op}-bias-sum"] = graph(op, {**WIDE, "bias": normal(8)}, TWO, four, epsilon=1e-3)
    made[f"{op}-sum"] = graph(op, WIDE, TWO, four)
    made[f"{op}-no-beta"] = graph(op, {"gamma": normal(8)}, TWO)
    return made


DECOMPOSED = {
    **_gelus(),
    "QuickGelu-alpha": graph("QuickGelu", alpha=0.7),
    "BiasGelu": graph("BiasGelu", {"b": normal(8)}),
    "FastGelu-bias": graph("FastGelu", {"b": normal(8)}),
    **_products(),
    **_activated(),
    **_norms(),
}

REFUSED = {
    "Attention": graph("Attention", {"w": normal(8, 24), "b": normal(24)}, num_heads=2),
    "FusedConv-unknown": graph("FusedConv", KERNEL, PICTURE, activation="Swish", **CONV),
    "FusedMatMul-batch": graph("FusedMatMul", {}, {"x": ("N", 5, 8), "z": ("N", 8, 5)}, transBatchA=1),
    "SkipLayerNormalization-mean": graph("SkipLayerNormalization", WIDE, TWO, ("mean", "y")),
    "Conv-nchwc": graph("Conv", {"k": normal(8, 8, 1, 1)}, {"x": ("N", 8, 6, 6)}, domain="com.microsoft.nchwc"),
    "RotaryEmbedding": graph("RotaryEmbedding", {}, {"x": ROWS, "p": ("N", 5), "c": (9, 4), "s": (9, 4)}),
}
