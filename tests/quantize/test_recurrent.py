"""INT8 weights of LSTM, GRU and RNN: what torch computes with weights that NumPy rounded, in a form that builds.

torch holds the FP32 network; the ONNX is written by hand from its weights, since torch's exporter fixes the length of
most recurrent networks.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, QuantizeConfig  # noqa: E402
from edgekit.judge import outputs_of, plain_session  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.quantize.recurrent import quantizable_recurrent, quantize_recurrent, recurrent_weights  # noqa: E402
from edgekit.quantize.scales import quantize_rows  # noqa: E402
from edgekit.rewrite.fold import fold  # noqa: E402

helper = onnx.helper
node = helper.make_node
I, H = 6, 8  # noqa: E741
# torch's gates in ONNX's order: i,f,g,o -> i,o,f,c and r,z,n -> z,r,h.
GATES = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}


def network(kind: str, layers: int = 1, both: bool = False, size: int = I) -> torch.nn.Module:
    torch.manual_seed(0)
    return getattr(torch.nn, kind)(size, H, layers, batch_first=True, bidirectional=both).requires_grad_(False)


def gates(kind: str, tensor: torch.Tensor) -> np.ndarray:
    """[GH,...] with the gates in ONNX's order."""
    return np.concatenate([np.split(tensor.numpy(), len(GATES[kind]))[gate] for gate in GATES[kind]])


