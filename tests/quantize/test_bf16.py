"""BF16, judged by an emulation whose oracle is torch's own BF16 arithmetic on the CPU."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from edgekit.errors import BuildError, QuantizeError  # noqa: E402
from edgekit.judge import outputs_of, plain_session  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize.bf16 import to_bf16  # noqa: E402
from edgekit.quantize.precision import to_fp16  # noqa: E402
from edgekit.quiet import quiet  # noqa: E402
from edgekit.rewrite.emulated import emulated  # noqa: E402

helper = onnx.helper
node = helper.make_node
FLOAT, HALF, BF16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16


def exported(module: torch.nn.Module, x: torch.Tensor, opset: int = 20) -> onnx.ModelProto:
    """x -> y, by torch's exporter."""
    buffer = io.BytesIO()
    with quiet():
        torch.onnx.export(
            module, (x,), buffer, input_names=["x"], output_names=["y"], opset_version=opset,
            dynamo=True, external_data=False,
        )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())


class Mixer(torch.nn.Module):
    """x [8,16,32] -> y [8,16,32]: attention, a normalization and an MLP, as a transformer's block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv = torch.nn.LayerNorm(32), torch.nn.Linear(32, 96)
        self.up, self.down = torch.nn.Linear(32, 128), torch.nn.Linear(128, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + (q @ k.transpose(1, 2) / 6).softmax(dim=-1) @ v
        return x + self.down(torch.nn.functional.gelu(self.up(x)))


def convolutions() -> torch.nn.Module:
    """x [4,3,16,16] -> y [4,10]."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.SiLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3), torch.nn.Softplus(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(32, 10),
    )  # fmt: skip


NETWORKS = {"transformer": (Mixer, (8, 16, 32), 20), "convolutions": (convolutions, (4, 3, 16, 16), 22)}


def proto(nodes: list, weights: dict[str, np.ndarray], opset: int = 20, size: int = 4) -> onnx.ModelProto:
    """x float32 [batch,size] -> y float32 [batch,any]."""
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", size])]
    outputs = [helper.make_tensor_value_info("y", FLOAT, ["batch", "any"])]
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def sqnr_db(wanted: np.ndarray, found: np.ndarray) -> float:
    meter = Sqnr()
    meter.add(wanted, found)
    return meter.db()


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return plain_session(model.SerializeToString()).run(None, {"x": x})[0]


def opset_of(model: onnx.ModelProto) -> int:
    return model.opset_import[0].version


@pytest.mark.parametrize("name", NETWORKS)
def test_the_emulation_is_torchs_bf16(name):
    """As far from FP32 as torch's is, within 2 dB; in 16 bits two ways of summing agree no better."""
    make, shape, opset = NETWORKS[name]
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(shape)
    model = exported(module, x)
    with torch.no_grad():
        wanted, narrow = module(x).numpy(), module.bfloat16()(x.bfloat16()).float().numpy()
    made = to_bf16(model)
    assert (made.notes, opset_of(made.model)) == ((), opset)
    onnx.checker.check_model(made.model, full_check=True)
    assert {item.data_type for item in made.model.graph.initializer} <= {BF16, onnx.TensorProto.INT64}
    found = run(emulated(made.model), x.numpy())
    assert found.dtype == np.float32
    assert sqnr_db(wanted, found) == pytest.approx(sqnr_db(wanted, narrow), abs=2)
    assert sqnr_db(wanted, found) > 35
    assert sqnr_db(narrow, found) > 35


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_of_the_emulation_is_bf16(name):
    """All that a node reads has the 16 upper bits of FP32 only."""
    make, shape, _ = NETWORKS[name]
    torch.manual_seed(0)
    twin = emulated(to_bf16(exported(make().eval(), torch.randn(shape))).model)
    made_by = {output: item for item in twin.graph.node for output in item.output}
    exact = {item.output[0] for item in twin.graph.node if item.output[0].endswith("_exact")}
    assert exact
    computing = [item for item in twin.graph.node if item.op_type != "Cast"]
    read = {tensor for item in computing for tensor in item.input if tensor in made_by}
    assert not read & exact
    graph = onnx.shape_inference.infer_shapes(twin).graph
    floats = {item.name for item in graph.value_info if item.type.tensor_type.elem_type == FLOAT} & read
    twin.graph.output.extend(helper.make_empty_tensor_value_info(tensor) for tensor in sorted(floats))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).numpy()
    for tensor, array in zip(
        sorted(floats), plain_session(twin.SerializeToString()).run(None, {"x": x})[1:], strict=True
    ):
        assert not (array.view(np.uint32) & 0xFFFF).any(), tensor
    for item in twin.graph.initializer:
        if item.data_type == FLOAT:
            assert not (onnx.numpy_helper.to_array(item).view(np.uint32) & 0xFFFF).any(), item.name


