"""Products and softmaxes of every form, written by hand: what is taken is the same function, what is not stays.

onnxruntime runs each graph as it was. The rewritten one is run by ONNX's reference implementation, its EdgekitAttention
by `edgekit.reference`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.attention_to_plugin import NODE, PRODUCTS, Candidate, attention_to_plugin  # noqa: E402
from edgekit.rewrite.shapes_at import shapes_at  # noqa: E402
from tests.onnxruntimes import needs_opset_24  # noqa: E402
from tests.plugins.op_runs import evaluator  # noqa: E402

INPUTS = "float[N,4,S,8] q, float[N,4,T,8] k, float[N,4,T,6] v"
TURNED = "kt = Transpose<perm = [0, 1, 3, 2]>(k)"
PLAIN = [TURNED, "s = MatMul(q, kt)", "[soft] w = Softmax<axis = -1>(s)", "o = MatMul(w, v)"]
CONSTANTS = (
    "float half = {0.5}, float two = {2.0}, float lowest = {-3.4028234663852886e38}, float minus = {-inf}, "
    "float zero = {0.0}, float[1] tenk = {-10000.0}, float[1,1] three = {3.0}, int64 one = {1}, int64 none = {0}, "
    "int64[1] last = {-1}, int64[1] front = {0}, int64[1] second = {1}, int64[2] both = {0, 1}, float some = {-5.0}, "
    "float unit = {1.0}"
)
RULER = [  # positions of queries and keys
    "ns = Shape<start = 2, end = 3>(q)", "sq = Squeeze(ns)", "nt = Shape<start = 2, end = 3>(k)", "st = Squeeze(nt)",
    "rows1 = Range(none, sq, one)", "cols = Range(none, st, one)", "rows = Unsqueeze(rows1, second)",
]  # fmt: skip
SQUARE = "float[N,4,S,8] q, float[N,4,S,8] k, float[N,4,S,6] v"


def graph(lines: list[str], inputs: str = INPUTS, outputs: str = "float[N,4,S,6] o", opset: int = 20) -> Any:
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) <{CONSTANTS}> {{'
    model = onnx.parser.parse_model(text + "\n".join(lines) + "}")
    onnx.checker.check_model(model)
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{place}"
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)
    return model


def with_scores(*lines: str, **more: Any) -> Any:
    """The scores are `s`; the last of the lines makes what the softmax reads."""
    made = lines[-1].split(" =")[0]
    return graph([*PLAIN[:2], *lines, f"[soft] w = Softmax<axis = -1>({made})", PLAIN[3]], **more)


def arrays(model: Any, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    made = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value or sizes[dim.dim_param] for dim in kind.shape.dim]
        if kind.elem_type == onnx.TensorProto.BOOL:
            made[value.name] = random.uniform(size=shape) < 0.6
            made[value.name][..., :1] = True
        else:
            made[value.name] = random.normal(size=shape).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return made


SIZES = ({"N": 1, "S": 5, "T": 7, "P": 4}, {"N": 3, "S": 2, "T": 2, "P": 1})


def rewritten(model: Any) -> tuple[Any, list[Candidate], tuple[str, ...]]:
    copy, seen = onnx.ModelProto.FromString(model.SerializeToString()), list[Candidate]()
    made = attention_to_plugin(copy, lambda item: seen.append(item) or "")
    assert made.model is copy
    return made.model, seen, made.notes


def taken(model: Any, feeds: list[dict[str, np.ndarray]] | None = None, tolerance: float = 2e-6) -> tuple[Any, Any]:
    """The one EdgekitAttention that the model became, by input and attribute, and the candidate; all is equal."""
    made, (item,), notes = rewritten(model)
    assert notes == ("1 of 1 attentions became EdgekitAttention",)
    onnx.checker.check_model(made)
    kinds = [node.op_type for node in made.graph.node]
    assert not {"Softmax", "Attention"} & set(kinds)
    session, runner = plain_session(model.SerializeToString()), evaluator(made)
    for given in feeds or [arrays(model, sizes) for sizes in SIZES]:
        for got, want in zip(runner.run(None, given), session.run(None, given), strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)
    (node,) = [node for node in made.graph.node if node.op_type == "EdgekitAttention"]
    assert (node.name, node.domain) == ("soft", "edgekit")
    return node, item


def field(node: Any, name: str) -> Any:
    return next(onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name)


def left(model: Any, reason: str) -> None:
    before = model.SerializeToString()
    made, seen, notes = rewritten(model)
    assert made.SerializeToString() == before
    assert (seen, notes) == ([], (f"1 of 1 attentions stay as they are: {reason}",))


def test_the_plain_form():
    node, item = taken(graph(PLAIN))
    assert list(node.input[:3]) == ["q", "k", "v"]
    assert item == Candidate("soft", PRODUCTS, onnx.TensorProto.FLOAT, 4, 4, 8, 6, False, False, False, False)
    assert field(node, "scale") == 1.0


def test_what_is_known_of_lengths_is_told():
    model = graph(PLAIN)
    sizes = {"q": (1, 4, 9, 8), "k": (1, 4, 33, 8), "v": (1, 4, 33, 6)}
    seen: list[Candidate] = []
    made = attention_to_plugin(model, lambda item: seen.append(item) or "as asked", shapes_at(model, sizes))
    assert (made.modified, made.notes) == (False, ("1 of 1 attentions stay as they are: as asked",))
    assert (seen[0].queries, seen[0].keys) == (9, 33)


# What stands before the first product, or between it and the softmax -> the scale that comes of it.
SCALED = {
    "on the scores": (["t = Mul(s, half)"], 0.5),
    "divided": (["t = Div(s, two)"], 0.5),
    "the number first": (["t = Mul(half, s)"], 0.5),
    "twice": (["t = Mul(s, three)", "u = Div(t, two)"], 1.5),
    "half precision": (["t = Cast<to = 10>(s)", "u = Cast<to = 1>(t)"], 1.0),
}  # fmt: skip


@pytest.mark.parametrize("form", SCALED)
def test_a_scale(form):
    lines, scale = SCALED[form]
    node, _ = taken(with_scores(*lines), tolerance=5e-3 if "half" in form else 2e-6)
    assert field(node, "scale") == pytest.approx(scale)


def test_scales_of_q_and_of_k_and_k_turned_twice():
    lines = [
        "q1 = Mul(q, half)", "k1 = Transpose<perm = [0, 2, 1, 3]>(k)", "k2 = Mul(k1, three)",
        "k3 = Transpose<perm = [0, 2, 3, 1]>(k2)", "k4 = Div(k3, two)", "s = MatMul(q1, k4)", *PLAIN[2:],
    ]  # fmt: skip
    node, _ = taken(graph(lines))
    assert field(node, "scale") == 0.75


def test_a_scale_at_run_time_stays_before_the_product():
    lines = [TURNED, "q1 = Mul(q, by)", "s = MatMul(q1, kt)", *PLAIN[2:]]
    node, _ = taken(graph(lines, inputs=INPUTS + ", float[1] by"))
    assert node.input[0] == "q1"
    left(
        with_scores("t = Mul(s, by)", inputs=INPUTS + ", float[1] by"),
        "its scores are scaled by what is no constant, or behind a mask",
    )


def test_a_softcap():
    node, item = taken(with_scores("t = Mul(s, half)", "u = Div(t, three)", "x = Tanh(u)", "y = Mul(x, three)"))
    assert (field(node, "softcap"), item.has_rest) == (3.0, True)
    assert field(node, "scale") == pytest.approx(0.5)


def test_k_that_no_transpose_makes():
    inputs = INPUTS.replace("T,8] k", "8,T] kt")
    made, _, _ = rewritten(graph(PLAIN[1:], inputs=inputs))
    assert [node.op_type for node in made.graph.node] == ["Transpose", "EdgekitAttention"]
    taken(graph(PLAIN[1:], inputs=inputs))


# Lines of a mask, its input, and whether what becomes of it is a bias of FP32.
MASKED = {
    "added": (["t = Add(s, m)"], "float[N,1,S,T] m"),
    "added, first": (["t = Add(m, s)"], "float[1,4,1,T] m"),
    "added twice": (["t = Add(s, m)", "u = Add(n, t)"], "float[N,1,1,T] m, float[S,T] n"),
    "of two axes": (["t = Add(s, m)"], "float[S,T] m"),
    "one number": (["t = Add(s, m)"], "float[1] m"),
    "kept": (["t = Where(m, s, lowest)"], "bool[N,1,1,T] m"),
    "kept, by ten thousand": (["t = Where(m, s, tenk)"], "bool[N,1,S,T] m"),
    "kept, infinite": (["t = Where(m, s, minus)"], "bool[T] m"),
    "hidden": (["n = Not(m)", "t = Where(n, lowest, s)"], "bool[N,1,1,T] m"),
    "added and kept": (["t = Add(s, n)", "u = Where(m, t, lowest)"], "bool[N,1,1,T] m, float[S,T] n"),
    "kept twice": (["t = Where(m, s, lowest)", "u = Where(n, t, lowest)"], "bool[T] m, bool[S,T] n"),
    "expanded": (
        [
            "ns = Shape<start = 2, end = 3>(q)",
            "nt = Shape<start = 2, end = 3>(k)",
            "z = Concat<axis = 0>(ns, nt)",
            "n = Expand(m, z)",
            "t = Where(n, s, lowest)",
        ],
        "bool[N,1,1,T] m",
    ),
}


@pytest.mark.parametrize("form", MASKED)
def test_a_mask(form):
    lines, inputs = MASKED[form]
    node, item = taken(with_scores(*lines, inputs=f"{INPUTS}, {inputs}"))
    assert (item.has_bias, item.causal) == (True, False)
    assert node.input[3] != "edgekit_no_numbers"


@pytest.mark.parametrize("lowest", ["lowest", "tenk"])
def test_a_query_that_sees_nothing_attends_evenly_as_it_did(lowest):
    model = with_scores(f"t = Where(m, s, {lowest})", inputs=INPUTS + ", bool[N,1,S,T] m")
    feeds = arrays(model, SIZES[0])
    feeds["m"][0, 0, 2] = False
    taken(model, [feeds])
    assert np.isfinite(plain_session(model.SerializeToString()).run(None, feeds)[0]).all()


def test_a_query_that_sees_nothing_gets_zeros_where_a_softmax_gives_nothing():
    model = with_scores("t = Where(m, s, minus)", inputs=INPUTS + ", bool[N,1,S,T] m")
    feeds = arrays(model, SIZES[0])
    feeds["m"][0, 0, 2] = False
    (wanted,) = plain_session(model.SerializeToString()).run(None, feeds)
    assert np.isnan(wanted[0, :, 2]).all()
    (found,) = evaluator(rewritten(model)[0]).run(None, feeds)
    np.testing.assert_allclose(found, np.where(np.isnan(wanted), 0, wanted), rtol=0, atol=2e-6)


ANY = ["c = Cast<to = 7>(m)", "r = ReduceMax(c, last)", "any = Cast<to = 9>(r)"]


def zeros(*lines: str, mask: str = "bool[N,1,S,T] m", seen: str = "any, p, zero") -> Any:
    """A Where behind the second product."""
    made = lines[-1].split(" =")[0]
    head = [*PLAIN[:2], *lines, *ANY, f"[soft] w = Softmax<axis = -1>({made})"]
    return graph([*head, "p = MatMul(w, v)", f"o = Where({seen})"], inputs=f"{INPUTS}, {mask}")


@pytest.mark.parametrize(
    ("lines", "mask", "wheres"),
    [
        (["t = Where(m, s, lowest)"], "bool[N,1,S,T] m", 1),
        (["m = Greater(b, minus)", "t = Add(s, b)", "u = Where(m, t, lowest)"], "float[N,1,S,T] b", 0),
        (["m = GreaterOrEqual(b, tenk)", "t = Add(s, b)", "u = Where(m, t, lowest)"], "float[N,1,S,T] b", 1),
        (["t = Add(s, b)", "u = Where(m, t, lowest)"], "bool[N,1,S,T] m, float[S,T] b", 2),
        (["n = Not(m)", "t = Where(n, lowest, s)"], "bool[N,1,S,T] m", 2),
    ],
)
def test_zeros_where_a_query_sees_nothing(lines, mask, wheres):
    """The Where behind it goes where its mask alone decides what is seen."""
    model = zeros(*lines, mask=mask)
    feeds = arrays(model, SIZES[0])
    hidden = feeds.get("b", np.zeros((1, 1, 5, 7), np.float32))
    if hidden.ndim == 4:
        hidden[0, 0, 2], hidden[0, 0, 1, 3] = -np.inf, -np.inf
    if "m" in feeds:
        feeds["m"][0, 0, 2] = False
    taken(model, [feeds])
    assert sum(node.op_type == "Where" for node in rewritten(model)[0].graph.node) == wheres


def test_other_zeros_stay():
    """Where another mask decides, and where what is seen would become 0."""
    inputs = "bool[N,1,S,T] m, bool[N,1,S,T] n"
    other, turned = (zeros("t = Where(n, s, lowest)", mask=inputs), zeros(MASKED["kept"][0][0], seen="any, zero, p"))
    for model in (other, turned):
        feeds = arrays(model, SIZES[0])
        feeds["m"][0, 0, 2] = False
        taken(model, [feeds])
        assert [node.op_type for node in rewritten(model)[0].graph.node].count("Where") == 2


def test_zeros_where_a_query_sees_all():
    """The mask says what is hidden: the last query, of which nothing is, gets zeros."""
    lines = [*PLAIN[:2], *RULER, "m = Greater(cols, rows)", "t = Where(m, lowest, s)", *ANY]
    lines += ["[soft] w = Softmax<axis = -1>(t)", "p = MatMul(w, v)", "o = Where(any, p, zero)"]
    _, item = taken(graph(lines, SQUARE))
    assert item.causal


def test_zeros_for_what_is_no_number():
    """As torch's exporter writes it, and k^T by way of three axes."""
    flat = [
        "nk = Shape<start = 0, end = 2>(k)", "nt = Shape<start = 2, end = 3>(k)",
        "eight = Constant<value = int64[1] {8}>()", "fs = Concat<axis = 0>(last, nt, eight)", "kf = Reshape(k, fs)",
        "kg = Transpose<perm = [0, 2, 1]>(kf)", "gs = Concat<axis = 0>(nk, eight, nt)", "kt = Reshape(kg, gs)",
    ]  # fmt: skip
    mask = ["b = Where(m, zero, minus)", "t = Add(s, b)", "[soft] w = Softmax<axis = -1>(t)"]
    lines = [*flat, PLAIN[1], *mask, "x = IsNaN(w)", "y = Where(x, zero, w)", "o = MatMul(y, v)"]
    model = graph(lines, INPUTS + ", bool[N,1,S,T] m")
    feeds = arrays(model, SIZES[0])
    feeds["m"][0, 0, 2] = False
    node, _ = taken(model, [feeds])
    assert list(node.input[:3]) == ["q", "k", "v"]


