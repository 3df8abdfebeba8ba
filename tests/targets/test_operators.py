"""What is known of TensorRT's ONNX importers: documented, added later, lacking, or unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.configs import TARGETS
from edgekit.targets import imported, restriction, target
from edgekit.targets.facts import read_facts

FACTS = read_facts("operators.toml")
# Operators that left ONNX before opset 9 or never were in it, which onnx-tensorrt still lists.
NOT_IN_ONNX = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}


def named() -> set[str]:
    lists = [
        item.get(key, ()) for item in (*FACTS["documented"], *FACTS["added"]) for key in ("imported", "not_imported")
    ]
    return {op_type for items in lists for op_type in items}


def of_version(version: str):
    return replace(target("jetpack6"), tensorrt=version)


def test_every_name_is_an_operator_of_onnx():
    onnx = pytest.importorskip("onnx")
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    extra = named() - known
    assert extra - NOT_IN_ONNX <= {"ImageDecoder", "Swish"}, "not in this onnx"
    assert {op for item in FACTS["restriction"] for op in item["operators"]} <= named()


def test_the_lists_are_whole_and_apart():
    old, new = FACTS["documented"]
    assert (old["tensorrt"], new["tensorrt"]) == ("10.1", "10.15")
    assert (len(old["imported"]), len(old["not_imported"])) == (149, 46), (
        "as many rows as docs/operators.md of 10.1 has"
    )
    assert not set(old["imported"]) & set(old["not_imported"])
    came = {op for item in FACTS["added"] for op in item["imported"]}
    assert set(old["not_imported"]) - set(new["not_imported"]) <= came
    assert not set(new["not_imported"]) & set(old["imported"]), "an importer lost an operator"


@pytest.mark.parametrize(
    ("op_type", "answers"),
    [
        #                    10.1   10.3   10.4   10.13  10.14  10.15  11.2   11.4
        ("Conv",            (True,  True,  True,  True,  True,  True,  True,  True)),
        ("Unique",          (False, False, False, False, False, False, None,  None)),
        ("HannWindow",      (False, False, True,  True,  True,  True,  True,  True)),
        ("Attention",       (False, False, False, False, True,  True,  True,  True)),
        ("TensorScatter",   (False, False, False, False, False, True,  True,  True)),
        ("DFT",             (False, False, False, False, False, False, True,  True)),
        ("Swish",           (False, False, False, False, False, False, True,  True)),
        ("DeformConv",      (None,  None,  None,  None,  None,  True,  True,  True)),
        ("EdgekitLSTM",     (None,) * 8),
        ("",                (None,) * 8),
    ],
)  # fmt: skip
def test_each_version_has_what_came_before_it(op_type, answers):
    versions = ("10.1", "10.3", "10.4", "10.13", "10.14", "10.15", "11.2", "11.4")
    assert tuple(imported(op_type, of_version(version)) for version in versions) == answers


def test_the_targets_agree_on_attention():
    for name in TARGETS:
        if target(name).tensorrt:
            assert imported("Attention", target(name)) is target(name).imports_attention


def test_a_desktop_of_unknown_version_has_what_the_oldest_has():
    assert imported("Conv", target("desktop")) is True
    assert imported("Attention", target("desktop")) is None
    assert imported("Unique", target("desktop")) is None


def test_the_parser_of_rtx_and_onnxruntime_are_not_judged_here():
    for op_type in ("Conv", "Unique", "Attention"):
        assert imported(op_type, target("rtx")) is None
        assert imported(op_type, target("cpu")) is None


def test_a_restriction_holds_for_the_versions_that_it_is_for():
    assert restriction("Pad", of_version("10.1")) == "axes must be an initializer"
    assert restriction("Pad", of_version("10.4")) == restriction("Pad", target("jetpack7.0")) == ""
    assert "ellipsis" in restriction("Einsum", target("jetpack6"))
    assert restriction("Einsum", of_version("10.12")) == ""
    assert restriction("DeformConv", target("jetpack6")) == ""
    assert "2-D" in restriction("DeformConv", target("jetpack7.2"))
    assert restriction("GridSample", target("jetpack6")) == "4-D input; FP32 or FP16, not BF16"
    assert restriction("GridSample", of_version("11.2")) == "FP32 or FP16, not BF16"
    assert restriction("Relu", target("jetpack6")) == ""


def test_restrictions_are_told_to_the_flavour_that_has_them():
    assert "input_forget must be 0" in restriction("LSTM", target("jetpack6"))
    assert restriction("LSTM", target("rtx")) == "no sequence_lens in FP16"
    assert "decomposable" in restriction("Attention", target("rtx"))
    assert "4-D" in restriction("Attention", target("jetpack7.2"))
    assert restriction("LSTM", target("cpu")) == ""


def test_an_unknown_version_gets_all_with_their_versions():
    assert restriction("Pad", target("desktop")) == "before 10.4: axes must be an initializer"
    assert restriction("DeformConv", target("desktop")).startswith("from 10.15: ")
    assert restriction("Loop", target("desktop")) == restriction("Loop", target("jetpack6"))


def test_rtx_refuses_what_is_said_of_recurrent_nodes():
    """The parser itself: an LSTM in FP16 with lengths is refused, in FP32 it is imported."""
    trt = pytest.importorskip("tensorrt_rtx")
    onnx = pytest.importorskip("onnx")
    helper, types = onnx.helper, onnx.TensorProto
    for kind, expected in ((types.FLOAT16, False), (types.FLOAT, True)):
        weights = [helper.make_tensor(name, kind, (1, 16, 4), [0.0] * 64) for name in ("w", "r")]
        node = helper.make_node("LSTM", ["x", "w", "r", "", "n"], ["y"], hidden_size=4)
        given = [
            helper.make_tensor_value_info("x", kind, (5, 2, 4)),
            helper.make_tensor_value_info("n", types.INT32, (2,)),
        ]
        graph = helper.make_graph(
            [node], "one", given, [helper.make_tensor_value_info("y", kind, (5, 1, 2, 4))], weights
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
        builder = trt.Builder(logger)  # each has to outlive what is made of it
        network = builder.create_network(0)
        parser = trt.OnnxParser(network, logger)
        assert parser.parse(made.SerializeToString()) is expected
