"""Operators of other domains: which are refused, which are left to the parser, and what a refusal says."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")

from edgekit.errors import BuildError  # noqa: E402
from edgekit.rewrite.domains import check_domains  # noqa: E402
from edgekit.rewrite.doubles import note_doubles  # noqa: E402
from edgekit.rewrite.remedies import blamed, remedy, remedy_for  # noqa: E402
from tests.build import foreign_graphs as graphs  # noqa: E402
from tests.build.foreign_graphs import branch, model, node  # noqa: E402
from tests.rewrite.microsoft_graphs import REFUSED, ROWS, graph  # noqa: E402


@pytest.mark.parametrize("name", REFUSED)
def test_onnxruntimes_own_are_named(name):
    with pytest.raises(BuildError, match=r"onnxruntime's own at node 'culprit' \(com\.microsoft") as error:
        check_domains(REFUSED[name])
    assert "onnxruntime's graph optimizations" in error.value.next_step


def test_attention_has_a_remedy_of_its_own():
    with pytest.raises(BuildError, match="opset 23, which has Attention"):
        check_domains(REFUSED["Attention"])


def test_one_inside_a_branch_is_named_too():
    branches = {
        f"{which}_branch": branch(which, [node("Inverse", ["x"], [which], f"in_{which}", domain="com.microsoft")])
        for which in ("then", "else")
    }
    with pytest.raises(BuildError, match=r"node 'in_(then|else)'"):
        check_domains(model([node("If", ["x"], ["y"], "choose", **branches)]))


def test_a_plugins_operator_is_left_to_the_parser():
    done = check_domains(model([node("EkLstm", ["x"], ["y"], "mine", domain="edgekit")]))
    assert (done.modified, done.notes) == (False, ())


def test_another_operator_of_an_onnx_name_is_refused():
    with pytest.raises(BuildError, match=r"node 'mine' \(house::Relu\), which TensorRT would take for ONNX's"):
        check_domains(model([node("Relu", ["x"], ["y"], "mine", domain="house")]))


def test_tensorrt_does_take_it_for_onnxs():
    """Why: a product of a house's own, Relu, comes out of its parser as ONNX's Relu, without a word."""
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    made = model([node("Relu", ["x"], ["y"], "mine", domain="house")])
    assert trt.OnnxParser(network, logger).parse(made.SerializeToString())
    assert network.get_layer(0).type == trt.LayerType.ACTIVATION


def test_what_tensorrt_imports_by_itself_is_noted():
    heads = {"q": ROWS, "k": ROWS, "v": ROWS}
    made = graph("MultiHeadAttention", {}, heads, num_heads=2)
    assert check_domains(made).notes == (
        "1 MultiHeadAttention of onnxruntime's domain: imported as TensorRT reads them, not compared here",
    )


def test_doubles_are_noted_and_singles_are_not():
    done = note_doubles(graphs.double_inside())
    assert not done.modified
    assert done.notes[0].startswith("1 weights and 1 casts or constants of float64, such as 'w'")
    assert note_doubles(graphs.uint8_weights()).notes == ()


def test_a_remedy_is_never_empty_and_some_are_their_own():
    everything = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert all(remedy_for(name) for name in everything)
    assert "model.eval()" in remedy_for("Dropout")
    assert "Loop over a tensor" in remedy_for("SequenceAt")
    assert "--relegalize" in remedy(node("QLinearConv", [], []))
    assert "sequence_lens" in remedy_for("GRU")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Assertion failed. nms_0 has no runners that implement it", "nms"),
        ("block.nms_0 has no runners", "block.nms"),
        ("nmsx has no runners", None),
        ("Attention operation was not supported", None),
    ],
)
def test_the_node_that_a_message_names(said, name):
    made = model([node("Relu", ["x"], ["a"], "nms"), node("Neg", ["a"], ["y"], "block.nms")])
    found = blamed(made, said)
    assert (found.name if found else None) == name