@pytest.mark.parametrize("last", ["y = Where(x, half, w)", "y = Where(x, w, zero)"])
def test_other_numbers_for_what_is_no_number_stay(last):
    lines = [*PLAIN[:3], "x = IsNaN(w)", last, "o = MatMul(y, v)"]
    left(graph(lines, INPUTS.replace("S,8", "8,8").replace("T,8", "8,8").replace("T,6", "8,6"), "float[N,4,8,6] o"),
         "its weights are read elsewhere too")  # fmt: skip


def test_numbers_of_another_tensor_are_asked():
    lines = [*PLAIN[:3], "x = IsNaN(k)", "y = Where(x, zero, w)", "o = MatMul(y, v)"]
    inputs = INPUTS.replace("S,8", "8,8").replace("T,8", "8,8").replace("T,6", "8,6")
    left(graph(lines, inputs, "float[N,4,8,6] o"), "Where stands behind its softmax")


def test_zeros_by_another_axis_stay():
    """Of each key, whether any query sees it."""
    lines = [*PLAIN[:2], "t = Where(m, s, lowest)", "c = Cast<to = 7>(m)", "two_b = Constant<value = int64[1] {-2}>()"]
    lines += ["r = ReduceMax(c, two_b)", "any = Cast<to = 9>(r)", "[soft] w = Softmax<axis = -1>(t)"]
    lines += ["p = MatMul(w, v)", "o = Where(any, p, zero)"]
    model = graph(lines, INPUTS.replace("T,", "6,") + ", bool[N,1,S,6] m")
    feeds = arrays(model, SIZES[0])
    feeds["m"][..., 3] = False
    taken(model, [feeds])