def weights_of(net: torch.nn.Module) -> dict[str, np.ndarray]:
    """W0 [D,GH,I], R0 [D,GH,H], B0 [D,2GH], W1 and so on."""
    found: dict[str, np.ndarray] = {}
    for layer in range(net.num_layers):
        ends = [f"l{layer}{end}" for end in ("", "_reverse")[: 1 + net.bidirectional]]
        part = {name: [gates(net.mode.split("_")[0], getattr(net, f"{name}_{end}")) for end in ends]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
        found |= {f"W{layer}": np.stack(part["weight_ih"]), f"R{layer}": np.stack(part["weight_hh"])}
        found[f"B{layer}"] = np.concatenate([np.stack(part["bias_ih"]), np.stack(part["bias_hh"])], axis=1)
    return found


def value(name: str, shape: list, dtype: int = onnx.TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def proto(nodes, inputs, outputs, weights: dict, opset: int = 20) -> onnx.ModelProto:
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def as_onnx(net: torch.nn.Module, opset: int = 20) -> onnx.ModelProto:
    """x [batch,time,I] -> y [batch,time,D*H]."""
    kind, directions = net.mode.split("_")[0], 1 + net.bidirectional
    attributes = {"hidden_size": H, "direction": "bidirectional" if net.bidirectional else "forward"}
    attributes |= {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [node("Transpose", ["x"], ["s0"], perm=[1, 0, 2])]
    for layer in range(net.num_layers):
        names = [f"{part}{layer}" for part in ("s", "W", "R", "B")]
        nodes += [
            node(kind, names, [f"steps{layer}"], f"{kind}{layer}", **attributes),
            node("Transpose", [f"steps{layer}"], [f"beside{layer}"], perm=[0, 2, 1, 3]),
            node("Reshape", [f"beside{layer}", "joined"], [f"s{layer + 1}"]),
        ]
    nodes.append(node("Transpose", [f"s{net.num_layers}"], ["y"], perm=[1, 0, 2]))
    inputs, outputs = value("x", ["batch", "time", net.input_size]), value("y", ["batch", "time", directions * H])
    return proto(nodes, [inputs], [outputs], {**weights_of(net), "joined": np.array([0, 0, -1])}, opset)


def rounded(net: torch.nn.Module, axis: int | None = -1) -> torch.nn.Module:
    """The oracle: the same network, each row of its weights (axis=None: each weight) on 255 levels, by NumPy."""
    other = copy.deepcopy(net)
    for parameter in [parameter for name, parameter in other.named_parameters() if name.startswith("weight")]:
        weight = parameter.numpy().astype(np.float64)
        step = np.abs(weight).max(axis=axis, keepdims=axis is not None) / 127
        parameter.copy_(torch.from_numpy(np.rint(weight / step) * step))
    return other


def sequences(batch: int, time: int, size: int = I, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, time, size)).astype(np.float32)


def quantized(model: onnx.ModelProto, folder: Path, precision: str = "int8", keep_ops=(), **data):
    """The report; the data is `x` of four sequences unless it is given."""
    onnx.save(model, folder / "float.onnx")
    np.savez(folder / "data.npz", **(data or {"x": sequences(4, 7)}))
    asked = QuantizeConfig(precision, keep_ops, data=str(folder / "data.npz"), method="max")
    return quantize(folder / "float.onnx", folder / "int8.onnx", asked)


def sqnr_db(wanted: list, found: list) -> float:
    meter = Sqnr()
    for pair in zip(wanted, found, strict=True):
        meter.add(*pair)
    return meter.db()


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def builds(path: Path, *others: str, size: int = I) -> None:
    pytest.importorskip("tensorrt_rtx")
    config = BuildConfig("rtx", ("8.6",), (f"x:1x1x{size}:2x7x{size}:4x16x{size}", *others))
    assert build(path, path.with_suffix(".engine"), config).layers


BATCHES = [sequences(2, 7), sequences(3, 12, seed=2)]


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", GATES)
def test_it_computes_what_torch_does_with_rounded_weights(kind, layers, both, precision, tmp_path):
    net = network(kind, layers, both)
    model = as_onnx(net)
    wanted = [net(torch.from_numpy(batch))[0].numpy() for batch in BATCHES]
    whole = plain_session(model.SerializeToString())
    for batch, array in zip(BATCHES, wanted, strict=True):
        np.testing.assert_allclose(whole.run(None, {"x": batch})[0], array, atol=1e-5, err_msg="the oracle itself")
    report = quantized(model, tmp_path, precision)
    assert (report.quantized_layers, report.warnings) == (layers, ())
    found = [out["y"] for out in outputs_of(report.path, [{"x": batch} for batch in BATCHES])]
    assert sqnr_db(wanted, found) > 44, "measured: 46 to 58"
    exact = [rounded(net)(torch.from_numpy(batch))[0].numpy() for batch in BATCHES]
    assert sqnr_db(exact, found) > (120 if precision == "int8" else 62), "measured: 133 and, as FP16 rounds x, 66"
    builds(report.path)


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
def test_the_form_of_the_weights(precision, tmp_path):
    """int8 with a scale a row; FP32 again in front of the node, also where the rest is FP16; biases as they were."""
    net = network("GRU", 2, True)
    report = quantized(as_onnx(net), tmp_path, precision)
    model = onnx.load(report.path)
    found, originals = initializers(model), weights_of(net)
    makers = {item.output[0]: item for item in model.graph.node}
    for recurrent in [item for item in model.graph.node if item.op_type == "GRU"]:
        for index in (1, 2):
            dequantize = makers[recurrent.input[index]]
            attributes = {item.name: item.i for item in dequantize.attribute}
            values, scale, zero = (found[name] for name in dequantize.input)
            weight = originals[dequantize.input[0].removesuffix("_int8")]
            assert (dequantize.op_type, values.dtype, scale.dtype) == ("DequantizeLinear", np.int8, np.float32)
            assert (attributes["axis"], attributes["block_size"]) == (2, weight.shape[2])
            np.testing.assert_array_equal(zero, np.zeros((*weight.shape[:2], 1)))
            assert scale.shape == zero.shape
            assert (np.abs(values * scale - weight) <= 0.5001 * scale).all()
        np.testing.assert_array_equal(found[recurrent.input[3]], originals[recurrent.input[3]])
    sizes, rows = {name: array.size for name, array in originals.items()}, 4 * 2 * 3 * H
    assert report.weights["int8"] == sum(sizes[name] for name in ("W0", "R0", "W1", "R1")) + rows
    assert report.weights["float32"] == 4 * (sizes["B0"] + sizes["B1"] + rows)


def test_a_scale_a_row_is_worth_it(tmp_path):
    """Rows of very different size, as trained gates have them: one scale a weight rounds the small ones away."""
    net = network("LSTM")
    net.weight_ih_l0.mul_(torch.from_numpy(np.geomspace(0.05, 5, 4 * H).astype(np.float32)[:, None]))
    wanted, one_scale = (each(torch.from_numpy(BATCHES[1]))[0].numpy() for each in (net, rounded(net, None)))
    (found,) = outputs_of(quantized(as_onnx(net), tmp_path).path, [{"x": BATCHES[1]}])
    assert sqnr_db([wanted], [found["y"]]) > sqnr_db([wanted], [one_scale]) + 9


@pytest.mark.parametrize(("kind", "size", "scale"), [("LSTM", I, 1e-5), ("GRU", 1, 1), ("LSTM", 1, 1)])
def test_raw_counts_and_single_series(kind, size, scale, tmp_path):
    """Small weights on large inputs keep their digits; a W of one value a row stays FP32, as RTX refuses it."""
    net = network(kind, size=size)
    net.weight_ih_l0.mul_(scale)
    batch = sequences(3, 9, size) / np.float32(scale)
    report = quantized(as_onnx(net), tmp_path, x=batch)
    (found,) = outputs_of(report.path, [{"x": batch}])
    assert sqnr_db([net(torch.from_numpy(batch))[0].numpy()], [found["y"]]) > 40
    assert ("W0" in initializers(onnx.load(report.path))) == (size == 1)
    builds(report.path, size=size)


def test_lengths_and_initial_states(tmp_path):
    """The oracle is torch's packed sequence, which ends each sequence at its own length."""
    net = network("LSTM")
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        *(node("Transpose", [name], [f"{name}_first"], perm=[1, 0, 2]) for name in "hc"),
        node("LSTM", ["steps", "W0", "R0", "B0", "lengths", "h_first", "c_first"], ["", "y", "last"], hidden_size=H),
    ]
    inputs = [value("x", ["batch", "time", I]), value("lengths", ["batch"], onnx.TensorProto.INT32)]
    inputs += [value(name, ["batch", 1, H]) for name in "hc"]
    outputs = [value(name, [1, "batch", H]) for name in ("y", "last")]
    batch = {"x": sequences(3, 7), "lengths": np.array([7, 2, 5], np.int32)}
    batch |= {"h": sequences(3, 1, H, 3), "c": sequences(3, 1, H, 4)}
    report = quantized(proto(nodes, inputs, outputs, weights_of(net)), tmp_path, **batch)
    (found,) = outputs_of(report.path, [batch])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(batch["x"]), torch.from_numpy(batch["lengths"]), batch_first=True, enforce_sorted=False
    )
    begin = tuple(torch.from_numpy(batch[name]).transpose(0, 1).contiguous() for name in "hc")
    for name, array in zip(("y", "last"), rounded(net)(packed, begin)[1], strict=True):
        np.testing.assert_allclose(found[name], array.numpy(), atol=1e-5)
    builds(report.path, "lengths:1:2:4", *(f"{name}:1x1x{H}:2x1x{H}:4x1x{H}" for name in "hc"))


