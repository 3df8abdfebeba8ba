"""The work of a model against torch's counter, torchvision's own figures and its weights; bounds against a max flow."""

from __future__ import annotations

import copy
import functools
import io
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper  # noqa: E402

from edgekit.rewrite.traffic import ModelWork, model_work  # noqa: E402
from tests.quantize.qdq_cases import Maker  # noqa: E402

FLOAT, HALF, INT64 = 4, 2, 8


def image(batch: int) -> Any:
    torch = pytest.importorskip("torch")
    return (torch.randn(batch, 3, 224, 224),)


def text(batch: int) -> Any:
    torch = pytest.importorskip("torch")
    return torch.zeros(batch, 16, dtype=torch.int64), torch.ones(batch, 16, dtype=torch.int64)


def of_torchvision(name: str) -> Any:
    return getattr(pytest.importorskip("torchvision").models, name)()


def of_edgekit(name: str) -> Any:
    pytest.importorskip("transformers")
    from edgekit.export.source import load_network

    return load_network(name, None).module


NETWORKS: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
    "alexnet": (lambda: of_torchvision("alexnet"), image),
    "resnet18": (lambda: of_torchvision("resnet18"), image),
    "mobilenet_v2": (lambda: of_torchvision("mobilenet_v2"), image),
    "vit_small": (lambda: of_edgekit("vit_small"), image),
    "bert_classifier": (lambda: of_edgekit("bert_classifier"), text),
}


def exported(module: Any, inputs: tuple[Any, ...]) -> Any:
    """By torch's older exporter, which takes a second where edgekit's checks take five."""
    torch = pytest.importorskip("torch")
    file, names = io.BytesIO(), ["a", "b"][: len(inputs)]
    axes = {name: {0: "batch"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, inputs, file, dynamo=False, input_names=names, dynamic_axes=axes, opset_version=17, verbose=False
        )
    return onnx.load_model_from_string(file.getvalue())


@functools.cache
def network(name: str) -> tuple[Any, Any]:
    """The module and its ONNX, made once for all tests of this file."""
    make, inputs = NETWORKS[name]
    module = make().eval()
    return module, exported(module, inputs(1))


def on_meta(name: str, batch: int) -> tuple[Any, tuple[Any, ...]]:
    """The module and inputs without numbers: its operators cost nothing."""
    return copy.deepcopy(network(name)[0]).to("meta"), tuple(item.to("meta") for item in NETWORKS[name][1](batch))


def counted(module: Any, inputs: tuple[Any, ...]) -> int:
    """FLOP by torch's counter, which watches the operators; on `meta` they have shapes and no numbers.

    Attention in the form that it sees as products.
    """
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    math_form = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), math_form:
        module(*inputs)
    return int(counter.get_total_flops())


def sizes_of(inputs: tuple[Any, ...]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in zip("ab", inputs, strict=False)}


def matrix_bytes(module: Any) -> int:
    return sum(FLOAT * item.numel() for item in module.parameters() if item.ndim > 1)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_flops_are_those_that_torch_counts(name, batch):
    module, inputs = on_meta(name, batch)
    work = model_work(network(name)[1], sizes_of(inputs))
    assert work.total_flops == counted(module, inputs)
    assert list(work.flops) == ["fp32"]
    assert (work.fastest, work.unsized) == ("fp16", ())


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "mobilenet_v2"])
def test_convolutional_networks_against_what_torchvision_publishes(name):
    """GFLOPS there are 10^9 multiply-adds; the parameters are all of the checkpoint's, we leave out the vectors."""
    models = pytest.importorskip("torchvision").models
    module, model = network(name)
    meta = models.get_model_weights(name).DEFAULT.meta
    work = model_work(model, {"a": (1, 3, 224, 224)})
    assert work.total_flops / 2e9 == pytest.approx(meta["_ops"], abs=0.0006)
    vectors = sum(FLOAT * item.numel() for item in module.parameters() if item.ndim == 1)
    assert work.weight_bytes == FLOAT * meta["num_params"] - vectors == matrix_bytes(module)
    assert (work.input_bytes, work.output_bytes) == (FLOAT * 3 * 224 * 224, FLOAT * 1000)


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "mobilenet_v2"])
def test_of_a_convolution_one_product_for_each_output_is_certain(name):
    torch = pytest.importorskip("torch")
    module, inputs = on_meta(name, 2)
    least = []

    def note(layer: Any, _: Any, output: Any) -> None:
        inner = layer.in_channels // layer.groups if isinstance(layer, torch.nn.Conv2d) else layer.in_features
        least.append(2 * output.numel() * inner)

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    hooks = [layer.register_forward_hook(note) for layer in module.modules() if isinstance(layer, kinds)]
    with torch.no_grad():
        module(*inputs)
    for hook in hooks:
        hook.remove()
    assert model_work(network(name)[1], sizes_of(inputs)).least_flops == sum(least)