def test_k_that_is_only_reshaped():
    """[N,h,S,D] read as [N h,D,S] is no transposition."""
    lines = [
        "nk = Shape<start = 0, end = 2>(k)", "nt = Shape<start = 2, end = 3>(k)",
        "eight = Constant<value = int64[1] {8}>()", "fs = Concat<axis = 0>(last, eight, nt)", "kf = Reshape(k, fs)",
        "kg = Transpose<perm = [0, 2, 1]>(kf)", "gs = Concat<axis = 0>(nk, eight, nt)", "kt = Reshape(kg, gs)",
    ]  # fmt: skip
    taken(graph([*lines, *PLAIN[1:]]))


@pytest.mark.parametrize("masks", [["t = Add(c, h)"], ["ta = Add(c, h)", "t = Where(m, ta, low16)"]])
def test_a_softmax_in_other_precision(masks):
    """A bias of FP16 beside operands of FP32 is cast; the lowest number, -60000, is written by its bits."""
    lines = ["low16 = Constant<value = float16 {64339}>()"] if len(masks) > 1 else []
    lines += [*PLAIN[:2], "c = Cast<to = 10>(s)", *masks, "[soft] w = Softmax<axis = -1>(t)"]
    model = graph(
        [*lines, "wide = Cast<to = 1>(w)", "o = MatMul(wide, v)"],
        INPUTS + ", float16[N,1,S,T] h" + (", bool[N,1,1,T] m" if len(masks) > 1 else ""),
    )
    taken(model, tolerance=4e-3)


