"""LSTM, GRU and RNN as ONNX nodes: torch and onnx's own definition are the oracles, at sizes the export never saw."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.rewrite.constants import constants_to_initializers  # noqa: E402

NETS = textwrap.dedent("""
    import functools
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Plain(nn.Module):
        '''x [N,T,3] -> y [N,T,DH] and the last states [N,LD,H]; `layers` itself may want x [T,N,3].'''
        def __init__(self, kind, **options):
            super().__init__()
            torch.manual_seed(1)
            self.layers = getattr(nn, kind)(3, **options)
        def turned(self, x):
            return x if self.layers.batch_first else x.transpose(0, 1)
        def outputs(self, y, last):
            return self.turned(y), *(s.transpose(0, 1) for s in (last if isinstance(last, tuple) else (last,)))
        def forward(self, x):
            return self.outputs(*self.layers(self.turned(x)))

    class States(Plain):
        '''The first states come in as h [N,LD,H]; an LSTM's cell starts at half of it.'''
        def first(self, h):
            h = h.transpose(0, 1)
            return (h, h / 2) if isinstance(self.layers, nn.LSTM) else h
        def forward(self, x, h):
            return self.outputs(*self.layers(self.turned(x), self.first(h)))

    class Lengths(States):
        def forward(self, x, lengths, h=None):
            first = self.layers.batch_first
            packed = pack_padded_sequence(self.turned(x), lengths.cpu(), first, enforce_sorted=False)
            y, last = self.layers(packed, None if h is None else self.first(h))
            y, _ = pad_packed_sequence(y, batch_first=first, total_length=x.shape[1])
            return self.outputs(y, last)

    class LengthsAndStates(Lengths):
        def forward(self, x, lengths, h):
            return Lengths.forward(self, x, lengths, h)

    def make(net, kind, **options):
        module = net(kind, **options)
        examples = {"x": torch.randn(2, 5, 3), "lengths": torch.tensor([3, 5])}
        rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        examples["h"] = torch.rand(2, rows, options["hidden_size"])
        taken = {"Plain": "x", "States": ("x", "h"), "Lengths": ("x", "lengths")}.get(net.__name__, tuple(examples))
        return module, {name: examples[name] for name in taken}

    both = {"bidirectional": True}
    VARIANTS = {
        "lstm": (Plain, "LSTM", dict(hidden_size=5)),
        "lstm_states": (States, "LSTM", dict(hidden_size=4, num_layers=2, bias=False, batch_first=True)),
        "lstm_lengths": (Lengths, "LSTM", dict(hidden_size=6, num_layers=3, batch_first=True, **both)),
        "lstm_all": (LengthsAndStates, "LSTM", dict(hidden_size=2, num_layers=2)),
        "gru": (Plain, "GRU", dict(hidden_size=4, num_layers=3, batch_first=True, dropout=0.5, **both)),
        "gru_lengths": (Lengths, "GRU", dict(hidden_size=1, bias=False, **both)),
        "gru_all": (LengthsAndStates, "GRU", dict(hidden_size=7, num_layers=2, batch_first=True, **both)),
        "tanh": (Plain, "RNN", dict(hidden_size=3, num_layers=2, bias=False)),
        "tanh_all": (LengthsAndStates, "RNN", dict(hidden_size=5, num_layers=2, batch_first=True)),
        "relu_lengths": (Lengths, "RNN", dict(hidden_size=5, num_layers=2, nonlinearity="relu", **both)),
    }
    for name, (net, kind, options) in VARIANTS.items():
        globals()[name] = functools.partial(make, net, kind, **options)