def test_weights_of_transformers_are_what_is_multiplied():
    """Of a ViT not the class token and the positions, which are added; of BERT one row of each embedding."""
    module, model = network("vit_small")
    added = sum(FLOAT * item.numel() for name, item in module.named_parameters() if "token" in name or "pos" in name)
    assert model_work(model, sizes_of(image(1))).weight_bytes == matrix_bytes(module) - added
    module, model = network("bert_classifier")
    work = model_work(model, sizes_of(text(3)))
    tables = [layer.weight for layer in module.modules() if type(layer).__name__ == "Embedding"]
    assert len(tables) == 3
    rest = matrix_bytes(module) - sum(FLOAT * table.numel() for table in tables)
    rows = work.weight_bytes - rest
    assert rows % (FLOAT * tables[0].shape[1]) == 0
    assert FLOAT * tables[0].shape[1] <= rows <= len(tables) * FLOAT * tables[0].shape[1]
    assert work.input_bytes == INT64 * 3 * 16, "the tokens; a mask is not multiplied"


def test_an_lstm_against_its_products_one_by_one():
    """torch's counter does not know aten::lstm: it watches products that give the same numbers."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(40, 64, 2, batch_first=True).eval()

    def by_hand(x: Any) -> Any:
        for layer in range(2):
            w, r, b, c = (
                getattr(lstm, f"{part}_l{layer}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h, cell, made = x.new_zeros(len(x), 64), x.new_zeros(len(x), 64), []
            for step in range(x.shape[1]):
                gates = torch.nn.functional.linear(x[:, step], w, b) + torch.nn.functional.linear(h, r, c)
                i, f, g, o = gates.chunk(4, 1)
                cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
                h = o.sigmoid() * cell.tanh()
                made.append(h)
            x = torch.stack(made, 1)
        return x

    model = exported(lstm, (torch.randn(2, 9, 40),))
    for batch in (1, 3):
        x = torch.randn(batch, 9, 40)
        with torch.no_grad():
            torch.testing.assert_close(by_hand(x), lstm(x)[0])
        work = model_work(model, {"a": (batch, 9, 40)})
        assert work.total_flops == work.least_flops == counted(by_hand, (x,))
        assert work.weight_bytes == matrix_bytes(lstm)
        assert work.input_bytes == FLOAT * batch * 9 * 40


def of(maker: Maker, out: list[Any], shape: list[Any] | None = None, **more: Any) -> ModelWork:
    model = maker.model(shape or [4, 32], out, **more)
    before = model.SerializeToString()
    work = model_work(model, {})
    assert model.SerializeToString() == before
    return work


def test_int8_counts_as_it_is_stored():
    maker = Maker()
    x = maker.pair("x")
    weight = maker.stored("w", maker.random.normal(size=(32, 16)).astype(np.float32), axis=1)
    maker.add("MatMul", [x, weight])
    work = of(maker, [4, 16])
    assert work.weight_bytes == 32 * 16 + 16 * FLOAT + 16
    assert work.flops == {"int8": 2 * 4 * 32 * 16}
    assert work.fastest == "int8"
    assert (work.input_bytes, work.output_bytes) == (FLOAT * 4 * 32, FLOAT * 4 * 16)
    assert work.bytes == work.weight_bytes + FLOAT * 4 * 48


def test_a_weight_may_stand_on_either_side():
    maker = Maker()
    maker.weight("w", 16, 4)
    maker.add("MatMul", ["w", "x"])
    work = of(maker, [16, 32])
    assert work.weight_bytes == FLOAT * 16 * 4
    assert work.least_flops == work.total_flops == 2 * 16 * 4 * 32
    assert work.input_bytes == FLOAT * 4 * 32


def test_weights_that_are_quantized_in_the_graph_count_as_what_they_become():
    maker = Maker()
    maker.weight("w", 32, 16)
    maker.add("MatMul", ["x", maker.pair("w", zero=None)])
    assert of(maker, [4, 16]).weight_bytes == 32 * 16


@pytest.mark.parametrize(
    ("kind", "opset", "fastest"), [("INT4", 21, "fp16"), ("UINT4", 21, "fp16"), ("FLOAT4E2M1", 23, "fp4")]
)
def test_four_bits_are_packed(kind, opset, fastest):
    maker = Maker()
    maker.tensors["s"] = np.ones((1, 15), np.float32)
    maker.add("DequantizeLinear", ["w", "s"], "w_dq", axis=0, block_size=33)
    maker.add("MatMul", ["x", "w_dq"])
    model = maker.model([4, 33], [4, 15], opset=opset)
    stored = helper.make_tensor("w", getattr(T, kind), [33, 15], np.ones(33 * 15, np.float32))
    model.graph.initializer.append(stored)
    model.ir_version = 11
    work = model_work(model, {})
    assert work.weight_bytes == math.ceil(33 * 15 / 2) + 15 * FLOAT
    assert work.fastest == fastest


def test_half_precision_by_type_and_by_a_cast():
    maker = Maker()
    maker.tensors["w"] = maker.random.normal(size=(32, 16)).astype(np.float16)
    maker.add("MatMul", ["x", "w"])
    stored = of(maker, [4, 16], kind=T.FLOAT16)
    assert (stored.weight_bytes, stored.input_bytes, stored.output_bytes) == (HALF * 512, HALF * 128, HALF * 64)
    assert stored.flops == {"fp16": 2 * 4 * 32 * 16}
    maker = Maker()
    maker.weight("w", 32, 16)
    maker.add("Cast", ["w"], "half", to=T.FLOAT16)
    maker.add("MatMul", ["x", "half"])
    assert of(maker, [4, 16], kind=T.FLOAT16).weight_bytes == HALF * 512, "a builder folds the cast"


def test_a_part_of_a_weight_counts_as_that_part():
    maker = Maker()
    maker.weight("w", 320, 16)
    maker.tensors |= {"from": np.array([0]), "to": np.array([32])}
    maker.add("Slice", ["w", "from", "to"], "part")
    maker.add("MatMul", ["x", "part"])
    assert of(maker, [4, 16]).weight_bytes <= FLOAT * 32 * 16
    assert of(maker, [4, 16]).weight_bytes > FLOAT * 32 * 16 - 32


def test_tied_weights_count_once():
    maker = Maker()
    maker.weight("table", 100, 32)
    maker.add("Gather", ["table", "x"], "rows")
    maker.add("Transpose", ["table"], "turned", perm=[1, 0])
    maker.add("MatMul", ["rows", "turned"], "scores")
    maker.add("Cast", ["scores"], "y", to=T.INT64)
    work = of(maker, [4, 6, 100], [4, 6], kind=T.INT64)
    assert work.weight_bytes == FLOAT * 100 * 32
    assert work.input_bytes == INT64 * 4 * 6, "indices are read whole"
    twice = Maker()
    twice.weight("w", 32, 16)
    twice.add("MatMul", ["x", "w"], "a")
    twice.add("MatMul", ["x", "w"], "b")
    twice.add("Add", ["a", "b"])
    assert of(twice, [4, 16]).weight_bytes == FLOAT * 512


def test_of_an_embedding_one_row_is_certain():
    maker = Maker()
    maker.weight("table", 100, 32)
    maker.add("Gather", ["table", "x"], "rows")
    maker.add("Cast", ["rows"], "y", to=T.INT64)
    assert of(maker, [4, 6, 32], [4, 6], kind=T.INT64).weight_bytes == FLOAT * 32


def test_what_follows_from_constants_is_folded():
    """A low-rank change of a weight: its product is no work, and the sum is all that need be kept."""
    maker = Maker()
    for name, shape in (("w", (32, 16)), ("b", (32, 2)), ("a", (2, 16))):
        maker.weight(name, *shape)
    maker.add("MatMul", ["b", "a"], "change")
    maker.add("Add", ["w", "change"], "sum")
    maker.add("MatMul", ["x", "sum"])
    work = of(maker, [4, 16])
    assert work.weight_bytes == FLOAT * 512
    assert work.total_flops == work.least_flops == 2 * 4 * 32 * 16


def test_what_no_output_needs_is_no_work():
    maker = Maker()
    maker.weight("w", 32, 16)
    maker.weight("v", 32, 64)
    maker.add("MatMul", ["x", "v"], "unused")
    maker.add("MatMul", ["x", "w"])
    work = of(maker, [4, 16])
    assert (work.weight_bytes, work.total_flops) == (FLOAT * 512, 2 * 4 * 32 * 16)


def test_products_of_two_computed_values_are_work_that_a_mask_may_save():
    maker = Maker()
    maker.add("Transpose", ["x"], "turned", perm=[1, 0])
    maker.add("MatMul", ["x", "turned"])
    work = of(maker, [4, 4])
    assert (work.total_flops, work.least_flops, work.weight_bytes) == (2 * 4 * 32 * 4, 0, 0)


def test_rows_that_end_early_are_not_certain():
    maker = Maker()
    maker.weight("w", 1, 64, 8)
    maker.weight("r", 1, 64, 16)
    maker.tensors |= {"lengths": np.array([5, 2], np.int32)}
    maker.add("LSTM", ["x", "w", "r", "", "lengths"], "y", hidden_size=16)
    work = of(maker, [5, 1, 2, 16], [5, 2, 8])
    assert work.total_flops == 2 * 5 * 2 * (64 * 8 + 64 * 16)
    assert (work.least_flops, work.input_bytes) == (0, 0)
    assert work.weight_bytes == FLOAT * (64 * 8 + 64 * 16)


def test_what_may_not_run_does_not_count():
    """A branch of an If is not certain; onnx does not say how large its products are, so they are named."""
    value = helper.make_tensor_value_info("b", T.FLOAT, [4, 16])
    weight = onnx.numpy_helper.from_array(np.ones((32, 16), np.float32), "w")
    branch = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["b"], "inner")], "g", [], [value], [weight])
    maker = Maker()
    maker.tensors["zero"] = np.zeros((), np.float32)
    maker.add("ReduceSum", ["x"], "sum", keepdims=0)
    maker.add("Greater", ["sum", "zero"], "is")
    maker.add("If", ["is"], "y", then_branch=branch, else_branch=branch)
    work = of(maker, [4, 16])
    assert (work.total_flops, work.weight_bytes, work.input_bytes) == (0, 0, 0)
    assert work.output_bytes == FLOAT * 4 * 16


@pytest.mark.parametrize(
    ("stride", "dilation", "size", "whole"), [(1, 1, 1, True), (2, 1, 1, False), (2, 1, 3, True), (2, 2, 3, False)]
)
def test_a_convolution_may_skip_pixels(stride, dilation, size, whole):
    maker = Maker()
    maker.weight("w", 4, 3, size, size)
    maker.add("Conv", ["x", "w"], "y", strides=[stride] * 2, dilations=[dilation] * 2)
    side = (9 - dilation * (size - 1) - 1) // stride + 1
    work = of(maker, [2, 4, side, side], [2, 3, 9, 9])
    assert work.input_bytes == (FLOAT * 2 * 3 * 81 if whole else 0)
    assert work.total_flops == size**2 * work.least_flops == 2 * size**2 * 2 * 4 * 3 * side**2


def test_an_input_that_is_cut_first_is_not_read_whole():
    maker = Maker()
    maker.weight("w", 32, 16)
    maker.tensors |= {"from": np.array([0]), "to": np.array([1])}
    maker.add("Sub", ["x", "scale"], "moved")
    maker.tensors["scale"] = np.float32(0.5)
    maker.add("Slice", ["moved", "from", "to"], "part")
    maker.add("MatMul", ["part", "w"])
    assert of(maker, [1, 16]).input_bytes == 0
    whole = Maker()
    whole.weight("w", 32, 16)
    whole.tensors["scale"] = np.float32(0.5)
    whole.add("Sub", ["x", "scale"], "moved")
    whole.add("MatMul", ["moved", "w"])
    assert of(whole, [4, 16]).input_bytes == FLOAT * 4 * 32


def test_edgekits_own_operators():
    maker = Maker()
    maker.tensors["r"] = np.ones((1, 64, 16), np.int8)
    maker.tensors["scale"] = np.ones((1, 64), np.float32)
    maker.tensors |= {"lengths": np.zeros(0, np.int32), "h0": np.zeros(0, np.float32), "c0": np.zeros(0, np.float32)}
    node = helper.make_node(
        "EdgekitLSTM", ["x", "r", "scale", "lengths", "h0", "c0"], ["y", "h", "c"], "y", domain="edgekit"
    )
    maker.nodes.append(node)
    work = of(maker, [5, 1, 2, 16], [5, 2, 1, 64])
    assert work.weight_bytes == 64 * 16
    assert work.flops == {"fp16": 2 * 5 * 2 * 64 * 16}


def test_caches_that_grow_in_place_are_not_written_whole():
    names = ["q", "k", "v", "bias", "lengths", "past_k", "past_v", "past"]
    shapes = [[1, 4, 1, 8], [1, 4, 1, 8], [1, 4, 1, 8], [0], [0], [1, 4, 64, 8], [1, 4, 64, 8], [1]]
    kinds = [T.FLOAT] * 4 + [T.INT32] + [T.FLOAT] * 2 + [T.INT32]
    values = [helper.make_tensor_value_info(*item) for item in zip(names, kinds, shapes, strict=True)]
    made = [("o", [1, 4, 1, 8]), ("new_k", [1, 4, 64, 8]), ("new_v", [1, 4, 64, 8])]
    node = helper.make_node("EdgekitAttention", names, [name for name, _ in made], "a", domain="edgekit", in_place=1)
    relu = helper.make_node("Relu", ["o"], ["y"], "relu")
    outputs = [helper.make_tensor_value_info(name, T.FLOAT, shape) for name, shape in [("y", made[0][1]), *made[1:]]]
    graph = helper.make_graph([node, relu], "g", values, outputs)
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("edgekit", 1)]
    work = model_work(helper.make_model(graph, opset_imports=domains), {})
    assert work.output_bytes == FLOAT * 4 * 8
    assert work.input_bytes == 0
    assert (work.total_flops, work.least_flops) == (2 * 4 * 64 * 16, 0)


def test_sizes_that_are_not_known_are_told(small_onnx):
    model = onnx.load(small_onnx)
    assert model_work(model, {}).unsized == ("conv", "dense")
    assert model_work(model, {"image": (2, 3, 8, 8)}).unsized == ()


@st.composite
def folded(draw: Any) -> tuple[Any, Any]:
    """A model whose weight is made of constants by Adds and Concats, and the same as a graph with capacities."""
    networkx = pytest.importorskip("networkx")
    maker, flow = Maker(), networkx.DiGraph()
    values: list[tuple[str, int]] = []

    def value(name: str, width: int) -> None:
        values.append((name, width))
        flow.add_edge((name, "in"), (name, "out"), capacity=FLOAT * 32 * width)

    for index in range(draw(st.integers(1, 3))):
        width = draw(st.sampled_from([1, 2, 3]))
        maker.weight(f"w{index}", 32, width)
        value(f"w{index}", width)
        flow.add_edge("source", (f"w{index}", "in"))
    for index in range(draw(st.integers(0, 6))):
        first, second = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        adds = first[1] == second[1] and draw(st.booleans())
        name = f"v{index}"
        maker.add("Add" if adds else "Concat", [first[0], second[0]], name, **({} if adds else {"axis": 1}))
        value(name, first[1] if adds else first[1] + second[1])
        for made_of, _ in {first, second}:
            flow.add_edge((made_of, "out"), (name, "in"))
    products = []
    for name, _ in draw(st.lists(st.sampled_from(values), min_size=1, max_size=3)):
        products.append(maker.add("MatMul", ["x", name], f"p{len(products)}"))
        maker.add("ReduceSum", [products[-1]], f"s{len(products)}", keepdims=0)
        flow.add_edge((name, "out"), "sink")
    maker.add("Sum", [f"s{index + 1}" for index in range(len(products))], "y")
    return maker.model([4, 32], []), networkx.maximum_flow_value(flow, "source", "sink")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=folded())
def test_however_weights_are_made_the_bytes_are_no_more_than_any_cut(case):
    """Wherever a builder stops folding, it keeps a cut between the file and the products."""
    model, least_cut = case
    found = model_work(model, {}).weight_bytes
    assert 0 < found <= least_cut