def one(nodes, weights: dict, opset: int = 21) -> onnx.ModelProto:
    """x [time,batch,I] -> y [1,batch,H]."""
    return proto(nodes, [value("x", ["time", "batch", I])], [value("y", [1, "batch", H])], weights, opset)


def layer(w: str = "W0", r: str = "R0", y: str = "y"):
    return node("RNN", ["x", w, r], ["", y], "rnn", hidden_size=H)


PLAIN = {name: array for name, array in weights_of(network("RNN")).items() if name != "B0"}
HALVES = {"a": PLAIN["W0"][0, :4], "b": PLAIN["W0"][0, 4:], "R0": PLAIN["R0"], "axis": np.array([0])}


def folded_and_quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    return all_quantized(fold(model, recurrent_weights(model, ())).model)[1].model


def all_quantized(model: onnx.ModelProto, keep_ops=()):
    """The nodes that can be quantized, the model with all of them quantized, and the notes on the others."""
    nodes, notes = quantizable_recurrent(model, keep_ops)
    return [node.name for node in nodes], quantize_recurrent(model, {node.name for node in nodes}), notes


def test_weights_that_follow_from_constants_are_int8_too_and_int8_stays_what_it_is():
    joined = [node("Concat", ["a", "b"], ["ab"], axis=0), node("Unsqueeze", ["ab", "axis"], ["W0"]), layer()]
    models = [folded_and_quantized(one(*given)) for given in (([layer()], PLAIN), (joined, HALVES))]
    wanted, found = map(initializers, models)
    assert wanted.keys() == found.keys()
    np.testing.assert_array_equal(wanted["W0_int8"], found["W0_int8"])
    again = initializers(folded_and_quantized(models[0]))
    np.testing.assert_array_equal(again["W0_dq_int8"], wanted["W0_int8"])


FROM_INPUT = [node("Slice", ["x", "axis", "axis"], ["none"]), node("Sum", ["W0", "none"], ["sum"]), layer("sum")]
LEFT = {
    "W follows from an input": (FROM_INPUT, PLAIN | {"axis": np.array([0])}),
    "R is an input": ([layer(r="x")], PLAIN),
    "they are float64": ([layer()], {name: array.astype(np.float64) for name, array in PLAIN.items()}),
}


@pytest.mark.parametrize(("nodes", "weights"), LEFT.values(), ids=LEFT)
def test_weights_that_are_no_constants_stay_and_the_notes_say_so(nodes, weights):
    model = one(nodes, weights)
    before = model.graph.node[-1].SerializeToString()
    nodes, made, notes = all_quantized(model)
    assert (nodes, made.modified) == ([], False)
    assert notes == ("RNN 'rnn' stays in floating point: its weights are no FP32 constants",)
    assert model.graph.node[-1].SerializeToString() == before


