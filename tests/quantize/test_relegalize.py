"""Mending the Q/DQ of others: no rule is broken any more, the numbers are as near, and TensorRT-RTX builds it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from edgekit.errors import QuantizeError  # noqa: E402
from edgekit.judge import outputs_of, plain_session  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize.legal import breaches  # noqa: E402
from edgekit.quantize.legal.graph import Scheme  # noqa: E402
from edgekit.quantize.relegalize import relegalize  # noqa: E402
from edgekit.quantize.relegalize.activations import symmetric_scale  # noqa: E402
from edgekit.quantize.relegalize.concats import share_concat_scales  # noqa: E402
from edgekit.quantize.relegalize.moves import dequantize_first  # noqa: E402
from edgekit.quantize.relegalize.qoperators import qoperators_to_qdq  # noqa: E402
from edgekit.rewrite.emulated import emulated, narrow_dtypes  # noqa: E402
from edgekit.rewrite.sort_nodes import sort_nodes  # noqa: E402
from tests.quantize import qdq_cases as cases  # noqa: E402
from tests.quantize.qdq_cases import BROKEN, LEGAL, S8, U8, Maker  # noqa: E402

ORT_MINOR = int(onnxruntime.__version__.split(".")[1])
F8 = helper.tensor_dtype_to_np_dtype(onnx.TensorProto.FLOAT8E4M3FN)
MENDED = [name for name in BROKEN if BROKEN[name].rule not in ("residual", "int8-attention") and name != "dynamic"]


def ops(proto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def errors(proto) -> list[str]:
    return [f"{item.rule.id} {item.node}" for item in breaches(proto) if item.is_error]


def run(proto, low: float = 0.0, high: float = 3.5) -> np.ndarray:
    """The output on seeded numbers that every scale of the cases covers, in FP32 with each FP16 tensor rounded.

    onnxruntime 1.23, the last one for Python 3.10, cuts FP16 numbers off in QuantizeLinear instead of rounding them.
    """
    if ORT_MINOR < 24 and proto.opset_import[0].version > 21:
        pytest.skip("this onnxruntime has no QuantizeLinear of opset 23")
    random, feeds = np.random.default_rng(1), {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value or 2 for dim in kind.shape.dim]
        feeds[value.name] = random.uniform(low, high, shape).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    twin = emulated(proto) if narrow_dtypes(proto) else proto
    names = {value.name: value.type.tensor_type.elem_type for value in twin.graph.input}
    feeds = {name: feed.astype(helper.tensor_dtype_to_np_dtype(names[name])) for name, feed in feeds.items()}
    return plain_session(twin.SerializeToString()).run(None, feeds)[0]


def db(wanted: np.ndarray, found: np.ndarray) -> float:
    meter = Sqnr()
    meter.add(wanted, found)
    return meter.db()


@pytest.mark.parametrize("name", MENDED)
def test_what_was_broken_is_whole_and_near(name):
    """Near the model as it was; the pairs that are gone and the levels that are fewer make what is between."""
    before = run(BROKEN[name].model())
    result = relegalize(BROKEN[name].model())
    onnx.checker.check_model(result.model, full_check=True)
    assert result.modified
    assert result.notes
    assert breaches(result.model) == []
    assert db(before, run(result.model)) > 30


@pytest.mark.parametrize("name", [*LEGAL, "residual", "int8 attention"])
def test_what_is_legal_stays_to_the_byte(name):
    proto = LEGAL[name]() if name in LEGAL else BROKEN[name].model()
    before = proto.SerializeToString()
    result = relegalize(proto)
    assert (result.modified, result.model.SerializeToString()) == (False, before)
    assert "nothing to mend" in result.notes[0]


def test_it_mends_once():
    first = relegalize(cases.conv({"zero": S8(3)}, bias=cases.int32_bias)).model
    second = relegalize(first)
    assert (second.modified, second.model.SerializeToString()) == (False, first.SerializeToString())


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([np.int8, np.uint8, np.int16, np.uint16]),
    scales=st.lists(st.floats(2**-12, 2**6, width=32), min_size=1, max_size=3),
    data=st.data(),
)
def test_the_symmetric_range_covers_the_old_one_and_no_more(kind, scales, data):
    """Against the definition, in float64: every number that an integer can mean lies in -127..127 steps."""
    limits = np.iinfo(kind)
    zeros = [data.draw(st.integers(limits.min, limits.max)) for _ in scales]
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    scheme = Scheme(dtype, np.array(scales, np.float32), np.array(zeros, kind), 1, 0)
    ends = [scale * (end - zero) for scale, zero in zip(scales, zeros, strict=True) for end in (limits.min, limits.max)]
    found = float(symmetric_scale(scheme))
    if kind is np.int8 and not any(zeros):
        assert found == max(np.float32(scales))
    else:
        assert found == pytest.approx(max(map(abs, ends)) / 127, rel=1e-6)


def cut_at_zero(zero: object) -> Maker:
    """A convolution whose Relu went into the zero point of the Q behind it, as onnxruntime writes it."""
    make = Maker()
    make.weight("k", 4, 2, 1, 1)
    make.add("Conv", ["x", "k"], "a")
    paired = make.pair("a", 0.03, zero)
    make.add("Conv", [paired, make.stored("w", make.random.normal(size=(8, 4, 1, 1)), 0)])
    return make


@pytest.mark.parametrize("zero", [S8(-128), U8(0), None], ids=str)
def test_a_relu_that_a_zero_point_stood_for_comes_back(zero):
    """The convolution gives negatives, which the old model makes 0 and a symmetric pair alone would not."""
    proto = cut_at_zero(zero).model(["batch", 2, 3, 3], ["batch", 8, 3, 3])
    before = run(proto, -2, 2)
    result = relegalize(proto)
    assert ops(result.model)["Relu"] == 1
    assert db(before, run(result.model, -2, 2)) > 30
    assert "zero-point: 1 stood for a Relu, which is back" in result.notes


@pytest.mark.parametrize(("maker", "relus"), [("Relu", 1), ("Sigmoid", 0), ("Abs", 0), ("Tanh", 1), ("HardSwish", 1)])
def test_no_relu_where_nothing_is_negative(maker, relus):
    """Counted with the one that stood there; Tanh and HardSwish may be negative."""
    make = Maker()
    moved = make.add("Flatten", [make.add(maker, ["x"], "a")], "b")
    make.add("MatMul", [make.pair(moved, 0.02, U8(0)), make.stored("w", make.random.normal(size=(8, 4)), 1)])
    assert ops(relegalize(make.model([2, 8], [2, 4])).model)["Relu"] == relus


def test_integers_that_fit_keep_their_scales_and_the_rest_is_rounded_once():
    """int8 of 2..122 minus a zero point of 2 fits; minus -20 it does not."""
    for shift, exact in ((2, True), (-20, False)):
        make = Maker()
        x = make.pair("x")
        make.stored("w", make.random.uniform(0.1, 1, size=(32, 48)), 1)
        make.tensors["w_z"] = np.full(48, shift, S8)
        make.add("MatMul", [x, "w_dq"])
        proto = make.model(cases.ROWS, ["batch", 8, 48])
        before = run(proto)
        mended = relegalize(proto).model
        np.testing.assert_allclose(run(mended), before, rtol=1e-5 if exact else 0.02)
        scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in mended.graph.initializer}
        assert any(np.array_equal(scale, make.tensors["w_s"]) for scale in scales.values()) == exact


def test_a_float_weight_is_stored_as_what_its_pair_makes_of_it():
    proto = cases.float_weight()
    before, weight = run(proto), proto.graph.initializer[2]
    mended = relegalize(proto).model
    np.testing.assert_array_equal(run(mended), before)
    assert weight.name == "w"
    assert weight.name not in {tensor.name for tensor in mended.graph.initializer}
    assert len(mended.SerializeToString()) < 0.5 * len(cases.float_weight().SerializeToString())


def test_a_weight_of_two_layers_that_want_different_axes_gets_one_scale():
    make = Maker()
    x = make.pair("x")
    w = make.stored("w", make.random.normal(size=(32, 32)), 0)
    first = make.add("MatMul", [x, w], "first")
    make.add("MatMul", [make.pair(first, 0.3), make.add("Transpose", [w], "turned", perm=[1, 0])])
    result = relegalize(make.model(cases.ROWS, cases.ROWS))
    assert breaches(result.model) == []
    shapes = [list(tensor.dims) for tensor in result.model.graph.initializer if tensor.data_type == 1]
    assert shapes == [[], [], []]


def test_concats_that_share_a_pair_share_one_scale():
    """a and b meet, b and c meet: all three get the scale of c."""
    make = Maker()
    for name, op_type, scale in (("a", "Relu", 0.01), ("b", "Sigmoid", 0.02), ("c", "Abs", 0.04)):
        make.pair(make.add(op_type, ["x"], name), scale)
    first = make.add("Concat", ["a_dq", "b_dq"], "first", axis=1)
    second = make.add("Concat", ["b_dq", "c_dq"], "second", axis=1)
    make.add("Concat", [first, second], axis=1)
    result = relegalize(make.model([2, 4], [2, 16]))
    scales = {
        tensor.name: float(onnx.numpy_helper.to_array(tensor))
        for tensor in result.model.graph.initializer
        if tensor.data_type == 1
    }
    used = {scales[node.input[1]] for node in result.model.graph.node if "Linear" in node.op_type}
    assert list(used) == [pytest.approx(0.04)]
    assert "concat-scales: 1 groups of inputs share a scale" in result.notes


def joined(zero: object, **scales: float) -> Maker:
    """One pair for each of `scales`, between x and a Concat."""
    make = Maker()
    pairs = [make.pair(make.add("Identity", ["x"], name), scale, zero) for name, scale in scales.items()]
    make.add("Concat", pairs, axis=1)
    return make


@pytest.mark.parametrize(
    ("zero", "read"),
    [(np.zeros((), F8), ""), (S8(0), "a"), (S8(0), "ab")],
    ids=["FP8", "the caller gets one", "the caller gets both"],
)
def test_pairs_at_a_concat_that_cannot_share_a_scale_stay_to_the_byte(zero, read):
    """FP8 reaches to 448 steps, and integers that the caller gets mean what they meant; one that is left has nobody."""
    proto = joined(zero, a=4 / 448, b=8 / 448).model([2, 4], [2, 8])
    inner = onnx.TensorProto.INT8
    proto.graph.output.extend(helper.make_tensor_value_info(f"{name}_q", inner, [2, 4]) for name in read)
    onnx.checker.check_model(proto, full_check=True)
    before = proto.SerializeToString()
    result = relegalize(proto)
    assert (result.modified, result.model.SerializeToString()) == (False, before)
    (note,) = result.notes
    assert note.startswith("could not mend 1 of concat-scales: y: the inputs differ: 'a': ")


@pytest.mark.parametrize("zero", [np.zeros((), F8), S8(3), U8(0), None, np.int16(0)], ids=repr)
def test_only_symmetric_int8_shares_a_scale(zero):
    """What the steps before could not make so would get another range."""
    proto = joined(zero, a=0.01, b=0.02).model([2, 4], [2, 8], opset=21)
    before = proto.SerializeToString()
    result = share_concat_scales(proto)
    assert (result.modified, result.notes, result.model.SerializeToString()) == (False, (), before)


def test_fp8_beside_int8_at_a_concat_keeps_its_scale():
    """Against float64: the two in int8 share a scale, and the one in FP8 has its own, up to 3.5 of 448 steps."""
    make = joined(S8(0), a=0.03, b=0.05)
    make.nodes.pop()
    make.add("Concat", ["a_dq", "b_dq", make.pair(make.add("Neg", ["x"], "c"), 1 / 128, np.zeros((), F8))], axis=1)
    result = relegalize(make.model([2, 4], [2, 12]))
    x = np.random.default_rng(1).uniform(0, 3.5, (2, 4)).astype(np.float32).astype(np.float64)
    whole, eight = np.rint(x / np.float32(0.05)) * np.float32(0.05), (-x * 128).astype(F8).astype(np.float64) / 128
    np.testing.assert_allclose(run(result.model), np.concatenate([whole, whole, eight], 1), rtol=1e-6)
    assert result.notes[0] == "concat-scales: 1 groups of inputs share a scale"
    assert result.notes[1].startswith("could not mend 1 of concat-scales: y: ")


def test_a_bias_of_fp8_becomes_fp32_with_its_fractions():
    make = Maker()
    make.weight("w", 4, 4)
    levels = np.array([448, 0.75, 0.4375, -0.9375]).astype(F8)
    make.tensors |= {"b": levels, "s": np.float32(0.25), "z": np.zeros((), F8)}
    make.add("Gemm", ["x", "w", make.add("DequantizeLinear", ["b", "s", "z"], "b_dq")])
    proto = make.model([2, 4], [2, 4])
    before = run(proto)
    result = relegalize(proto)
    assert breaches(result.model) == []
    assert ops(result.model) == {"Gemm": 1}
    np.testing.assert_array_equal(run(result.model), before)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
    np.testing.assert_array_equal(stored["b_dq_float"], [112, 0.1875, 0.109375, -0.234375])


def test_other_readers_keep_a_pair_that_a_norm_loses():
    make = Maker()
    make.weight("g", 32)
    x = make.pair("x")
    normal = make.add("LayerNormalization", [x, "g"], "normal")
    product = make.add("MatMul", [x, make.stored("w", make.random.normal(size=(32, 32)), 1)], "product")
    make.add("Add", [normal, product])
    mended = relegalize(make.model(cases.ROWS, cases.ROWS)).model
    read = {node.name: list(node.input) for node in mended.graph.node}
    assert (read["normal"][0], read["product"][0]) == ("x", "x_dq")


def test_a_norm_reads_around_several_pairs():
    make = Maker()
    make.weight("g", 32)
    make.add("LayerNormalization", [make.pair(make.pair("x")), "g"])
    mended = relegalize(make.model(cases.ROWS, cases.ROWS)).model
    assert [(node.op_type, list(node.input)) for node in mended.graph.node] == [("LayerNormalization", ["x", "g"])]


def test_what_a_file_says_of_its_inner_integers_goes():
    """onnxruntime refuses a model that says uint8 of what has become int8."""
    proto = cases.conv({"zero": U8(128)})
    proto.graph.value_info.append(helper.make_tensor_value_info("x_q", onnx.TensorProto.UINT8, cases.IMAGE))
    proto.graph.value_info.append(helper.make_tensor_value_info("x_dq", onnx.TensorProto.FLOAT, cases.IMAGE))
    before = run(proto)
    mended = relegalize(proto).model
    assert [value.name for value in mended.graph.value_info] == ["x_dq"]
    assert db(before, run(mended)) > 30


def test_an_asymmetric_pair_goes_where_no_int8_kernel_reads_it_and_stays_on_the_skip_input():
    make = Maker()
    x = make.pair("x", 0.03, S8(4))
    made = make.add("Conv", [x, make.stored("w", make.random.normal(size=(8, 8, 1, 1)), 0)], "made")
    summed = make.add("Add", [x, make.pair(made, 0.1, S8(9))], "summed")
    gate = make.add("Sigmoid", [make.pair(summed, 0.1, S8(-9))], "gate")
    make.pair(gate, 0.01, S8(-128))
    make.nodes[-1].output[0] = "y"
    result = relegalize(make.model(cases.IMAGE, cases.IMAGE))
    read = {node.op_type: list(node.input) for node in result.model.graph.node if "Linear" not in node.op_type}
    assert read["Add"] == ["x_dq", "made"]
    assert read["Sigmoid"] == ["summed"]
    assert [node.output[0] for node in result.model.graph.node if node.op_type == "Sigmoid"] == ["y"]
    assert "zero-point: 3 inputs without Q/DQ, where no INT8 kernel reads them" in result.notes


@pytest.mark.parametrize("model", [cases.qlinear_conv, cases.qlinear_rest])
def test_operators_on_integers_give_the_same_in_qdq_form(model):
    """Before anything is made symmetric: at the most one step of the result apart, where float sums round elsewhere."""
    proto = model()
    before = run(proto)
    rewritten = sort_nodes(dequantize_first(qoperators_to_qdq(model()).model).model).model
    onnx.checker.check_model(rewritten, full_check=True)
    assert not [name for name in ops(rewritten) if name.startswith(("QLinear", "QGemm"))]
    step = max(
        float(onnx.numpy_helper.to_array(tensor)) for tensor in proto.graph.initializer if tensor.name in "y_s g_s"
    )
    difference = np.abs(run(rewritten) - before)
    assert difference.max() <= 1.01 * step
    assert (difference < 0.01 * step).mean() > 0.99
    mended = relegalize(model())
    assert errors(mended.model) == []
    assert db(before, run(mended.model)) > 30
    assert [entry.domain for entry in mended.model.opset_import] == [""]


def test_what_moves_integers_moves_floats_and_gives_the_same():
    make = Maker()
    make.tensors |= {"shape": np.array([0, 4, 16]), "s": np.float32(0.05), "z": S8(3)}
    make.add("QuantizeLinear", ["x", "s", "z"], "q")
    make.add("MaxPool", ["q"], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    make.add("Reshape", ["pooled", "shape"], "reshaped")
    make.add("Transpose", ["reshaped"], "turned", perm=[0, 2, 1])
    make.add("DequantizeLinear", ["turned", "s", "z"])
    proto = make.model(["batch", 4, 8, 8], ["batch", 16, 4])
    before = run(proto)
    result = dequantize_first(proto)
    assert result.modified
    order = [node.op_type for node in sort_nodes(result.model).model.graph.node]
    assert order.index("DequantizeLinear") == order.index("QuantizeLinear") + 1 or "MaxPool" in order[:3]
    np.testing.assert_array_equal(run(result.model), before)


def test_what_cannot_be_mended_is_said_and_stays():
    result = relegalize(cases.dynamic())
    assert not result.modified
    assert result.notes[-1].startswith("could not mend 1 of qoperator: x_q: DynamicQuantizeLinear computes on integers")
    make = Maker()
    make.tensors |= {"s": np.float32(0.1), "z": U8(7)}
    make.add("DequantizeLinear", ["x", "s", "z"])
    fed = make.model([2], [2])
    fed.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    result = relegalize(fed)
    assert result.notes == (
        "could not mend 1 of zero-point: y: activation 'x' is uint8, scale 0.1, zero point 7; quantize symmetrically: "
        "int8, zero point 0, scale = largest |x| / 127",
    )


def test_broken_weights_are_refused():
    proto = cases.float_weight()
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "w"))
    with pytest.raises(QuantizeError, match="found NaN or Inf in 'w'"):
        relegalize(proto)


def test_an_old_opset_is_raised_for_scales_a_channel():
    proto = cases.conv({"zero": S8(3)}, axis=None)
    proto.opset_import[0].version = 10
    assert relegalize(proto).model.opset_import[0].version == 13


@pytest.fixture(scope="module")
def quick_foreign(small_onnx, small_data, tmp_path_factory) -> Path:
    """`small_onnx` by onnxruntime's defaults: no torch, a second."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            with np.load(small_data) as archive:
                self._rows = iter(archive["image"][:, None])

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self._rows, None)
            return None if row is None else {"image": row}

    out = tmp_path_factory.mktemp("foreign") / "q.onnx"
    quantize_static(small_onnx, out, Reader())
    return out


