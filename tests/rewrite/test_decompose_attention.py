"""Attention decomposed: the ONNX package's stored outputs are the oracle, and torch's own attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx import TensorProto  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.errors import ModelError  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.attention_node import attention_nodes  # noqa: E402
from edgekit.rewrite.decompose_attention import decompose_attention  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402


def attention_cases() -> list[str]:
    cases = stored_cases().items()
    return sorted(name for name, case in cases if any(node.op_type == "Attention" for node in case.model.graph.node))


def always(_: object) -> bool:
    return True


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """By onnxruntime as it judges, or by ONNX's own reference where that has no kernel for a type or an opset."""
    try:
        session = plain_session(model.SerializeToString())
    except Exception as error:
        if not any(reason in str(error) for reason in ("NOT_IMPLEMENTED", "only *guarantees* support")):
            raise
        with np.errstate(all="ignore"):
            return ReferenceEvaluator(model).run(None, feeds)
    return session.run(None, feeds)


def test_there_are_cases():
    assert len(attention_cases()) >= 60


@pytest.mark.parametrize("name", attention_cases())
def test_a_stored_case(name):
    """Every case of the ONNX package: no Attention is left, and the outputs are those that are stored."""
    case = stored_cases()[name]
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    model.ir_version = 10
    made = decompose_attention(model, always)
    assert made.modified
    assert not any(node.op_type == "Attention" for node in made.model.graph.node)
    onnx.checker.check_model(made.model)
    assert [value.name for value in made.model.graph.output] == [value.name for value in case.model.graph.output]
    for inputs, outputs in case.data_sets:
        feeds = {value.name: array for value, array in zip(made.model.graph.input, inputs, strict=True)}
        for want, got in zip(outputs, run(made.model, feeds), strict=True):
            half = want.dtype == np.float16
            np.testing.assert_allclose(got, want, rtol=2e-3 if half else 1e-4, atol=2e-3 if half else 1e-5)


def attention(shapes: dict[str, list], names: list[str], outputs: list[str], **form: Any) -> onnx.ModelProto:
    """One Attention node, between an Identity before and behind it."""
    inputs = [
        onnx.helper.make_tensor_value_info(name, TensorProto.BOOL if name == "mask" else TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    nodes = [
        onnx.helper.make_node("Identity", ["q"], ["query"]),
        onnx.helper.make_node("Attention", ["query", *names[1:]], ["made", *outputs[1:]], "block.attention", **form),
        onnx.helper.make_node("Identity", ["made"], [outputs[0]]),
    ]
    made = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs if name]
    graph = onnx.helper.make_graph(nodes, "g", inputs, made)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    mask_axes=st.sampled_from([0, 2, 3, 4]),
    causal=st.booleans(),
    scale=st.sampled_from([None, 0.25, 1.0]),
    seed=st.integers(0, 999),
)
def test_it_is_torchs_attention(groups, per_group, sizes, mask_axes, causal, scale, seed):
    """Any number of heads, lengths that the model does not know, and rows that may see nothing."""
    torch = pytest.importorskip("torch")
    batch, rows, keys, size = sizes
    heads, random = groups * per_group, np.random.default_rng(seed)
    feeds = {
        "q": random.normal(size=(batch, heads, rows, size)).astype(np.float32),
        "k": random.normal(size=(batch, groups, keys, size)).astype(np.float32),
        "v": random.normal(size=(batch, groups, keys, size)).astype(np.float32),
    }
    shapes = {"q": ["n", heads, "t", size], "k": ["n", groups, "s", size], "v": ["n", groups, "s", size]}
    mask = np.ones((rows, keys), bool)
    if mask_axes:
        mask = random.random((batch, heads, rows, keys)[4 - mask_axes :]) > 0.4
        if mask_axes == 3:
            mask = mask[:1]
        feeds["mask"], shapes["mask"] = mask, [None, None, "t", "s"][4 - mask_axes :]
    attributes = {"is_causal": int(causal)} | ({} if scale is None else {"scale": scale})
    model = attention(shapes, ["q", "k", "v", "mask"][: len(feeds)], ["y"], **attributes)
    made = decompose_attention(model, always).model
    ops = [node.op_type for node in made.graph.node]
    assert "Attention" not in ops
    assert ops.index("MatMul") < ops.index("Softmax")
    allowed = torch.from_numpy(mask) & torch.ones(rows, keys).tril().bool() if causal else torch.from_numpy(mask)
    tensors = [torch.from_numpy(feeds[name]).double() for name in "qkv"]
    wanted = torch.nn.functional.scaled_dot_product_attention(*tensors, allowed, scale=scale, enable_gqa=True)
    np.testing.assert_allclose(run(made, feeds)[0], wanted.numpy(), atol=2e-6)