def test_weights_come_from_fp32_not_from_fp16():
    """FP16 would end at 65504 and at 6e-8; a Constant node is a weight too."""
    weights = {"large": np.float32(3e30), "small": np.float32(-1.7e-30)}
    odd = np.array([[1 + 2**-8, 1 + 3 * 2**-8, 1e-12, -7e6]], np.float32)
    nodes = [
        node("Constant", [], ["odd"], "odd", value=onnx.numpy_helper.from_array(odd, "odd")),
        node("Mul", ["x", "odd"], ["a"], "a"),
        node("Mul", ["a", "large"], ["b"], "b"),
        node("Mul", ["b", "small"], ["y"], "c"),
    ]
    model = to_bf16(proto(nodes, weights)).model
    wanted = {name: torch.tensor(value).bfloat16().float().numpy() for name, value in {**weights, "odd": odd}.items()}
    for item in model.graph.initializer:
        assert item.data_type == BF16
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(item).astype(np.float32), wanted[item.name])
    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(run(emulated(model), x), odd * 3e30 * -1.7e-30, rtol=2**-6)


def test_inputs_outputs_and_what_is_kept_stay_fp32():
    """Recurrent operators, kept ones, and a Resize's scales, which ONNX has in FP32 only."""
    random = np.random.default_rng(0)
    nodes = [
        node("Unsqueeze", ["x", "two"], ["sequence"], "unsqueeze"),
        node("LSTM", ["sequence", "W", "R"], ["", "last"], "lstm", hidden_size=4),
        node("Resize", ["last", "", "scales"], ["large"], "resize"),
        node("Squeeze", ["large", "zero"], ["rows"], "squeeze"),
        node("Tanh", ["rows"], ["t"], "tanh"),
        node("MatMul", ["t", "M"], ["y"], "product"),
    ]
    weights = {
        "W": random.normal(size=(1, 16, 1)),
        "R": random.normal(size=(1, 16, 4)),
        "M": random.normal(size=(8, 3)),
    }
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    constants = {"two": np.array([2]), "zero": np.array([0]), "scales": np.array([1, 1, 2], np.float32)}
    model = proto(nodes, {**weights, **constants})
    x = random.normal(size=(5, 4)).astype(np.float32)
    wanted = run(model, x)
    made = to_bf16(model, ("Tanh",))
    onnx.checker.check_model(made.model, full_check=True)
    assert made.notes == ()
    assert opset_of(made.model) == 20, "an LSTM has BF16 since 22, but stays in FP32"
    assert [value.type.tensor_type.elem_type for value in (*made.model.graph.input, *made.model.graph.output)] == [1, 1]
    stored = {item.name: item.data_type for item in made.model.graph.initializer}
    assert {name: stored[name] for name in ("W", "R", "M", "scales")} == {"W": 1, "R": 1, "M": BF16, "scales": 1}
    graph = onnx.shape_inference.infer_shapes(made.model).graph
    types = {item.name: item.type.tensor_type.elem_type for item in (*graph.value_info, *graph.output)}
    first = {item.name: types[next(filter(None, item.output))] for item in made.model.graph.node}
    assert [first[name] for name in ("lstm", "resize", "tanh", "product")] == [FLOAT, BF16, FLOAT, BF16]
    assert sqnr_db(wanted, run(emulated(made.model), x)) > 35


def test_an_operator_without_bf16_stays_and_is_named():
    nodes = [
        node("MatMul", ["x", "W"], ["a"], "first"),
        node("Einsum", ["a", "W"], ["b"], "einsum", equation="bi,ij->bj"),
        node("MatMul", ["b", "W"], ["y"], "last"),
    ]
    weights = {"W": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    made = to_bf16(proto(nodes, weights))
    assert made.notes == ("Einsum stays in FP32: ONNX has no BF16 for it",)
    onnx.checker.check_model(made.model, full_check=True)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    assert sqnr_db(run(proto(nodes, weights), x), run(emulated(made.model), x)) > 35


@pytest.mark.parametrize(("op", "before", "after"), [
    ("Relu", 20, 20), ("Relu", 11, 13), ("Softplus", 20, 22), ("Softplus", 23, 23),
])  # fmt: skip
def test_the_opset_is_raised_where_that_helps(op, before, after):
    made = to_bf16(proto([node(op, ["x"], ["a"]), node("Add", ["a", "a"], ["y"])], {}, before))
    assert (opset_of(made.model), made.notes) == (after, ())
    onnx.checker.check_model(made.model, full_check=True)


def test_an_opset_that_cannot_be_raised_is_said():
    model = proto([node("Softplus", ["x"], ["a"]), node("NoSuchOperator", ["a"], ["y"])], {})
    with pytest.raises(QuantizeError, match="expected a model of opset 22 or above, found 20, which onnx cannot raise"):
        to_bf16(model)


def test_branches_are_bf16_too():
    def branch(name: str, factor: float) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"i_{name}", FLOAT, ["batch", 4])
        weight = onnx.numpy_helper.from_array(np.float32([factor]), f"f_{name}")
        nodes = [
            node("Mul", ["a", weight.name], [f"m_{name}"], f"mul_{name}"),
            node("Mul", [f"m_{name}", weight.name], [out.name], f"again_{name}"),
        ]
        return helper.make_graph(nodes, name, [], [out], [weight])

    nodes = [
        node("Add", ["x", "x"], ["a"], "add"),
        node("If", ["go"], ["z"], "if", then_branch=branch("yes", 1.01), else_branch=branch("no", 3)),
        node("Add", ["z", "x"], ["y"], "last"),
    ]
    made = to_bf16(proto(nodes, {"go": np.array(True)}))
    onnx.checker.check_model(made.model, full_check=True)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    narrow = torch.from_numpy(x).bfloat16()
    factor = torch.tensor(1.01).bfloat16()
    wanted = (narrow + narrow) * factor * factor + narrow
    np.testing.assert_array_equal(run(emulated(made.model), x), wanted.float().numpy())