""")
VARIANTS = ("lstm", "lstm_states", "lstm_lengths", "lstm_all", "gru", "gru_lengths", "gru_all")
VARIANTS += ("tanh", "tanh_all", "relu_lengths")


@dataclass(frozen=True)
class Exported:
    module: torch.nn.Module
    path: Path
    session: onnxruntime.InferenceSession

    @property
    def model(self) -> onnx.ModelProto:
        return onnx.load(self.path)

    def nodes(self) -> list[onnx.NodeProto]:
        return [node for node in self.model.graph.node if node.op_type in ("LSTM", "GRU", "RNN")]

    def feeds(self, lengths: tuple[int, ...], steps: int, seed: int = 0, scale: float = 1.0) -> dict[str, np.ndarray]:
        """Inputs at these sizes: x [N,T,3], lengths [N], h [N,LD,H]."""
        random = np.random.default_rng(seed)
        shapes = {item.name: item.shape for item in self.session.get_inputs()}
        made = {"x": scale * random.normal(size=(len(lengths), steps, 3)).astype(np.float32)}
        if "lengths" in shapes:
            made["lengths"] = np.array(lengths)
        if "h" in shapes:
            made["h"] = random.uniform(-1, 1, (len(lengths), *shapes["h"][1:])).astype(np.float32)
        return made

    def torchs(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            return [value.numpy() for value in self.module(**{k: torch.from_numpy(v) for k, v in feeds.items()})]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], Exported]:
    """A variant of NETS, exported once."""
    folder = tmp_path_factory.mktemp("recurrent")
    (folder / "recurrent_nets.py").write_text(NETS)
    made: dict[str, Exported] = {}

    def get(name: str) -> Exported:
        if name not in made:
            path = export(f"{folder}/recurrent_nets.py:{name}", folder / f"{name}.onnx").path
            module = getattr(sys.modules["recurrent_nets"], name)()[0].eval()
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            made[name] = Exported(module, path, session)
        return made[name]

    return get


def close(found, wanted, atol=2e-6) -> None:
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=atol * max(1, np.abs(want).max(initial=0)), rtol=0)


# Lengths of 1 to 40 in batches of 1 to 6, and what is padded behind them.
BATCHES = st.lists(st.integers(1, 40), min_size=1, max_size=6).map(tuple)


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=BATCHES, padding=st.integers(0, 4), seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 20.0]))
@example(lengths=(1,), padding=0, seed=0, scale=1.0)
@example(lengths=(1, 1, 1), padding=4, seed=0, scale=1.0)
@example(lengths=(2, 5, 1), padding=0, seed=0, scale=1.0)
@example(lengths=(37, 1, 20, 36, 37), padding=0, seed=0, scale=1.0)
def test_every_batch_length_and_lengths_are_torchs(exported, name, lengths, padding, seed, scale):
    """The export saw a batch of 2, five steps and lengths 3 and 5."""
    net = exported(name)
    feeds = net.feeds(lengths, max(lengths) + padding, seed, scale)
    close(net.session.run(None, feeds), net.torchs(feeds))


@pytest.mark.parametrize("name", ["lstm", "lstm_states", "gru", "tanh"])
@pytest.mark.parametrize("steps", [1, 9])
def test_onnxs_own_definition_agrees(exported, name, steps):
    """Gate order and linear_before_reset, by onnx's reference and not by the runtime that everything else runs in.

    The reference ignores sequence_lens.
    """
    net = exported(name)
    feeds = net.feeds((steps,) * 3, steps)
    close(onnx.reference.ReferenceEvaluator(net.model).run(None, feeds), net.torchs(feeds))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_layer_is_one_node_with_constant_weights(exported, name):
    """No chain of Slice and Concat makes the weights, and lengths reach every node."""
    net = exported(name)
    layers = net.module.layers
    nodes = net.nodes()
    constants = {tensor.name: list(tensor.dims) for tensor in net.model.graph.initializer}
    assert [node.op_type for node in nodes] == [type(layers).__name__] * layers.num_layers
    for node in nodes:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        directions = 2 if layers.bidirectional else 1
        assert attributes["direction"] == (b"bidirectional" if directions == 2 else b"forward")
        assert constants[node.input[1]][0] == directions
        assert constants[node.input[2]] == [directions, constants[node.input[1]][1], layers.hidden_size]
        assert constants[node.input[3]] == [directions, 2 * constants[node.input[1]][1]]
        assert (len(node.input) > 4 and bool(node.input[4])) == ("lengths" in net.feeds((1,), 1))
        if node.op_type == "GRU":
            assert attributes["linear_before_reset"] == 1
    expected = sum(value.numel() for value in layers.parameters())
    missing_bias = (
        0 if layers.bias else sum(constants[node.input[3]][0] * constants[node.input[3]][1] for node in nodes)
    )
    assert sum(np.prod(constants[name]) for node in nodes for name in node.input[1:4]) == expected + missing_bias


@pytest.mark.parametrize("name", VARIANTS)
def test_batch_and_time_stay_open(exported, name):
    graph = exported(name).model.graph
    dims = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    assert dims["x"] == ["batch", "time", 3]
    y, *states = ([d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.output)
    assert y[:2] == ["batch", "time"]
    assert all(state[0] == "batch" for state in states)


@pytest.mark.parametrize("name", ["lstm_all", "gru_all", "tanh_all"])
def test_a_sample_of_length_0_keeps_its_state(exported, name):
    """torch refuses length 0: here its output is zero and its state is what came in, and its neighbours do not care."""
    net = exported(name)
    feeds = net.feeds((4, 0, 2), 4)
    y, *last = net.session.run(None, feeds)
    first = [feeds["h"], feeds["h"] / 2]
    assert not y[1].any()
    for before, after in zip(first[: len(last)], last, strict=True):
        np.testing.assert_array_equal(after[1], before[1])
    others = {key: value[[0, 2]] for key, value in feeds.items()}
    close([value[[0, 2]] for value in (y, *last)], net.torchs(others))


@given(lengths=st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_with_the_state_handed_on_are_the_whole(exported, lengths, seed):
    """Streaming: each of three samples comes in chunks of its own lengths, 0 included."""
    net = exported("tanh_all")
    totals = tuple(map(sum, zip(*lengths, strict=True)))
    whole = net.feeds(totals, max(1, *totals), seed)
    state, taken, pieces = whole["h"], [0, 0, 0], [[], [], []]
    for chunk in lengths:
        x = np.zeros((3, 5, 3), np.float32)
        for sample, (start, length) in enumerate(zip(taken, chunk, strict=True)):
            x[sample, :length] = whole["x"][sample, start : start + length]
        y, state = net.session.run(None, {"x": x, "lengths": np.array(chunk), "h": state})
        for sample, length in enumerate(chunk):
            pieces[sample].append(y[sample, :length])
            taken[sample] += length
    y, last = net.session.run(None, whole)
    np.testing.assert_allclose(state, last, atol=1e-6)
    for sample, total in enumerate(totals):
        np.testing.assert_allclose(np.concatenate(pieces[sample]), y[sample, :total], atol=1e-6)


@pytest.mark.parametrize("opset", [18, 21, 23])
def test_other_opsets(exported, tmp_path, opset):
    """20 is what all other tests use."""
    net = exported("gru_all")
    report = export(f"{net.path.parent}/recurrent_nets.py:gru_all", tmp_path / "m.onnx", ExportConfig(opset=opset))
    assert onnx.load(report.path).opset_import[0].version == opset
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    feeds = net.feeds((1, 37, 5), 37)
    close(session.run(None, feeds), net.torchs(feeds))


@pytest.mark.parametrize(("precision", "atol"), [("fp16", 1e-3), ("int8", 3e-2), ("int8+fp16", 3e-2)])
def test_quantized_lengths_still_hold(exported, tmp_path, precision, atol):
    """A recurrent node with lengths computes in FP32 whatever the precision; its weights may be INT8."""
    net = exported("lstm_lengths")
    data = tmp_path / "data.npz"
    np.savez(data, **net.feeds(tuple(range(1, 13)), 12))
    quantized = quantize(net.path, tmp_path / "q.onnx", QuantizeConfig(precision, data=str(data))).path
    assert all(
        len(node.input) > 4 and node.input[4] for node in onnx.load(quantized).graph.node if "LSTM" in node.op_type
    )
    for lengths in [(1,), (5, 1, 3), (37, 2, 36, 1, 20)]:
        feeds = net.feeds(lengths, max(lengths) + 1)
        found = plain_session(str(quantized)).run(None, feeds)
        close(found, net.torchs(feeds), atol)
        for sample, length in enumerate(lengths):
            assert not found[0][sample, length:].any()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_tensorrt_rtx_builds_a_bilstm_with_lengths(exported, tmp_path, precision):
    pytest.importorskip("tensorrt_rtx")
    net = exported("lstm_lengths")
    source = net.path
    if precision != "fp32":
        np.savez(tmp_path / "data.npz", **net.feeds((3, 5), 5))
        config = QuantizeConfig(precision, data=str(tmp_path / "data.npz"))
        source = quantize(source, tmp_path / "q.onnx", config).path
    assert build(source, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 10_000


@pytest.mark.parametrize("name", ["lstm_all", "gru_all", "relu_lengths"])
def test_tensorrt_rtx_builds_the_other_kinds(exported, tmp_path, name):
    pytest.importorskip("tensorrt_rtx")
    assert build(exported(name).path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 10_000


@pytest.mark.parametrize("name", ["lstm_lengths", "gru_lengths", "relu_lengths"])
def test_tensorrt_rtx_refuses_half_precision_with_lengths(exported, tmp_path, name):
    """Why `quantize` keeps these nodes in FP32: RTX's own expansion of them selects between Half and Float."""
    pytest.importorskip("tensorrt_rtx")
    model = constants_to_initializers(exported(name).model).model
    for tensor in [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]:
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(BuildError, match=r"refused node .*Half and Float") as error:
        build(tmp_path / "half.onnx", tmp_path / "m.engine", BuildConfig("rtx", ("8.6",)))
    assert "\n" not in str(error.value)