def test_a_bias_of_fp32_beside_operands_of_fp16_stays():
    """Its lowest number has no place in FP16: there the query would see nothing."""
    lines = [*PLAIN[:2], "c = Cast<to = 1>(s)", "t = Add(c, m)", "[soft] w = Softmax<axis = -1>(t)"]
    lines += ["n = Cast<to = 10>(w)", "o = MatMul(n, v)"]
    model = graph(lines, INPUTS.replace("float", "float16") + ", float[N,1,S,T] m", "float16[N,4,S,6] o")
    feeds = arrays(model, SIZES[0])
    feeds["m"][0, 0, 2] = -1e30
    node, _ = taken(model, [feeds], tolerance=4e-3)
    assert node.input[3] == "m"


def test_masks_are_made_once():
    lines = [
        *PLAIN[:2], "t = Where(m, s, lowest)", "[soft] w = Softmax<axis = -1>(t)", "p = MatMul(w, v)",
        "s1 = MatMul(p, kt)", "t1 = Where(m, s1, lowest)", "[hard] w1 = Softmax<axis = -1>(t1)", "o = MatMul(w1, v)",
    ]  # fmt: skip
    inputs = "float[N,4,S,8] q, float[N,4,T,8] k, float[N,4,T,8] v, bool[N,1,1,T] m"
    made, seen, notes = rewritten(graph(lines, inputs, "float[N,4,S,8] o"))
    assert notes == ("2 of 2 attentions became EdgekitAttention",)
    assert [node.op_type for node in made.graph.node] == ["Where", "EdgekitAttention", "EdgekitAttention"]
    assert [item.name for item in seen] == ["soft", "hard"]


# Masks that are causal: what they are made by, and whether it is proved.
CAUSAL = {
    "less or equal": ([*RULER, "m = LessOrEqual(cols, rows)", "t = Where(m, s, lowest)"], True),
    "greater or equal": ([*RULER, "m = GreaterOrEqual(rows, cols)", "t = Where(m, s, lowest)"], True),
    "less than the next": ([*RULER, "n = Add(rows, one)", "m = Less(cols, n)", "t = Where(m, s, lowest)"], True),
    "not greater": ([*RULER, "n = Greater(cols, rows)", "m = Not(n)", "t = Where(m, s, lowest)"], True),
    "hidden where greater": ([*RULER, "m = Greater(cols, rows)", "t = Where(m, minus, s)"], True),
    "four axes": ([*RULER, "n = LessOrEqual(cols, rows)", "m = Unsqueeze(n, both)", "t = Where(m, s, lowest)"], True),
    "added": ([*RULER, "m = LessOrEqual(cols, rows)", "b = Where(m, zero, minus)", "t = Add(s, b)"], True),
    "a triangle": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = Expand(one, z)", "l = Trilu<upper = 0>(ones)",
         "m = Cast<to = 9>(l)", "t = Where(m, s, lowest)"], True),
    "where the triangle is 0": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = Expand(half, z)", "l = Trilu<upper = 0>(ones)",
         "m = Equal(l, zero)", "b = Where(m, lowest, zero)", "t = Add(s, b)"], False),
    "where a triangle of ones is 0": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = ConstantOfShape<value = float[1] {1.0}>(z)",
         "l = Trilu<upper = 0>(ones)", "m = Equal(l, zero)", "b = Where(m, lowest, zero)", "t = Add(s, b)"], True),
    "where a triangle of ones is 1": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = Expand(unit, z)", "l = Trilu<upper = 0>(ones)",
         "m = Equal(l, unit)", "b = Where(m, zero, lowest)", "t = Add(s, b)"], False),
    "where an upper triangle of ones is 1": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = Expand(unit, z)", "l = Trilu<upper = 1>(ones, one)",
         "m = Equal(l, unit)", "b = Where(m, zero, lowest)", "t = Add(s, b)"], False),
    "not the upper triangle": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = Expand(one, z)", "l = Trilu<upper = 1>(ones, one)",
         "n = Cast<to = 9>(l)", "m = Not(n)", "t = Where(m, s, lowest)"], True),
    "strictly less": ([*RULER, "n = Less(cols, rows)", "m = Or(n, n)", "t = Where(m, s, lowest)"], False),
    "one more": ([*RULER, "n = Add(rows, one)", "m = LessOrEqual(cols, n)", "t = Where(m, s, lowest)"], False),
    "the other way": ([*RULER, "m = GreaterOrEqual(cols, rows)", "t = Where(m, s, lowest)"], False),
    "by twos": (
        [*RULER[:4], "e = Add(one, one)", "u = Add(st, st)", "cols = Range(none, u, e)", "f = Add(sq, none)",
         "rows1 = Range(none, f, one)", "rows = Unsqueeze(rows1, second)", "m = LessOrEqual(cols, rows)",
         "t = Where(m, s, lowest)"], False),
    "all queries as the first": (
        [*RULER[2:4], "rows1 = Range(none, one, one)", "rows = Unsqueeze(rows1, second)",
         "cols = Range(none, st, one)", "m = LessOrEqual(cols, rows)", "t = Where(m, s, lowest)"], False),
    "all keys as the first": (
        [*RULER[:2], "rows1 = Range(none, sq, one)", "rows = Unsqueeze(rows1, second)",
         "cols = Range(none, one, one)", "m = LessOrEqual(cols, rows)", "t = Where(m, s, lowest)"], False),
    "a window": (
        [*RULER, "a = LessOrEqual(cols, rows)", "b = Sub(rows, one)", "c = GreaterOrEqual(cols, b)", "m = And(a, c)",
         "t = Where(m, s, lowest)"], False),
    "an upper triangle": (
        [*RULER, "z = Concat<axis = 0>(ns, nt)", "ones = Expand(one, z)", "l = Trilu<upper = 1>(ones)",
         "m = Cast<to = 9>(l)", "t = Where(m, s, lowest)"], False),
    "beside another": (
        [*RULER, "m = LessOrEqual(cols, rows)", "t = Where(m, s, lowest)", "u = Add(t, half)"], False),
}  # fmt: skip


