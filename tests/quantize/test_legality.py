"""Which rules of TensorRT's a model with Q/DQ breaks: by hand-made models, and against TensorRT-RTX itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

onnx = pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.configs import BuildConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.quantize.legal import breaches, is_quantized, rules  # noqa: E402
from edgekit.quantize.legal.graph import DQ, QdqGraph  # noqa: E402
from tests.quantize.qdq_cases import BROKEN, LEGAL, Maker, attention, conv, qlinear_conv, qlinear_rest  # noqa: E402


@pytest.mark.parametrize("name", BROKEN)
def test_a_breach_is_found_where_it_is_and_nowhere_else(name):
    case = BROKEN[name]
    onnx.checker.check_model(case.model(), full_check=True)
    found = breaches(case.model())
    assert [(item.rule.id, item.node) for item in found] == [(case.rule, node) for node in case.nodes]
    assert any(case.says in item.message for item in found), [item.message for item in found]


@pytest.mark.parametrize("name", LEGAL)
def test_its_legal_twin_breaks_nothing(name):
    onnx.checker.check_model(LEGAL[name](), full_check=True)
    assert breaches(LEGAL[name]()) == []
    assert is_quantized(LEGAL[name]()) == (name not in ("attention node", "softmax"))


def test_every_rule_is_broken_by_a_case_and_says_who_says_so():
    assert {case.rule for case in BROKEN.values()} == set(rules())
    assert {rule.severity for rule in rules().values()} == {"error", "note"}
    for rule in rules().values():
        assert rule.remedy
        assert "TensorRT-RTX 1.7.1" in rule.measured
        assert rule.source


def test_operators_on_integers_are_named_one_by_one():
    found = [(item.rule.id, item.node) for item in breaches(qlinear_rest())]
    assert [node for rule, node in found if rule == "qoperator"] == ["m_q", "a_q", "s_q", "c_q", "g_q"]
    assert ("qoperator", "y_q") in [(item.rule.id, item.node) for item in breaches(qlinear_conv())]


def test_quick_gelu_is_no_operator_on_integers():
    """Its name begins as theirs do."""
    make = Maker()
    make.add("QuickGelu", [make.pair("x")], domain="com.microsoft")
    assert breaches(make.model([2], [2])) == []


def test_a_float_model_has_nothing_to_say(small_onnx):
    assert breaches(onnx.load(small_onnx)) == []


def test_what_edgekit_writes_breaks_no_rule(small_onnx, small_data, tmp_path):
    for precision in ("int8", "int8+fp16"):
        made = quantize(small_onnx, tmp_path / precision, QuantizeConfig(precision, data=str(small_data)))
        assert not [item for item in breaches(onnx.load(made.path)) if item.is_error]


def test_a_concat_inside_attention_is_told_once():
    """As behind a cache: both of its pairs are misplaced, whatever their scales."""
    make = Maker()
    weights = make.add("Softmax", [make.add("MatMul", ["q", "k"], "scores")], "weights", axis=-1)
    old, new = make.pair(make.add("Identity", ["v"], "old"), 0.03), make.pair(make.add("Neg", ["v"], "new"), 0.05)
    make.add("MatMul", [weights, make.add("Concat", [old, new], "values", axis=3)])
    shape = ["batch", 4, 64, 64]
    found = breaches(make.model(shape, [*shape[:3], 128], "qkv"))
    assert [(item.rule.id, item.node) for item in found] == [("attention", "values"), ("attention", "values")]


def test_names_are_not_needed():
    proto = conv({"zero": np.int8(3)})
    for node in proto.graph.node:
        node.name = ""
    assert [item.node for item in breaches(proto)] == ["QuantizeLinear -> x_q"]


def test_constants_may_come_from_constant_nodes():
    """As torch exports them."""
    proto = conv({"zero": np.int8(3)}, shift=2)
    for tensor in proto.graph.initializer:
        made = onnx.helper.make_node("Constant", [], [tensor.name], f"{tensor.name}_constant", value=tensor)
        proto.graph.node.insert(0, made)
    del proto.graph.initializer[:]
    assert [(item.rule.id, item.node) for item in breaches(proto)] == [("zero-point", "x_q"), ("zero-point", "w_dq")]


@pytest.mark.parametrize("form", ["tensor", "axis", "blocks"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_stored_numbers_are_those_of_the_operator(form, data):
    """One scale, one an axis, or blocks: against ONNX's reference of DequantizeLinear."""
    shape = data.draw(st.sampled_from([(4, 6), (2, 4, 6), (6, 2)]))
    kind = data.draw(st.sampled_from([np.int8, np.uint8]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1)) if form == "axis" else 0
    size = {"tensor": (), "axis": (shape[axis],), "blocks": (shape[0] // 2, *shape[1:])}[form]
    limits = np.iinfo(kind)
    draw = {
        "q": arrays.arrays(kind, shape, elements=st.integers(limits.min, limits.max)),
        "z": arrays.arrays(kind, size, elements=st.integers(limits.min, limits.max)),
        "s": arrays.arrays(np.float32, size, elements=st.floats(2**-10, 8, width=32)),
    }
    make = Maker()
    make.tensors = {name: data.draw(strategy) for name, strategy in draw.items()}
    attributes = {"tensor": {}, "axis": {"axis": axis}, "blocks": {"axis": 0, "block_size": 2}}[form]
    make.add("DequantizeLinear", ["q", "s", "z"], **attributes)
    proto = make.model([1], list(shape), opset=21)
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": np.zeros(1, np.float32)})
    graph = QdqGraph(proto)
    (found,) = [graph.numbers(node) for node in graph.nodes if node.op_type == DQ]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def stored_numbers(make: Maker) -> np.ndarray:
    graph = QdqGraph(make.model([1], [1]))
    (found,) = [graph.numbers(node) for node in graph.nodes if node.op_type == DQ]
    return found


@pytest.mark.parametrize("zero", [None, 0, 0.75])
def test_stored_fp8_has_its_fractions(zero):
    """All 256 codes of E4M3, by their bits: a sign, four of an exponent with bias 7, three behind the point."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.FLOAT8E4M3FN)
    code = np.arange(256)
    sign, exponent, fraction = 1 - 2 * (code >> 7), code >> 3 & 15, code & 7
    wanted = sign * np.where(exponent, np.ldexp(8.0 + fraction, exponent - 10), np.ldexp(1.0 * fraction, -9))
    wanted[[127, 255]] = np.nan
    make = Maker()
    make.tensors = {"q": code.astype(np.uint8).view(kind), "s": np.float32(0.25)}
    make.tensors |= {} if zero is None else {"z": np.array(zero, kind)}
    make.add("DequantizeLinear", list(make.tensors))
    np.testing.assert_array_equal(stored_numbers(make), (wanted - (zero or 0)) / 4)


def test_a_bias_of_int32_is_rounded_once():
    """Above 2**24 FP32 has not every integer: the product is what is rounded, not the integer before it."""
    make = Maker()
    make.tensors = {"q": np.array([2**24 + 1, -(2**25) - 3, 2**31 - 1, -(2**31), 7], np.int32), "s": np.float32(3)}
    make.add("DequantizeLinear", ["q", "s"])
    wanted = [np.float32(3 * whole) for whole in make.tensors["q"].tolist()]
    np.testing.assert_array_equal(stored_numbers(make), wanted)


def built(proto, folder: Path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX judges the rules")
    from edgekit.build import build

    onnx.save(proto, folder / "m.onnx")
    return build(folder / "m.onnx", folder / "m.engine", BuildConfig("rtx", ("8.6",)))


@pytest.mark.slow  # a build a case
@pytest.mark.parametrize("name", BROKEN)
def test_tensorrt_refuses_what_the_rule_says_it_refuses(name, tmp_path):
    """A rule of which it refuses some forms says false; those have a test of their own below."""
    proto = BROKEN[name].model()
    if rules()[BROKEN[name].rule].refused:
        with pytest.raises(BuildError):
            built(proto, tmp_path)
    else:
        assert built(proto, tmp_path).bytes > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", LEGAL)
def test_tensorrt_builds_the_legal_twin(name, tmp_path):
    assert built(LEGAL[name](), tmp_path).bytes > 1000


def kinds(report, kind: str) -> int:
    return sum(kind in (layer.dtype, layer.tactic.split("_0x")[0]) for layer in report.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["channels", "one channel", "axis conv", "concat"])
def test_what_builds_all_the_same_has_lost_its_int8(name, tmp_path):
    twin = "concat" if name == "concat" else "conv"
    assert kinds(built(LEGAL[twin](), tmp_path), "int8") > kinds(built(BROKEN[name].model(), tmp_path), "int8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fused", "size", "places"),
    [
        *((1, 64, places) for places in ("", "o", "qkpvo")),
        *((0, 64, places) for places in ("qk", "p", "qkpv", "qkspvo")),
        *((fused, size, "qkpvo") for fused, size in ((1, 32), (0, 48), (0, 128))),
    ],
)
def test_where_attention_stays_one_kernel(fused, size, places, tmp_path):
    assert kinds(built(attention(places, size=size), tmp_path), "_gemm_mha_v2") == fused


@pytest.mark.slow
def test_a_weight_of_uint8_is_refused(tmp_path):
    with pytest.raises(BuildError, match="UINT8"):
        built(conv(shift=128, kind=np.uint8), tmp_path)
