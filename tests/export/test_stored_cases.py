"""onnx's own stored cases of LSTM, GRU and RNN against our export of the torch layer that each one describes.

Real: the inputs, weights and outputs are those that the onnx package keeps to test backends with. torch's layers are
loaded by the inverse of the gate orders in ONNX's operator specification, written out here and not taken from edgekit.
Those that torch can express have equal weights in every gate, where a wrong order shows nothing: the generator of the
stored outputs, in numpy, therefore also judges weights that tell gates apart.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from edgekit.export import export  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402

# The specification has "W[iofc]", "W[zrh]" and "W[i]"; torch's documentation has (W_ii|W_if|W_ig|W_io), whose g is the
# specification's c, and (W_ir|W_iz|W_in), whose n is its h.
ONNX_GATES = {"LSTM": "iofc", "GRU": "zrh", "RNN": "i"}
TORCH_GATES = {"LSTM": "ifco", "GRU": "rzh", "RNN": "i"}

EXPRESSED = {
    "LSTM": ["defaults", "with_initial_bias", "batchwise", "reverse", "bidirectional"],
    "GRU": ["defaults", "with_initial_bias", "batchwise", "reverse", "bidirectional"],
    "RNN": ["defaults", "with_initial_bias", "batchwise", "reverse", "bidirectional", "seq_length"],
}
NOT_EXPRESSED = {
    "test_lstm_with_peepholes": "torch's LSTM has no peepholes",
    "test_gru_seq_length": "linear_before_reset=0 over two steps with a reset gate that differs between units",
}
PREFIXES = {"RNN": ("test_simple_rnn_", "test_rnn_"), "LSTM": ("test_lstm_",), "GRU": ("test_gru_",)}

NET = textwrap.dedent("""
    import torch

    class Layer(torch.nn.Module):
        '''x [N,T,I] -> y [N,T,DH] and the last states [N,D,H]; a reverse layer is a forward one on flipped time.'''
        def __init__(self, kind, inputs, hidden, direction):
            super().__init__()
            self.reverse = direction == "reverse"
            both = direction == "bidirectional"
            self.layer = getattr(torch.nn, kind)(inputs, hidden, batch_first=True, bidirectional=both)
        def forward(self, x):
            y, last = self.layer(x.flip(1) if self.reverse else x)
            last = last if isinstance(last, tuple) else (last,)
            return y.flip(1) if self.reverse else y, *(state.transpose(0, 1) for state in last)

    def make():
        made = Layer(KIND, INPUTS, HIDDEN, DIRECTION)
        made.load_state_dict(torch.load(WEIGHTS, weights_only=True))
        return made, {"x": torch.randn(2, 4, INPUTS, generator=torch.Generator().manual_seed(0))}
