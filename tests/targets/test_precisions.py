"""What is said of precisions, held against TensorRT-RTX itself: it builds, or refuses, without a GPU."""

from __future__ import annotations

import functools
from itertools import product

import pytest

from edgekit.configs import TARGETS
from edgekit.targets import DEVICES, PRECISIONS, device, precision_source, precision_support, target
from edgekit.targets.facts import read_facts

RTX_CAPABILITIES = target("rtx").compute_capabilities
MEASURED = [
    (capability, precision)
    for capability, precision in product(RTX_CAPABILITIES, PRECISIONS)
    if precision_source("tensorrt_rtx", capability, precision).startswith("measured")
]


def test_no_claim_is_made_twice_and_each_is_of_a_known_name():
    triples = [
        (claim["flavour"], capability, precision)
        for claim in read_facts("precisions.toml")["claim"]
        for capability in claim["compute_capabilities"]
        for precision in (*claim.get("takes", ()), *claim.get("refuses", ()))
    ]
    assert len(triples) == len(set(triples))
    assert {flavour for flavour, _, _ in triples} == {target(name).flavour for name in TARGETS} - {"ort"}
    assert {precision for _, _, precision in triples} == set(PRECISIONS)
    assert {capability for flavour, capability, _ in triples if flavour == "tensorrt_rtx"} == set(RTX_CAPABILITIES)
    for name in DEVICES:
        assert ("tensorrt", device(name).compute_capability, "fp16") in triples


@pytest.mark.parametrize(
    ("flavour", "capability", "precision", "expected"),
    [
        ("tensorrt", "8.7", "fp16", True),
        ("tensorrt", "8.7", "bf16", False),  # the one architecture after 8.0 without it, by NVIDIA's matrix
        ("tensorrt", "11.0", "fp8", True),
        ("tensorrt", "11.0", "fp4", None),
        ("tensorrt", "8.9", "fp4", None),
        ("tensorrt", "8.7", "int4", None),
        ("tensorrt_rtx", "7.5", "fp32", False),
        ("tensorrt_rtx", "7.5", "int8", None),
        ("tensorrt_rtx", "8.6", "fp8", False),
        ("tensorrt_rtx", "8.7", "fp16", None),
        ("ort", "8.6", "fp16", None),
        ("tensorrt", "8.6", "fp64", None),
    ],
)
def test_true_false_and_unknown(flavour, capability, precision, expected):
    assert precision_support(flavour, capability, precision) is expected
    assert bool(precision_source(flavour, capability, precision)) == (expected is not None)


@pytest.mark.parametrize(("precision", "first"), [("fp8", (8, 9)), ("fp4", (10, 0))])
@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
def test_fp8_begins_at_89_and_fp4_at_100(flavour, precision, first):
    """NVIDIA, "Working with Quantized Types" of TensorRT-RTX; no other claim says otherwise."""
    for capability in ("7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "11.0", "12.0", "12.1"):
        known = precision_support(flavour, capability, precision)
        assert known in (None, tuple(map(int, capability.split("."))) >= first), capability


def test_five_precisions_are_measured_on_every_architecture_but_int8_on_75():
    assert len(MEASURED) == 6 * len(RTX_CAPABILITIES) - 1


@pytest.mark.parametrize(("capability", "precision"), MEASURED)
def test_tensorrt_rtx_does_what_is_said(capability, precision):
    said = precision_support("tensorrt_rtx", capability, precision)
    assert builds(matmul(precision), capability) is said


def test_on_turing_an_fp32_convolution_builds_where_a_product_does_not():
    assert "an FP32 Conv builds" in precision_source("tensorrt_rtx", "7.5", "fp32")
    assert builds(convolution(), "7.5")


@functools.cache
def matmul(precision: str) -> bytes:
    """y = x W with W of 64 x 64, in a precision: of all, of Q/DQ on both sides, or of the weights alone."""
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    whole = {"fp32": types.FLOAT, "fp16": types.FLOAT16, "bf16": types.BFLOAT16}
    kind = whole.get(precision, types.FLOAT16)
    values = [((7 * index) % 13 - 6) / 16 for index in range(64 * 64)]
    nodes, weights, left = [], [], "x"
    if precision in whole:
        weights.append(helper.make_tensor("w", kind, (64, 64), values))
    else:
        stored = {"int8": types.INT8, "fp8": types.FLOAT8E4M3FN, "int4": types.INT4}[precision]
        by_block = precision == "int4"
        sizes = (1, 64) if by_block else ()
        codes = [int(value * 16) for value in values]
        weights += [helper.make_tensor("q", stored, (64, 64), codes)]
        weights += [helper.make_tensor("s", kind, sizes, [0.0625] * (64 if by_block else 1))]
        weights += [helper.make_tensor("z", stored, sizes, [0] * (64 if by_block else 1))]
        how = {"axis": 0, "block_size": 64} if by_block else {}
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], **how))
        if not by_block:
            nodes.append(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]))
            nodes.append(helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]))
            left = "xd"
    nodes.append(helper.make_node("MatMul", [left, "w"], ["y"]))
    return model(nodes, kind, (4, 64), (4, 64), weights)


def convolution() -> bytes:
    onnx = pytest.importorskip("onnx")
    kind = onnx.TensorProto.FLOAT
    weights = [onnx.helper.make_tensor("w", kind, (8, 8, 1, 1), [0.125] * 64)]
    return model([onnx.helper.make_node("Conv", ["x", "w"], ["y"])], kind, (1, 8, 9, 9), (1, 8, 9, 9), weights)


def model(nodes, kind, in_shape, out_shape, weights) -> bytes:
    helper = pytest.importorskip("onnx").helper
    given, made = (helper.make_tensor_value_info(*item) for item in (("x", kind, in_shape), ("y", kind, out_shape)))
    graph = helper.make_graph(nodes, "one", [given], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def builds(onnx_model: bytes, capability: str) -> bool:
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(onnx_model), parser.get_error(0).desc()
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    assert config.set_compute_capability(getattr(trt.ComputeCapability, "SM" + capability.replace(".", "")), 0)
    return builder.build_serialized_network(network, config) is not None