def test_a_model_of_16_bits_is_left_alone():
    weights = {"W": np.eye(4, dtype=np.float32)}
    nodes = [node("MatMul", ["x", "W"], ["y"], "product")]
    for narrow in (to_bf16, to_fp16):
        model = narrow(proto(nodes, weights)).model
        before = model.SerializeToString()
        again = to_bf16(model)
        assert (again.modified, again.notes) == (
            False, ("the model already holds weights of 16 bits and was left as it is",))  # fmt: skip
        assert again.model.SerializeToString() == before


def test_the_emulation_of_fp16_sees_an_overflow_that_onnxruntime_does_not(tmp_path):
    """onnxruntime goes on in FP32 between these nodes, a GPU does not: 1e8 is infinite in FP16."""
    nodes = [node("Mul", ["x", "up"], ["a"], "up"), node("Mul", ["a", "down"], ["y"], "down")]
    model = to_fp16(proto(nodes, {"up": np.float32(1e4), "down": np.float32(1e-4)})).model
    onnx.save(model, tmp_path / "half.onnx")
    x = np.array([[1e4, 1, 0.3, -2]], np.float32)
    assert math.isfinite(next(outputs_of(tmp_path / "half.onnx", [{"x": x}]))["y"][0, 0])
    before = model.SerializeToString()
    found = run(emulated(model), x)
    assert model.SerializeToString() == before
    assert math.isinf(found[0, 0])
    steps = np.float16(x[0, 1:]) * np.float16(1e4)
    np.testing.assert_array_equal(found[0, 1:], (steps * np.float16(1e-4)).astype(np.float32))


@pytest.mark.parametrize("name", NETWORKS)
def test_tensorrt_rtx_builds_it_but_for_turing(name, tmp_path: Path):
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    make, shape, _ = NETWORKS[name]
    torch.manual_seed(0)
    made = to_bf16(exported(make().eval(), torch.randn(shape)))
    onnx.save(made.model, tmp_path / "m.onnx")
    layers = build(tmp_path / "m.onnx", tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).layers
    kinds = [layer.dtype for layer in layers]
    assert kinds.count("bf16") > kinds.count("fp32")
    assert "fp16" not in kinds
    with pytest.raises(BuildError, match=r"sm75.*b16"):
        build(tmp_path / "m.onnx", tmp_path / "turing.engine", BuildConfig("rtx", ("7.5",)))


REFUSED = {
    "HardSwish": ({}, {}),
    "Mish": ({}, {}),
    "LpNormalization": ({}, {"axis": 1}),
    "LpPool": ({}, {"kernel_shape": [2, 2]}),
    "ConvTranspose": ({"W": np.ones((2, 3, 2, 2), np.float32)}, {}),
}


@pytest.mark.parametrize("op", REFUSED)
def test_what_tensorrt_refuses_in_bf16_stays_in_fp32(op, tmp_path):
    """It builds so, and is refused else: the list is no longer than it has to be."""
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    weights, attributes = REFUSED[op]
    sides = [helper.make_tensor_value_info(name, FLOAT, ["batch", channels, "rows", "columns"])
             for name, channels in (("x", 2), ("y", 3 if weights else 2))]  # fmt: skip
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    nodes = [node("Add", ["x", "x"], ["a"], "add"), node(op, ["a", *weights], ["y"], "refused", **attributes)]
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:], tensors)
    made = to_bf16(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10))
    assert made.notes == (f"{op} stays in FP32: TensorRT has no BF16 for it",)
    config = BuildConfig("rtx", ("8.6",), ("x:1x2x8x8",))
    onnx.save(made.model, tmp_path / "m.onnx")
    build(tmp_path / "m.onnx", tmp_path / "m.engine", config)
    refused = next(item for item in made.model.graph.node if item.name == "refused")
    cast = helper.make_node("Cast", [refused.input[0]], ["narrow"], "narrow", to=BF16)
    widen = helper.make_node("Cast", ["result"], [refused.output[0]], "widen", to=FLOAT)
    refused.input[0], refused.output[0] = "narrow", "result"
    for item in made.model.graph.initializer:
        item.CopyFrom(helper.make_tensor(item.name, BF16, item.dims, np.ones(item.dims).ravel()))
    place = list(made.model.graph.node).index(refused)
    made.model.graph.node.insert(place + 1, widen)
    made.model.graph.node.insert(place, cast)
    onnx.save(made.model, tmp_path / "b.onnx")
    with pytest.raises(BuildError, match=r"(?i)bf16"):
        build(tmp_path / "b.onnx", tmp_path / "b.engine", config)