""")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """Every recurrent case by its name."""
    cases = stored_cases()
    return {name: case for name, case in cases.items() if case.model.graph.node[0].op_type in ONNX_GATES}


def attributes(node: Any) -> dict[str, Any]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def torch_state(kind: str, w: np.ndarray, r: np.ndarray, b: np.ndarray | None) -> dict[str, torch.Tensor]:
    """ONNX's W [D,GH,I], R [D,GH,H] and B [D,2GH] as the state dict of torch's layer."""
    order = [ONNX_GATES[kind].index(gate) for gate in TORCH_GATES[kind]]

    def turned(rows: np.ndarray) -> torch.Tensor:
        gates = np.split(rows, len(order))
        return torch.from_numpy(np.concatenate([gates[index] for index in order]).astype(np.float32))

    state = {}
    biases = np.zeros((len(w), 2 * w.shape[1])) if b is None else b
    for suffix, wd, rd, bd in zip(("", "_reverse"), w, r, biases, strict=False):
        bias_w, bias_r = np.split(bd, 2)
        for name, rows in (("weight_ih", wd), ("weight_hh", rd), ("bias_ih", bias_w), ("bias_hh", bias_r)):
            state[f"layer.{name}_l0{suffix}"] = turned(rows)
    return state


def exported(folder: Path, kind: str, direction: str, weights: list[np.ndarray | None]) -> Any:
    """The layer with these W, R and B through our export, as a session."""
    torch.save(torch_state(kind, *weights), folder / "weights.pt")
    hidden, inputs = weights[1].shape[2], weights[0].shape[2]
    constants = {"KIND": kind, "INPUTS": inputs, "HIDDEN": hidden, "DIRECTION": direction}
    lines = [f"{name} = {value!r}" for name, value in {**constants, "WEIGHTS": str(folder / "weights.pt")}.items()]
    (folder / "layer.py").write_text("\n".join([*lines, NET]))
    path = export(f"{folder / 'layer.py'}:make", folder / "m.onnx").path
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(session: Any, x: np.ndarray) -> list[np.ndarray]:
    """x [T,N,I] -> Y [T,D,N,H], Y_h and for an LSTM Y_c [D,N,H], as ONNX lays them out."""
    y, *last = session.run(None, {"x": np.ascontiguousarray(x.swapaxes(0, 1))})
    batch, steps, _ = y.shape
    y = y.reshape(batch, steps, last[0].shape[1], -1).transpose(1, 2, 0, 3)
    return [y, *(state.swapaxes(0, 1) for state in last)]


def test_every_stored_case_is_tried_or_excused(stored):
    tried = {f"{prefix}{case}" for kind, cases in EXPRESSED.items() for case in cases for prefix in PREFIXES[kind]}
    assert set(stored) - set(NOT_EXPRESSED) <= tried
    assert len(stored) == 18


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind, cases in EXPRESSED.items() for case in cases])
def test_a_stored_case_is_met(stored, tmp_path, kind, case):
    name = next(f"{prefix}{case}" for prefix in PREFIXES[kind] if f"{prefix}{case}" in stored)
    node = stored[name].model.graph.node[0]
    inputs, outputs = stored[name].data_sets[0]
    x, w, r, b = (*inputs, None)[:4]
    settings = attributes(node)
    direction = settings.get("direction", b"forward").decode()
    batch_first = bool(settings.get("layout"))
    session = exported(tmp_path, kind, direction, [w, r, b])
    made = run(session, x.swapaxes(0, 1) if batch_first else x)
    names = [output for output in node.output if output]
    assert names
    for output, want in zip(names, outputs, strict=True):
        got = made[{"Y": 0, "Y_h": 1, "Y_c": 2}[output]]
        if batch_first:
            got = got.transpose(2, 0, 1, 3) if output == "Y" else got.swapaxes(0, 1)
        np.testing.assert_allclose(got, want, atol=1e-6)


def generated(kind: str, direction: str, x: np.ndarray, weights: list[np.ndarray], reset: int = 1) -> list[np.ndarray]:
    """What onnx's generator of stored outputs makes of these weights."""
    import onnx.backend.test.case.node.gru as gru
    import onnx.backend.test.case.node.lstm as lstm
    import onnx.backend.test.case.node.rnn as rnn

    helper = {"LSTM": lstm.LSTMHelper, "GRU": gru.GRUHelper, "RNN": rnn.RNNHelper}[kind]
    w, r, b = weights
    return list(helper(X=x, W=w, R=r, B=b, direction=direction, linear_before_reset=reset).step())


def apart(kind: str, directions: int, hidden: int = 5, inputs: int = 3) -> list[np.ndarray]:
    """Seeded W, R and B that differ in every gate and unit."""
    random, rows = np.random.default_rng(3), len(ONNX_GATES[kind]) * hidden
    shapes = [(directions, rows, inputs), (directions, rows, hidden), (directions, 2 * rows)]
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_generator_agrees_where_gates_differ(tmp_path, kind, direction):
    weights = apart(kind, 2 if direction == "bidirectional" else 1)
    session = exported(tmp_path, kind, direction, weights)
    for steps, batch in [(1, 1), (4, 2), (9, 3)]:
        x = np.random.default_rng(steps).normal(size=(steps, batch, 3)).astype(np.float32)
        for got, want in zip(run(session, x), generated(kind, direction, x, weights), strict=True):
            np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gates_in_another_order_would_show(kind):
    """Any exchange of two gates moves the outputs far beyond the tolerance above; so does the other kind of reset."""
    x, weights = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32), apart(kind, 1)
    right = generated(kind, "forward", x, weights)[0]
    gates = len(ONNX_GATES[kind])
    for first in range(gates):
        for second in range(first + 1, gates):
            order = list(range(gates))
            order[first], order[second] = second, first
            # B holds the gates twice.
            counts = (gates, gates, 2 * gates)
            orders = (order, order, [*order, *(gates + index for index in order)])
            swapped = [
                np.concatenate([np.split(value, count, axis=1)[index] for index in places], axis=1)
                for value, count, places in zip(weights, counts, orders, strict=True)
            ]
            assert np.abs(generated(kind, "forward", x, swapped)[0] - right).max() > 0.05
    if kind == "GRU":
        assert np.abs(generated(kind, "forward", x, weights, reset=0)[0] - right).max() > 0.05
