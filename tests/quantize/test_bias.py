"""Bias correction: after it, the mean of every output channel is FP32's, as torch and NumPy compute it in float64."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.quantize.bias import correct_bias  # noqa: E402
from edgekit.quantize.observers import Seen, Statistics  # noqa: E402
from tests.quantize.graphs import (  # noqa: E402
    Arrays,
    copy_of,
    count,
    graph,
    layers_of,
    node,
    run,
    seen,
    value,
    weights_of,
)

FLOAT = onnx.TensorProto.FLOAT
IMAGES, ROWS, STEPS = value("x", "batch", 4, 6, 6), value("x", "batch", 6), value("x", "batch", "time", 6)


def uneven(*shape: int, seed: int = 0) -> np.ndarray:
    """As behind a ReLU: positive, so that no mean is near zero."""
    return np.abs(np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rolled(channels: int) -> np.ndarray:
    """A picture [1,C,6,6] in all 36 positions: every pixel has the same mean, as what is said of padding wants it."""
    picture = uneven(1, channels, 6, 6, seed=1)
    return np.concatenate([np.roll(picture, (down, right), (2, 3)) for down in range(6) for right in range(6)])


def coarse(weight: np.ndarray) -> np.ndarray:
    """Seven levels: what they lose is easily seen."""
    step = np.float32(np.abs(weight).max() / 3)
    return np.rint(weight / step) * step


def corrected(model: onnx.ModelProto, feeds: Arrays, statistics: Statistics | None = None) -> onnx.ModelProto:
    """The model with coarse weights in its layers, and biases that make up for them."""
    changed, layers, weights = copy_of(model), layers_of(model), weights_of(model)
    errors = {layer.node: weights[layer.weight] - coarse(weights[layer.weight]) for layer in layers}
    for layer in layers:
        tensor = next(item for item in changed.graph.initializer if item.name == layer.weight)
        tensor.CopyFrom(onnx.numpy_helper.from_array(coarse(weights[layer.weight]), layer.weight))
    correct_bias(changed, layers, statistics or seen(model, feeds), errors)
    return changed


def uncorrected(model: onnx.ModelProto, feeds: Arrays) -> onnx.ModelProto:
    nothing = {layer.activation: Seen() for layer in layers_of(model)}
    return corrected(model, feeds, Statistics(nothing))


def check(model: onnx.ModelProto, feeds: Arrays, name: str, exact: np.ndarray, axis: int) -> onnx.ModelProto:
    """`exact` is what FP32 would give, in float64; channels at `axis`. Returns the corrected model."""
    others = tuple(other for other in range(exact.ndim) if other != axis % exact.ndim)
    wanted = exact.mean(axis=others)
    changed = corrected(model, feeds)
    np.testing.assert_allclose(run(changed, feeds)[name].mean(axis=others, dtype=float), wanted, atol=2e-5)
    before = run(uncorrected(model, feeds), feeds)[name].mean(axis=others, dtype=float)
    assert np.abs(before - wanted).max() > 0.01, "there was something to correct"
    return changed


# kernel [O, I / groups, ...] for four channels, groups, whether there is a bias
CONVOLUTIONS = {
    "1x1": ((5, 4, 1, 1), 1, True),
    "3x3": ((5, 4, 3, 3), 1, True),
    "3x3, no bias": ((5, 4, 3, 3), 1, False),
    "two groups": ((6, 2, 3, 3), 2, True),
    "depthwise": ((4, 1, 3, 3), 4, True),
    "depthwise, three a channel": ((12, 1, 3, 3), 4, False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    shape, groups, has_bias = CONVOLUTIONS[name]
    kernel, bias, x = normal(*shape), normal(shape[0], seed=3), rolled(4)
    made = [node("Conv", "x k b" if has_bias else "x k", "y", group=groups)]
    model = graph(made, [IMAGES], ["y"], {"k": kernel} | ({"b": bias} if has_bias else {}))
    given = [torch.from_numpy(array).double() for array in (x, kernel, bias)]
    exact = torch.nn.functional.conv2d(*given[: 2 + has_bias], groups=groups).numpy()
    changed = check(model, {"x": x}, "y", exact, 1)
    assert [item.op_type for item in changed.graph.node] == ["Conv"]


def test_a_convolution_over_time_with_strides():
    row, kernel = uneven(1, 2, 8), normal(3, 2, 2)
    x = np.concatenate([np.roll(row, by, 2) for by in range(8)])
    model = graph([node("Conv", "x k", "y", strides=[2])], [value("x", "batch", 2, 8)], ["y"], {"k": kernel})
    exact = np.einsum("oik,nitk->not", kernel.astype(float), x.reshape(8, 2, 4, 2).astype(float))
    check(model, {"x": x}, "y", exact, 1)


W, B = normal(6, 5), normal(5, seed=3)
X, S = uneven(40, 6, seed=2), uneven(8, 5, 6, seed=2)


@pytest.mark.parametrize("third", ["b", "", "-"])
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm(turned, third):
    """`-`: a third input that is left out by an empty name."""
    made = [node("Gemm", f"x w {third}", "y", transB=turned)]
    weights = {"w": W.T.copy() if turned else W} | ({"b": B} if third == "b" else {})
    exact = X.astype(float) @ W + (B if third == "b" else 0)
    changed = check(graph(made, [ROWS], ["y"], weights), {"x": X}, "y", exact, 1)
    assert [item.op_type for item in changed.graph.node] == ["Gemm"]


PRODUCT = node("MatMul", "x w", "m")
EXACT = S.astype(float) @ W


@pytest.mark.parametrize("inputs", ["m b", "b m"])
def test_a_product_with_its_bias_behind_it(inputs):
    """No node more: the bias is in the Add already."""
    model = graph([PRODUCT, node("Add", inputs, "y")], [STEPS], ["y"], {"w": W, "b": B})
    changed = check(model, {"x": S}, "y", EXACT + B, -1)
    assert [item.op_type for item in changed.graph.node] == ["MatMul", "Add"]


def in_a_branch() -> onnx.NodeProto:
    def branch(name: str) -> onnx.GraphProto:
        return onnx.helper.make_graph([node("Neg", "m", name)], name, [], [value(name, "batch", "time", 5)])

    return node("If", "go", "z", then_branch=branch("p"), else_branch=branch("q"))


# The other readers of the product, the outputs, and what they hold of the product's exact value.
BEHIND = {
    "nothing": ([], {"m": EXACT}),
    "another node": ([node("Neg", "m", "y")], {"y": -EXACT}),
    "the bias, and it is an output": ([node("Add", "m b", "y")], {"y": EXACT + B, "m": EXACT}),
    "the bias and another": ([node("Add", "m b", "y"), node("Neg", "m", "z")], {"y": EXACT + B, "z": -EXACT}),
    "the bias and a branch": ([node("Add", "m b", "y"), in_a_branch()], {"y": EXACT + B, "z": -EXACT}),
    "a bias of more axes": ([node("Add", "m b1", "y")], {"y": EXACT + B}),
    "itself": ([node("Add", "m m", "y")], {"y": 2 * EXACT}),
    "an activation": ([node("Add", "m x5", "y")], {"y": EXACT + S[..., :5]}),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_product_gets_a_bias_of_its_own(name):
    readers, wanted = BEHIND[name]
    slicing = [node("Slice", "x from to last", "x5")] if name == "an activation" else []
    more = {"b": B, "b1": B[None], "go": np.array(True)}
    more |= {key: np.array([at]) for key, at in {"from": 0, "to": 5, "last": 2}.items()}
    model = graph([PRODUCT, *slicing, *readers], [STEPS], list(wanted), {"w": W} | more)
    for out, exact in wanted.items():
        changed = check(model, {"x": S}, out, exact, -1)
    assert count(changed, "Add") == count(model, "Add") + 1


def test_shared_biases_are_parted():
    """Two convolutions read one bias, and so does a node that has nothing to do with them."""
    made = [node("Conv", "x k b", "y"), node("Conv", "x l b", "z"), node("Neg", "b", "c")]
    kernels = {"k": normal(5, 4, 1, 1), "l": normal(5, 4, 1, 1, seed=4)}
    model, x = graph(made, [IMAGES], "yzc", kernels | {"b": B}), rolled(4)
    for out, kernel in zip("yz", kernels.values(), strict=True):
        exact = np.einsum("oi,nihw->nohw", kernel[..., 0, 0].astype(float), x) + B[:, None, None]
        changed = check(model, {"x": x}, out, exact, 1)
    np.testing.assert_array_equal(run(changed, {"x": x})["c"], -B)


def test_one_bias_behind_two_products():
    made = [PRODUCT, node("MatMul", "x v", "n"), node("Add", "m b", "y"), node("Add", "n b", "z")]
    model = graph(made, [STEPS], "yz", {"w": W, "v": W[::-1].copy(), "b": B})
    check(model, {"x": S}, "y", EXACT + B, -1)
    changed = check(model, {"x": S}, "z", S.astype(float) @ W[::-1] + B, -1)
    assert count(changed, "Add") == 2


COMPUTED = [node("Abs", "b", "c"), node("Gemm", "x w c", "y")]
# What stays as it is: nodes, the input and what is in it, and the weights.
LEFT = {
    "a scaled product": ([node("Gemm", "x w b", "y", alpha=0.5)], (ROWS, X), {"w": W, "b": B}),
    "a scaled bias": ([node("Gemm", "x w b", "y", beta=2.0)], (ROWS, X), {"w": W, "b": B}),
    "a computed bias": (COMPUTED, (ROWS, X), {"w": W, "b": B}),
    "one bias for all": ([node("Gemm", "x w b", "y")], (ROWS, X), {"w": W, "b": B[:1]}),
    "a transposed convolution": ([node("ConvTranspose", "x k", "y")], (IMAGES, rolled(4)), {"k": normal(4, 3, 2, 2)}),
    "a stack of weights": ([node("MatMul", "x w", "y")], (value("x", 3, "time", 6), S[:3]), {"w": normal(3, 6, 5)}),
    "a weight that is met exactly": ([node("MatMul", "x w", "y")], (STEPS, S), {"w": np.eye(6, 5, dtype=np.float32)}),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_stays(name):
    made, (tensor, x), weights = LEFT[name]
    model = graph(made, [tensor], ["y"], weights)
    assert corrected(model, {"x": x}) == uncorrected(model, {"x": x})


@pytest.mark.parametrize("axis", [1, -1])
def test_the_channels_of_another_reader_say_nothing(axis):
    """[N,C,L] with C = L, read by a convolution and a product: only one of the two axes was looked at."""
    made = [node("Conv", "x k", "y"), node("MatMul", "x w", "z")]
    weights = {"k": normal(3, 6, 1), "w": W}
    model = graph(made, [value("x", "batch", 6, 6)], "yz", weights)
    x = uneven(8, 6, 6) * np.arange(1, 7, dtype=np.float32)
    feeds = {"x": x}
    changed, plain = corrected(model, feeds, seen(model, feeds, x=axis)), uncorrected(model, feeds)
    found, before = run(changed, feeds), run(plain, feeds)
    for out, at, exact in (("y", 1, np.einsum("oi,nil->nol", weights["k"][..., 0], x)), ("z", -1, x @ W)):
        others = (0, 2) if at == 1 else (0, 1)
        if at == axis:
            np.testing.assert_allclose(found[out].mean(axis=others), exact.mean(axis=others), atol=1e-4)
        else:
            np.testing.assert_array_equal(found[out], before[out])