def test_only_the_chosen_are_decomposed_and_then_nothing_is_left_to_do():
    model = attention({name: ["n", 2, "t", 4] for name in "qkv"}, ["q", "k", "v"], ["y"])
    second = onnx.helper.make_node("Attention", ["y", "k", "v"], ["z"], "second")
    model.graph.node.append(second)
    model.graph.output[0].name = "z"
    made = decompose_attention(model, lambda item: item.node.name == "second")
    assert made.modified
    assert [item.node.name for item in attention_nodes(made.model)] == ["block.attention"]
    assert all(node.name.startswith("second_") for node in made.model.graph.node[3:])
    again = decompose_attention(made.model, lambda item: item.node.name == "second")
    assert (again.modified, again.model is made.model) == (False, True)
    feeds = {name: np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32) for name in "qkv"}
    mixed = run(made.model, feeds)
    np.testing.assert_allclose(run(decompose_attention(made.model, always).model, feeds)[0], mixed[0], atol=1e-6)


def test_present_keys_are_the_past_ones_and_the_new_ones():
    shapes = {name: ["n", 2, "t", 4] for name in "qkv"} | {name: ["n", 2, "p", 4] for name in ("pk", "pv")}
    model = attention(shapes, ["q", "k", "v", "", "pk", "pv"], ["y", "keys", "values"])
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=(2, 2, 5 if "p" in name else 3, 4)).astype(np.float32) for name in shapes}
    original = ReferenceEvaluator(model).run(None, feeds)
    for want, got in zip(original, run(decompose_attention(model, always).model, feeds), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_array_equal(original[1][:, :, :5], feeds["pk"])


def test_a_form_without_a_definition_is_refused():
    model = attention({name: ["n", 2, "t", 4] for name in "qkv"}, ["q", "k", "v"], ["y"], softcap=3.0)
    model.graph.input[0].type.tensor_type.ClearField("elem_type")
    with pytest.raises(ModelError, match=r"expected ONNX to define Attention node 'block.attention' of opset 23"):
        decompose_attention(model, always)


def test_sizes_behind_weights_and_a_reshape_are_known():
    """q, k and v as a layer makes them: a product with a large weight, and a Reshape whose shape is a constant."""
    model = attention({name: ["n", "t", 2, 16] for name in "qkv"}, ["q", "k", "v"], ["y"])
    del model.graph.node[:], model.graph.input[:]
    model.graph.input.append(onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "t", 32]))
    weight, shape = np.ones((32, 32), np.float32), np.array([0, 0, 2, 16])
    for name, value in (("w", weight), ("shape", shape)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    model.graph.node.extend(
        [
            onnx.helper.make_node("MatMul", ["x", "w"], ["wide"]),
            onnx.helper.make_node("Reshape", ["wide", "shape"], ["parted"]),
            onnx.helper.make_node("Transpose", ["parted"], ["heads"], perm=[0, 2, 1, 3]),
            onnx.helper.make_node("Attention", ["heads"] * 3, ["y"], "attention"),
        ]
    )
    (found,) = attention_nodes(model)
    assert (found.axes, found.heads, found.head_size, found.dtype) == (4, 2, 16, TensorProto.FLOAT)
    assert found.is_plain
