"""Verdicts node by node: attention with and without an importer, operators, precisions, pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper  # noqa: E402

from edgekit.check import check, lines, write_check_page  # noqa: E402
from edgekit.check.verdict import OUTCOMES, node_rules  # noqa: E402
from edgekit.configs import CheckConfig, ExportConfig  # noqa: E402
from edgekit.errors import OutputError, UsageError  # noqa: E402
from tests.build.test_attention import model as attention  # noqa: E402
from tests.build.test_attention import shapes_of  # noqa: E402
from tests.check.recurrent_models import in_model  # noqa: E402
from tests.quantize import qdq_cases as cases  # noqa: E402


def chain(*operators: tuple[str, str], kind: int = T.FLOAT) -> onnx.ModelProto:
    """x [batch,4] through nodes of (domain, operator), one after the other; each is named after its operator."""
    names = ["x", *(f"v{at}" for at in range(len(operators) - 1)), "y"]
    nodes = [
        helper.make_node(op, [names[at]], [names[at + 1]], op.lower(), domain=domain)
        for at, (domain, op) in enumerate(operators)
    ]
    x, y = (helper.make_tensor_value_info(name, kind, ["batch", 4]) for name in "xy")
    made = in_model(nodes, [x], [y], {})
    made.opset_import.append(helper.make_opsetid("house", 1))
    return made


def checked(folder: Path, model: onnx.ModelProto, config: CheckConfig):
    onnx.save(model, folder / "m.onnx")
    return check(folder / "m.onnx", config)


def test_attention_with_a_cache_where_there_is_no_importer(tmp_path):
    proto = attention(past=True)
    report = checked(tmp_path, proto, CheckConfig("jetpack7.0", device="agx-thor", shape=shapes_of(proto)))
    (node,) = report.nodes
    native = "TensorRT 10.13 has no importer for Attention: it is taken apart; its cache is copied every step"
    assert (node.outcome, node.precision, report.exit_code) == ("plugin", "fp16", 0)
    assert node.reason.startswith("EdgekitAttention covers it, with its cache; the device needs")
    assert node.reason.endswith(f"without it: {native}")
    without = CheckConfig("jetpack7.0", device="agx-thor", shape=shapes_of(proto), plugins="off")
    (node,) = checked(tmp_path, proto, without).nodes
    assert (node.outcome, node.precision, node.reason) == ("decomposed", "fp16", native)
    assert "EdgekitAttention" in node.remedy


def test_attention_with_a_cache_where_there_is_one(tmp_path):
    proto = attention(past=True)
    (node,) = checked(tmp_path, proto, CheckConfig("jetpack7.2", shape=shapes_of(proto))).nodes
    assert node.reason.startswith("a cache inside the node has no importer: it is taken apart")
    plain = attention()
    (node,) = checked(tmp_path, plain, CheckConfig("jetpack7.2", shape=shapes_of(plain))).nodes
    assert (node.outcome, node.reason) == ("parses", "")


@pytest.mark.parametrize("counts", ["", "q_num_heads", "kv_num_heads", "q_num_heads=0 kv_num_heads", "kv_num_heads=0"])
def test_attention_that_does_not_tell_its_heads_is_taken_apart_and_nothing_more_is_claimed(tmp_path, counts):
    proto = attention(three_axes=True, past=True)
    config = CheckConfig("jetpack7.0", device="agx-thor", shape=shapes_of(proto))
    (node,) = checked(tmp_path, proto, config).nodes
    assert node.outcome == "plugin"
    del proto.graph.node[0].attribute[:]
    for count in counts.split():
        name, _, value = count.partition("=")
        proto.graph.node[0].attribute.append(helper.make_attribute(name, int(value or 4)))
    (node,) = checked(tmp_path, proto, config).nodes
    assert (node.op, node.outcome) == ("Attention", "decomposed")


def test_what_is_not_imported_is_refused_with_a_remedy(tmp_path):
    report = checked(tmp_path, chain(("", "Relu"), ("house", "Unheard"), ("", "Abs")), CheckConfig("jetpack6"))
    assert [(node.node, node.outcome) for node in report.nodes] == [
        ("relu", "parses"),
        ("unheard", "refused"),
        ("abs", "parses"),
    ]
    assert report.nodes[1].reason == "TensorRT imports no operators of house"
    assert (report.exit_code, report.outcomes) == (6, {"parses": 2, "refused": 1})


def test_a_precision_that_the_device_lacks(tmp_path):
    weight = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    bf16 = helper.make_tensor("w", T.BFLOAT16, [4, 4], np.ones(16))
    for dtype, stored, refused in ((T.FLOAT, weight, False), (T.BFLOAT16, bf16, True)):
        x, y = (helper.make_tensor_value_info(name, dtype, [1, 4]) for name in "xy")
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], "g", [x], [y], [stored])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        report = checked(tmp_path, model, CheckConfig("desktop", compute_capability=(), device=None))
        assert report.exit_code == 0, "no device was named: some desktop GPU has it"
        if refused:
            pytest.importorskip("tensorrt_rtx")
            report = checked(tmp_path, model, CheckConfig("rtx", compute_capability=("7.5",)))
            assert report.exit_code == 6


def test_a_requirement_that_is_not_met_is_a_refusal_with_its_nodes(tmp_path, small_onnx):
    config = CheckConfig("jetpack6", require_precision=("fp16=0.9",))
    report = check(small_onnx, config)
    assert report.exit_code == 6
    assert "not so conv (fp32, 99.7%)" in report.findings[0].text
    assert check(small_onnx, CheckConfig("jetpack6", require_precision=("fp32=0.9",))).exit_code == 0
    with pytest.raises(UsageError):
        check(small_onnx, CheckConfig("jetpack6", require_precision=("half",)))


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="the model is built to see")


@pytest.mark.usefixtures("rtx")
def test_what_was_built_is_told_by_its_layers(small_onnx):
    report = check(small_onnx, CheckConfig("rtx", compute_capability=("8.6",)))
    by_name = {node.node: node for node in report.nodes}
    assert by_name["conv"].layer
    assert by_name["relu"].outcome == "fuses", "the convolution or its copy takes it along"
    assert by_name["dense"].precision == "fp32"
    assert report.shares == {"fp32": 1.0}


@pytest.mark.usefixtures("rtx")
def test_all_refused_nodes_are_named_not_only_the_first(tmp_path):
    model = chain(("", "Relu"), ("house", "Unheard"), ("", "Abs"), ("", "Bernoulli"))
    report = checked(tmp_path, model, CheckConfig("rtx"))
    outcomes = {node.node: node.outcome for node in report.nodes}
    assert outcomes == {"relu": "parses", "unheard": "refused", "abs": "parses", "bernoulli": "refused"}
    assert report.exit_code == 6


@pytest.mark.usefixtures("rtx")
def test_bert_in_half_precision_fuses_its_attention(tmp_path):
    proto = attention()
    report = checked(tmp_path, proto, CheckConfig("rtx", compute_capability=("8.6",), shape=shapes_of(proto)))
    assert report.attention == "1 of 1 attention blocks are one fused kernel"


def test_lines_put_equal_nodes_together_and_the_worst_last(tmp_path):
    report = checked(tmp_path, chain(*[("", "Relu")] * 5, ("house", "Unheard")), CheckConfig("jetpack6"))
    said = lines(report)
    assert said[0] == "parses     Relu x 5 in fp32: relu, relu_1, relu_2, …"
    assert said[1].startswith(
        "refused    house::Unheard in fp32: unheard; TensorRT imports no operators of house; remedy:"
    )
    assert said[-1] == "refused: 0 errors and 0 notes for target jetpack6"


def test_the_page_has_every_node_and_escapes_its_name(tmp_path):
    model = chain(("", "Relu"), ("house", "Unheard"))
    model.graph.node[0].name = "<script>alert(1)</script>"
    report = checked(tmp_path, model, CheckConfig("jetpack6"))
    write_check_page(report, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert text.index("Unheard") < text.index("alert(1)"), "the worst come first"
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_every_rule_has_a_source_and_every_outcome_a_place():
    assert all(rule.source for rule in node_rules().values())
    assert OUTCOMES[-1] == "refused"


def test_quantized_products_count_as_such_before_there_is_an_engine(tmp_path):
    report = checked(tmp_path, cases.conv(), CheckConfig("jetpack6"))
    assert report.shares == {"int8": 1.0}


@pytest.mark.usefixtures("rtx")
def test_the_tensorrt_that_is_here_is_a_witness_for_one_that_is_not(tmp_path, small_onnx):
    report = check(small_onnx, CheckConfig("jetpack6"))
    assert "TensorRT-RTX on this machine builds it" in report.notes
    case = a_pool_with_dilation()
    refused = checked(tmp_path, case, CheckConfig("jetpack6"))
    assert refused.exit_code == 0, "a hint is no verdict"
    assert any(line.startswith("TensorRT-RTX on this machine refuses it, and another") for line in refused.notes)


def a_pool_with_dilation() -> onnx.ModelProto:
    """A pool with dilation, of which operators.md says only that there is none."""
    x = helper.make_tensor_value_info("x", T.FLOAT, [1, 3, 16, 16])
    y = helper.make_tensor_value_info("y", T.FLOAT, [1, 3, 12, 12])
    pool = helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[3, 3], dilations=[2, 2])
    return in_model([pool], [x], [y], {})


def test_a_page_does_not_replace_the_model(tmp_path, small_onnx):
    onnx.save(onnx.load(small_onnx), tmp_path / "m.onnx")
    report = check(tmp_path / "m.onnx", CheckConfig("jetpack6"))
    with pytest.raises(OutputError, match="expected OUT to be another file"):
        write_check_page(report, tmp_path / "m.onnx")
    onnx.load(tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("opset", [20, 23])
def test_a_gpt_with_a_cache_on_a_thor(tmp_path, opset):
    """As torch's exporter writes it: Attention nodes, or products; in front of either the cache is joined by Concat."""
    pytest.importorskip("torch")
    from edgekit.export import export

    export("gpt2_cached", tmp_path / "gpt.onnx", ExportConfig(set=("layers=2",), opset=opset))
    report = check(tmp_path / "gpt.onnx", CheckConfig("jetpack7.0", device="agx-thor"))
    attention = [node for node in report.nodes if node.op == ("Attention" if opset == 23 else "Softmax")]
    assert [node.outcome for node in attention] == ["plugin", "plugin"]
    assert all("EdgekitAttention covers it, with its cache" in node.reason for node in attention)
    assert all(("taken apart" in node.reason) == (opset == 23) for node in attention)