def sqnr_db(reference: Path, found: Path, data: Path) -> float:
    with np.load(data) as archive:
        batches = [{name: archive[name] for name in archive.files}]
    meter = Sqnr()
    for wanted, got in zip(outputs_of(reference, batches), outputs_of(found, batches), strict=True):
        for name, array in wanted.items():
            meter.add(array, got[name])
    return meter.db()


def naive_counts(proto) -> Counter[str]:
    """What is wrong with a model, counted by a scan that knows no pairs: an oracle for the linter."""
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    counts: Counter[str] = Counter()
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            is_int32 = node.input[0] in stored and stored[node.input[0]].data_type == onnx.TensorProto.INT32
            shifted = bool(onnx.numpy_helper.to_array(stored[node.input[2]]).any())
            counts["int32-bias"] += is_int32
            counts["zero-point"] += shifted and (node.op_type == "QuantizeLinear" or node.input[0] in stored)
    return counts


def test_a_foreign_model_is_explained_and_mended(quick_foreign, small_onnx, small_data, tmp_path):
    proto = onnx.load(quick_foreign)
    found = Counter(item.rule.id for item in breaches(proto))
    assert found == naive_counts(proto)
    assert found["int32-bias"] == 1
    result = relegalize(proto)
    onnx.save(result.model, tmp_path / "m.onnx")
    assert errors(result.model) == []
    before, after = (sqnr_db(small_onnx, path, small_data) for path in (quick_foreign, tmp_path / "m.onnx"))
    assert after > before - 2