def test_a_weight_that_two_nodes_read_is_quantized_once():
    two = [node("RNN", ["h", "R0", "R0"], ["", out], out, hidden_size=H) for out in "ab"]
    model = one([node("RNN", ["x", "W0", "R0"], ["h4", "last"], "first", hidden_size=H),
                 node("Squeeze", ["h4", "one"], ["h"]), *two, node("Add", ["a", "b"], ["y"])],
                PLAIN | {"one": np.array([1])})  # fmt: skip
    wanted = ReferenceEvaluator(model).run(None, {"x": BATCHES[0]})
    nodes, made, _ = all_quantized(model)
    assert nodes == ["first", "a", "b"]
    assert [key for key in initializers(made.model) if key.endswith("_int8")] == ["W0_int8", "R0_int8"]
    onnx.checker.check_model(made.model)
    assert sqnr_db(wanted, ReferenceEvaluator(model).run(None, {"x": BATCHES[0]})) > 35


def floored(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounded another way than to the nearest: [D,GH,I] and [D,GH,1]."""
    step = (np.abs(weight).max(axis=-1, keepdims=True) / 127).astype(np.float32)
    return np.clip(np.floor(weight / step), -127, 127).astype(np.int8), step


@pytest.mark.parametrize("given", [[(0, 1)], [(0, 2)], [(0, 1), (0, 2)], [(1, 2)], [(0, 2), (1, 2)], []], ids=str)
def test_weights_that_are_rounded_already(given):
    """Two nodes share both weights; each gets what was given for it, and the nearest levels for the rest."""
    made = [node("RNN", ["x", "W0", "R0"], ["", out], f"rnn{at}", hidden_size=H) for at, out in enumerate("ab")]
    model = one([*made, node("Concat", ["a", "b"], ["y"], axis=1)], PLAIN)
    levels = {(f"rnn{at}", index): floored(PLAIN["WR"[index - 1] + "0"]) for at, index in given}
    oracle = copy.deepcopy(model)
    for at in range(2):
        for index, name in ((1, "W0"), (2, "R0")):
            values, step = levels.get((f"rnn{at}", index)) or quantize_rows(PLAIN[name])
            oracle.graph.initializer.append(onnx.numpy_helper.from_array(values * step, f"{name}{at}"))
            oracle.graph.node[at].input[index] = f"{name}{at}"
    quantize_recurrent(model, {"rnn0", "rnn1"}, levels)
    onnx.checker.check_model(model)
    feeds = {"x": BATCHES[0]}
    wanted, found = (plain_session(item.SerializeToString()).run(None, feeds)[0] for item in (oracle, model))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    stored = [name for name in initializers(model) if "_int8" in name]
    kinds = [(index, at if (at, index) in given else None) for at in range(2) for index in (1, 2)]
    assert len(stored) == len(set(kinds)), "what two nodes share is stored once"


def test_levels_of_nodes_that_are_not_named_are_not_used():
    model = one([layer()], PLAIN)
    before = copy.deepcopy(model)
    assert not quantize_recurrent(model, set(), {("rnn", 1): floored(PLAIN["W0"])}).modified
    assert model == before


def test_kept_types_and_branches_stay():
    """A recurrent node inside an If reads the same weights, which stay for it."""
    inside = helper.make_graph([layer(y="i")], "i", [], [value("i", [1, "batch", H])])
    choose = node("If", ["go"], ["z"], then_branch=inside, else_branch=inside)
    model = one([layer(y="last"), choose, node("Add", ["z", "last"], ["y"])], PLAIN | {"go": np.array(True)})
    kept, before = copy.deepcopy(model), choose.SerializeToString()
    assert (all_quantized(kept, ("RNN",))[0], kept) == ([], model)
    all_quantized(model, ("GRU",))
    assert {"W0", "R0", "W0_int8", "R0_int8"} <= initializers(model).keys()
    assert next(item for item in model.graph.node if item.op_type == "If").SerializeToString() == before


@pytest.mark.parametrize(("before", "after"), [(13, 21), (21, 21), (22, 22)])
def test_the_opset_is_raised_as_far_as_needed(before, after, small_onnx, small_data, tmp_path):
    """Beside a dense layer, which is quantized as ever; a network without recurrent nodes keeps its opset."""
    model = as_onnx(network("GRU"), before)
    model.graph.node[-1].output[0] = "h"
    model.graph.node.append(node("MatMul", ["h", "dense"], ["y"], "dense"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(H, dtype=np.float32), "dense"))
    report = quantized(model, tmp_path)
    made = onnx.load(report.path)
    assert (report.quantized_layers, made.opset_import[0].version) == (2, after)
    assert [item.op_type for item in made.graph.node].count("QuantizeLinear") == 1
    kept = quantized(model, tmp_path, keep_ops=("GRU",))
    assert (kept.quantized_layers, kept.kept_ops) == (1, {"GRU": 1})
    assert {"W0", "R0"} <= initializers(onnx.load(kept.path)).keys()
    plain = quantize(small_onnx, tmp_path / "small.onnx", QuantizeConfig("int8", data=str(small_data))).path
    assert onnx.load(plain).opset_import == onnx.load(small_onnx).opset_import