@pytest.mark.parametrize("form", CAUSAL)
def test_a_causal_mask(form):
    lines, causal = CAUSAL[form]
    node, item = taken(with_scores(*lines, inputs=SQUARE))
    assert (item.causal, item.has_bias) == (causal, not causal)
    assert (field(node, "causal"), node.input[3] == "edgekit_no_numbers") == (causal, causal)


PAST = ", float[N,4,P,8] pk, float[N,4,P,6] pv"
JOINED = ["ak = Concat<axis = 2>(pk, k)", "av = Concat<axis = -2>(pv, v)"]
CACHED = [
    *JOINED, "ak1 = Mul(ak, half)", "kt = Transpose<perm = [0, 1, 3, 2]>(ak1)", "s = MatMul(q, kt)",
]  # fmt: skip
PRESENT = "float[N,4,S,6] o, float[N,4,A,8] ak, float[N,4,A,6] av"


def cached(*mask: str, **more: Any) -> Any:
    made = mask[-1].split(" =")[0] if mask else "s"
    lines = [*CACHED, *mask, f"[soft] w = Softmax<axis = -1>({made})", "o = MatMul(w, av)"]
    return graph(lines, **{"inputs": INPUTS + PAST, "outputs": PRESENT, **more})


def test_a_cache_that_two_read_is_joined_by_one():
    lines = [*CACHED, "[soft] w = Softmax<axis = -1>(s)", "p = MatMul(w, av)", "s1 = MatMul(r, kt)"]
    lines += ["[hard] w1 = Softmax<axis = -1>(s1)", "p1 = MatMul(w1, av)", "o = Add(p, p1)"]
    model = graph(lines, INPUTS + PAST + ", float[N,4,S,8] r", PRESENT)
    made, seen, notes = rewritten(model)
    assert [item.has_cache for item in seen] == [True, True]
    assert notes == (
        "1 of 2 attentions became EdgekitAttention",
        "1 of 2 attentions stay as they are: its cache is that of another attention too",
    )
    feeds = arrays(model, SIZES[0])
    for got, want in zip(
        evaluator(made).run(None, feeds), plain_session(model.SerializeToString()).run(None, feeds), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("outputs", [PRESENT, "float[N,4,S,6] o"])
def test_a_cache(outputs):
    node, item = taken(cached(outputs=outputs))
    assert (item.has_cache, field(node, "scale")) == (True, 0.5)
    assert list(node.input[:3]) + list(node.input[5:7]) == ["q", "k", "v", "pk", "pv"]
    assert list(node.output) == ["o", "ak", "av"]


def test_who_reads_a_cache_early_is_sorted_behind():
    early = [JOINED[0], "z = ReduceMax(ak)", *CACHED[1:]]
    lines = [*early, "[soft] w = Softmax<axis = -1>(s)", "o = MatMul(w, av)"]
    outputs = "float[N,4,S,6] o, float[1,1,1,1] z"
    _, item = taken(graph(lines, INPUTS + PAST, outputs))
    assert item.has_cache


def test_a_cache_that_its_own_mask_asks_for_stays_joined():
    """The mask needs to know how long the joined keys are: the operator that joins them cannot come first."""
    mask = ["na = Shape<start = 2, end = 3>(ak)", "sa = Squeeze(na)", "cols = Range(none, sa, one)"]
    mask += ["m = Less(cols, sa)", "t = Where(m, s, lowest)"]
    _, item = taken(cached(*mask))
    assert not item.has_cache


def test_only_keys_are_joined():
    lines = [*CACHED[:1], *CACHED[2:], PLAIN[2], PLAIN[3]]
    inputs = "float[N,4,S,8] q, float[N,4,T,8] k, float[N,4,A,6] v, float[N,4,P,8] pk"
    model = graph(lines, inputs)
    feeds = arrays(model, {**SIZES[0], "A": 11})
    _, item = taken(model, [feeds])
    assert not item.has_cache


BEHIND = [*RULER[:2], "np = Shape<start = 2, end = 3>(pk)", "p = Squeeze(np)", "rows0 = Range(none, sq, one)"]
BEHIND += ["rows1 = Add(rows0, p)", "rows = Unsqueeze(rows1, second)", "all = Add(p, sq)"]
BEHIND += ["cols = Range(none, all, one)"]


ROWS = {
    "moved by P": (["n = Identity(rows)"], True),
    "moved by P of the values": (
        ["at = Constant<value = int64 {2}>()", "nv = Shape(pv)", "p2 = Gather(nv, at)", "r = Add(p2, rows0)",
         "n = Unsqueeze(r, second)"], True),
    "moved by P + S - S": (["a = Sub(all, sq)", "r = Add(rows0, a)", "n = Unsqueeze(r, second)"], True),
    "moved by one more": (["n = Add(rows, one)"], False),
    "moved by S": (["r = Add(rows0, sq)", "n = Unsqueeze(r, second)"], False),
    "not moved": (["n = Unsqueeze(rows0, second)"], False),
}  # fmt: skip


@pytest.mark.parametrize("form", ROWS)
def test_a_causal_mask_behind_a_past(form):
    """Queries stand at P + i; anything else stays a mask."""
    lines, causal = ROWS[form]
    model = cached(*BEHIND, *lines, "m = LessOrEqual(cols, n)", "t = Where(m, s, lowest)", inputs=SQUARE + PAST)
    node, item = taken(model)
    assert (item.causal, item.has_cache, field(node, "causal")) == (causal, True, causal)


# Of each part of an attention, the ways to write it; the last line of each makes what the next one reads.
Q_FORMS = [["q1 = Identity(q)"], ["q1 = Mul(q, half)"], ["q0 = Div(q, three)", "q1 = Mul(two, q0)"]]
K_FORMS = [
    ["k1 = Transpose<perm = [0, 1, 3, 2]>(kk)"],
    ["k0 = Mul(kk, half)", "k1 = Transpose<perm = [0, 1, 3, 2]>(k0)"],
    ["k0 = Transpose<perm = [0, 1, 3, 2]>(kk)", "k1 = Div(k0, two)"],
    ["k0 = Transpose<perm = [0, 2, 1, 3]>(kk)", "ka = Mul(k0, half)", "k1 = Transpose<perm = [0, 2, 3, 1]>(ka)"],
    ["k0 = Transpose<perm = [3, 0, 1, 2]>(kk)", "k1 = Transpose<perm = [1, 2, 0, 3]>(k0)"],
]
SCORE_FORMS = [
    ["s1 = Identity(s)"], ["s1 = Mul(s, half)"],
    ["sa = Div(s, two)", "sb = Tanh(sa)", "s1 = Mul(sb, two)"], ["sb = Tanh(s)", "s1 = Mul(sb, three)"],
]  # fmt: skip
MASK_FORMS = [
    ["s2 = Identity(s1)"],
    ["s2 = Add(s1, f)"],
    ["s2 = Where(m, s1, lowest)"],
    ["ma = Not(m)", "s2 = Where(ma, minus, s1)"],
    ["sc = Add(f, s1)", "s2 = Where(m, sc, tenk)"],
    ["sc = Where(m, s1, tenk)", "s2 = Add(sc, f)"],
    [*BEHIND, "c = LessOrEqual(cols, rows)", "s2 = Where(c, s1, lowest)"],
    [*BEHIND, "c = LessOrEqual(cols, rows)", "sc = Where(c, s1, minus)", "s2 = Add(f, sc)"],
    [*BEHIND, "c = Less(cols, rows)", "m2 = Or(c, m)", "s2 = Where(m2, s1, lowest)"],
]
TAIL_FORMS = [["o = MatMul(w, vv)"], ["n = IsNaN(w)", "w1 = Where(n, zero, w)", "o = MatMul(w1, vv)"]]
PAST_FORMS = [
    ["kk = Concat<axis = 2>(pk, k)", "vv = Concat<axis = -2>(pv, v)"],
    ["kk = Concat<axis = -2>(pk, k)", "vv = Concat<axis = 2>(pv, v)", "ask = Shape(kk)"],
    ["kk = Concat<axis = 2>(pk, k)", "va = Concat<axis = 2>(pv, v)", "vv = Identity(va)"],
]


@pytest.mark.parametrize("said", ["P + S", "A", ""])
def test_a_size_that_is_the_sum_of_others(said):
    """A mask over past and new tokens: its length may say so, have a name of its own, or none."""
    model = cached("t = Add(s, m)", inputs=SQUARE + PAST + ", float[N,1,1,A] m")
    (mask,) = [value for value in model.graph.input if value.name == "m"]
    dim = mask.type.tensor_type.shape.dim[3]
    dim.Clear()
    if said:
        dim.dim_param = said
    if not said:
        mask.type.tensor_type.shape.dim[0].Clear()
        mask.type.tensor_type.shape.dim[0].dim_value = 1
    made, (item,), _ = rewritten(model)
    assert item.has_cache
    feeds = arrays(cached("t = Add(s, m)", inputs=SQUARE + PAST + ", float[1,1,1,A] m"), {**SIZES[0], "A": 9})
    wanted = plain_session(model.SerializeToString()).run(None, feeds)
    for got, want in zip(evaluator(made).run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("seed", range(60))
def test_any_of_all_combinations(seed):
    random = np.random.default_rng(seed)
    forms = (PAST_FORMS, Q_FORMS, K_FORMS, [["s = MatMul(q1, k1)"]], SCORE_FORMS, MASK_FORMS)
    lines = [line for form in forms for line in form[random.integers(len(form))]]
    lines += ["[soft] w = Softmax<axis = -1>(s2)", *TAIL_FORMS[random.integers(2)]]
    inputs = SQUARE + PAST + ", bool[N,1,S,A] m, float[1,4,S,A] f"
    model = graph(lines, inputs, "float[N,4,S,6] o, float[N,4,A,8] kk" if seed % 3 else "float[N,4,S,6] o")
    feeds = [arrays(model, {**sizes, "A": sizes["P"] + sizes["S"]}, seed) for sizes in SIZES]
    taken(model, feeds)


GROUPED = "float[N,4,S,8] q, float[N,2,T,8] k, float[N,2,T,6] v"


def repeated(name: str, size: int) -> list[str]:
    """As torch's exporter writes heads that are repeated for their neighbours."""
    return [
        f"{name}1 = Unsqueeze({name}, at)", f"{name}2 = Expand({name}1, wide)",
        f"{name}n = Shape<start = 0, end = 1>({name})", f"{name}len = Shape<start = 2, end = 3>({name})",
        f"{name}d = Constant<value = int64[1] {{{size}}}>()",
        f"{name}s = Concat<axis = 0>({name}n, four, {name}len, {name}d)", f"{name}r = Reshape({name}2, {name}s)",
    ]  # fmt: skip


AT = ["at = Constant<value = int64[1] {2}>()", "wide = Constant<value = int64[5] {1, 1, 2, 1, 1}>()"]
AT += ["four = Constant<value = int64[1] {4}>()"]


def test_heads_that_are_repeated_are_not():
    lines = [*AT, *repeated("k", 8), *repeated("v", 6), "kt = Transpose<perm = [0, 1, 3, 2]>(kr)", *PLAIN[1:3]]
    node, item = taken(graph([*lines, "o = MatMul(w, vr)"], GROUPED))
    assert (item.heads, item.kv_heads, list(node.input[:3])) == (4, 2, ["q", "k", "v"])


def test_heads_that_are_repeated_from_other_numbers_stay():
    lines = [*AT, "all = Constant<value = int64[5] {1, 1, 4, 1, 1}>()", *repeated("k", 8)]
    lines += [line.replace("wide", "all") for line in repeated("v", 6)]
    lines += ["kt = Transpose<perm = [0, 1, 3, 2]>(kr)", *PLAIN[1:3], "o = MatMul(w, vr)"]
    _, item = taken(graph(lines, GROUPED.replace("N,2,T,6", "N,1,T,6")))
    assert (item.heads, item.kv_heads) == (4, 4)


def test_heads_that_are_tiled_stay():
    """Repeated in the other order: head i would be served by head i % 2."""
    lines = [*AT, *repeated("k", 8), *repeated("v", 6), "kt = Transpose<perm = [0, 1, 3, 2]>(kr)", *PLAIN[1:3]]
    text = "\n".join([*lines, "o = MatMul(w, vr)"])
    text = text.replace("{2}>()", "{1}>()").replace("{1, 1, 2, 1, 1}", "{1, 2, 1, 1, 1}")
    _, item = taken(graph(text.split("\n"), GROUPED))
    assert (item.heads, item.kv_heads) == (4, 4)


# Graphs that are none of edgekit's, and why.
LEFT = {
    "scores read twice": (
        with_scores("t = Mul(s, half)", outputs="float[N,4,S,6] o, float[N,4,S,T] s"),
        "its scores are read elsewhere too"),
    "weights read twice": (
        graph(PLAIN, outputs="float[N,4,S,6] o, float[N,4,S,T] w"), "its weights are read elsewhere too"),
    "another axis": (
        graph([line.replace("axis = -1", "axis = 2") for line in PLAIN]), "its softmax is over axis 2, not the last"),
    "a mask that makes more of it": (
        with_scores("t = Add(s, m)", inputs="float[1,4,S,8] q, float[1,4,T,8] k, float[1,4,T,6] v, float[N,1,S,T] m"),
        "a mask makes its scores larger, or has unknown sizes"),
    "a number that is not low": (
        with_scores("t = Where(m, s, some)", inputs=INPUTS + ", bool[N,1,1,T] m"),
        "its masked scores become something else than a lowest number"),
    "scaled behind a mask": (
        with_scores("t = Add(s, m)", "u = Mul(t, half)", inputs=INPUTS + ", float[N,1,1,T] m"),
        "its scores are scaled by what is no constant, or behind a mask"),
    "a difference": (with_scores("t = Sub(s, three)"), "Sub stands before its softmax"),
    "a softcap without its end": (with_scores("t = Tanh(s)"), "Tanh stands before its softmax"),
    "one k for all batches": (
        graph(PLAIN, inputs=INPUTS.replace("N,4,T,8", "1,4,T,8")), "batches or heads of its operands differ"),
    "one head of k": (
        graph(PLAIN, inputs=INPUTS.replace("N,4,T,8", "N,1,T,8")), "batches or heads of its operands differ"),
    "three axes": (
        graph([line.replace("0, 1, 3, 2", "0, 2, 1") for line in PLAIN],
              "float[N,S,8] q, float[N,T,8] k, float[N,T,6] v", "float[N,S,6] o"),
        "its products have 3 axes, not 4"),
    "weights behind": (
        graph([*PLAIN[:3], "o = MatMul(x, w)"], INPUTS + ", float[N,4,6,S] x", "float[N,4,6,T] o"),
        "no product with values is behind its softmax"),
    "a bias of double": (
        graph([*PLAIN[:2], "d = Cast<to = 11>(s)", "t = Add(d, m)", "[soft] w = Softmax<axis = -1>(t)",
               "f = Cast<to = 1>(w)", "o = MatMul(f, v)"], INPUTS + ", double[N,1,1,T] m"),
        "Cast stands before its softmax"),
    "double": (
        graph(PLAIN, INPUTS.replace("float", "double"), "double[N,4,S,6] o"),
        "its operands are not all of FP32, FP16 or BF16"),
    "a dropout of training": (
        graph([*PLAIN[:3], "yes = Constant<value = bool {1}>()", "d = Dropout(w, half, yes)", "o = MatMul(d, v)"]),
        "Dropout stands behind its softmax"),
}  # fmt: skip


@pytest.mark.parametrize("form", LEFT)
def test_what_is_left(form):
    left(*LEFT[form])


@pytest.mark.parametrize("place", ["q", "k", "v", "w"])
def test_quantized_operands_are_left(place):
    pair = [f"{place}q = QuantizeLinear({place}, half, nought)", f"{place}f = DequantizeLinear({place}q, half, nought)"]
    lines = ["nought = Constant<value = int8 {0}>()", *PLAIN]
    at = 1 if place != "w" else 4
    lines = [
        *lines[:at],
        *pair,
        *(line.replace(f"({place}", f"({place}f").replace(f", {place})", f", {place}f)") for line in lines[at:]),
    ]
    reason = "QuantizeLinear stands behind its softmax" if place == "w" else "its operands are quantized"
    left(graph(lines), reason)


def test_a_dropout_that_is_idle():
    taken(graph([*PLAIN[:3], "d = Dropout(w, half)", "o = MatMul(d, v)"]))


def test_a_single_batch_may_share_k_and_v():
    """Sizes that are fixed cannot turn out to be others."""
    taken(graph(PLAIN, "float[1,4,S,8] q, float[1,4,T,8] k, float[1,4,T,6] v", "float[1,4,S,6] o"))


def test_an_old_softmax():
    """Before opset 13 axis 3 of four is the last too, and 1 is what is not said."""
    old = [line.replace("axis = -1", "axis = 3") for line in PLAIN]
    taken(graph(old, opset=11))
    left(
        graph([line.replace("<axis = -1>", "") for line in PLAIN], opset=11), "its softmax is over axis 1, not the last"
    )


def test_a_model_without_attention_stays():
    model = graph(["o = Softmax(q)"], "float[N,4,S,6] q")
    before = model.SerializeToString()
    made = attention_to_plugin(model, lambda item: "")
    assert made.model is model
    assert (made.modified, made.notes) == (False, ())
    assert model.SerializeToString() == before


def test_one_is_taken_and_one_left():
    lines = [
        *PLAIN[:3],
        "p = MatMul(w, v)",
        "s1 = MatMul(p, kt)",
        "[hard] w1 = Softmax<axis = -1>(s1)",
        "o = MatMul(w1, v)",
    ]
    model = graph(lines, INPUTS.replace("T,6", "T,8"), "float[N,4,S,8] o")
    made = attention_to_plugin(model, lambda item: "too hard" if item.name == "hard" else "")
    assert made.notes == (
        "1 of 2 attentions became EdgekitAttention", "1 of 2 attentions stay as they are: too hard",
    )  # fmt: skip
    assert [node.op_type for node in model.graph.node] == [
        "Transpose",
        "EdgekitAttention",
        "MatMul",
        "Softmax",
        "MatMul",
    ]
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20, "edgekit": 1}


# Attention nodes of ONNX: attributes, more inputs, the opset.
NODES = {
    "three axes": (
        "q_num_heads = 4, kv_num_heads = 2",
        "",
        "float[N,S,32] q, float[N,T,16] k, float[N,T,12] v",
        "float[N,S,24] o",
        23,
    ),
    "a mask": ("scale = 0.3", ", m", INPUTS + ", bool[N,1,S,T] m", "float[N,4,S,6] o", 23),
    "a softcap": ("softcap = 2.0", "", INPUTS, "float[N,4,S,6] o", 23),
    "a causal one": ("is_causal = 1", "", INPUTS, "float[N,4,S,6] o", 23),
}


@pytest.mark.parametrize("form", NODES)
def test_an_attention_node(form):
    attributes, more, inputs, outputs, opset = NODES[form]
    model = graph([f"[soft] o = Attention<{attributes}>(q, k, v{more})"], inputs, outputs, opset)
    _, item = taken(model)
    assert (item.form, item.head_size, item.value_size) == (NODE, 8, 6)


@pytest.mark.parametrize("causal", [0, 1])
def test_joined_keys_of_an_attention_node(causal):
    """They are a cache, but where the node is causal: without a past of its own it counts from the first key."""
    lines = [*JOINED, f"[soft] o = Attention<is_causal = {causal}>(q, ak, av)"]
    node, item = taken(graph(lines, INPUTS + PAST, PRESENT, 23))
    assert (item.has_cache, item.causal) == (not causal, bool(causal))
    assert field(node, "causal") == causal


@pytest.mark.parametrize("opset", [23, pytest.param(24, marks=needs_opset_24)])
def test_a_past_of_an_attention_node(opset):
    """From opset 24 on the mask might end before the keys, of which no one knows the number."""
    lines = ["[soft] o, ak, av = Attention<is_causal = 1>(q, k, v, m, pk, pv)"]
    model = graph(lines, INPUTS + PAST + ", bool[S,M] m", PRESENT, opset)
    feeds = [arrays(model, {**sizes, "M": sizes["P"] + sizes["T"]}) for sizes in SIZES]
    node, item = taken(model, feeds)
    assert (item.has_cache, item.causal, list(node.output)) == (True, True, ["o", "ak", "av"])
    made, _, _ = rewritten(model)
    assert ("Pad" in {node.op_type for node in made.graph.node}) == (opset == 24)
    if opset == 24:
        cut = [{**given, "m": given["m"][:, :-1]} for given in feeds]
        for given, short in zip(feeds, cut, strict=True):
            given["m"][:, -1] = False
            wanted = plain_session(model.SerializeToString()).run(None, given)
            for got, want in zip(evaluator(made).run(None, short), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("line", "inputs", "reason"),
    [
        ("o, , , s = Attention(q, k, v)", INPUTS, "the scores are an output of it"),
        ("o = Attention<softmax_precision = 11>(q, k, v)", INPUTS, "its softmax is of double precision"),
        ("o = Attention(q, k, v)", INPUTS.replace("S,8", "S,D").replace("T,8", "T,D"), "its head size is unknown"),
        ("o = Attention(q, k, v)", INPUTS.replace("float", "double"), "its operands are not all of FP32, FP16 or BF16"),
    ],
)
def test_an_attention_node_that_is_left(line, inputs, reason):
    kind = "double" if "double" in inputs else "float"
    left(graph([f"[soft] {line}"], inputs, f"{kind}[N,4,S,6] o", 24), reason)