@pytest.fixture(scope="module")
def foreign(shared):
    pytest.importorskip("sklearn.datasets", reason="scikit-learn's digits are the data")
    pytest.importorskip("torch", reason="torch trains the networks")
    from tests.quantize.foreign import write

    return lambda make: shared(f"foreign-{make}", lambda path: write(path, make))


@pytest.mark.slow  # trains, exports, quantizes and builds
@pytest.mark.parametrize(
    ("make", "name", "least_db"),
    [
        ("make_cnn", "qdq", -2.0),
        ("make_cnn", "channels", -2.0),
        ("make_cnn", "qoperator", -2.0),
        ("make_transformer", "qdq", 2.0),
        ("make_transformer", "channels", 2.0),
    ],
)
def test_a_trained_foreign_network(foreign, tmp_path, make, name, least_db):
    """`least_db` is what mending may cost, or must gain, over the foreign model on images that neither saw.

    A range from 0 that becomes symmetric loses half of its levels; what leaves attention and LayerNorm gains more.
    """
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig
    from edgekit.errors import BuildError

    folder = foreign(make)
    proto = onnx.load(folder / f"{name}.onnx")
    found = Counter(item.rule.id for item in breaches(proto))
    if name == "qoperator":
        assert found["qoperator"] == sum(is_integer for is_integer in map(has_integers, proto.graph.node))
    else:
        # A bias of int8 is named as a bias, whatever its zero point.
        shifted = found["zero-point"] + found["quantized-bias"]
        assert {"int32-bias": found["int32-bias"], "zero-point": shifted} == naive_counts(proto)
    if make == "make_transformer":
        assert found["attention"] > 20
        assert found["normalization"] == 2 * 5  # two norms a layer and one at the end: the input and the gain
    with pytest.raises(BuildError):
        build(folder / f"{name}.onnx", tmp_path / "a.engine", BuildConfig("rtx", ("8.6",)))
    mended = relegalize(proto).model
    onnx.checker.check_model(mended, full_check=True)
    assert errors(mended) == []
    onnx.save(mended, tmp_path / "m.onnx")
    before, after = (
        sqnr_db(folder / "float.onnx", path, folder / "held_out.npz")
        for path in (folder / f"{name}.onnx", tmp_path / "m.onnx")
    )
    assert after > before + least_db
    report = build(tmp_path / "m.onnx", tmp_path / "a.engine", BuildConfig("rtx", ("8.6",)))
    assert "int8" in {layer.dtype for layer in report.layers}


def has_integers(node) -> bool:
    return node.op_type.startswith("QLinear") or node.op_type == "QGemm"
