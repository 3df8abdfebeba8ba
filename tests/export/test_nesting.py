"""Arguments and results in tuples, lists and dicts: a user's recurrent state as it is."""

from __future__ import annotations

import collections

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import ModelError, UsageError  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.export.nesting import flat, leaves  # noqa: E402

NETS = """
import collections
import torch

State = collections.namedtuple("State", "hidden cell")

class Stream(torch.nn.Module):
    '''A state as nn.LSTM takes and returns it.'''
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.head = torch.nn.LSTM(3, 4, batch_first=True), torch.nn.Linear(4, 2)
    def forward(self, x, state=None):
        y, (h, c) = self.layers(x, state)
        return {"y": self.head(y), "state": State(h, c)}

STATE = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
def stream(): return Stream(), {"x": torch.randn(2, 5, 3), "state": STATE}
def fresh(): return Stream(), {"x": torch.randn(2, 5, 3)}
def layer(): return torch.nn.LSTM(3, 4, 2, bidirectional=True), {"input": torch.randn(5, 2, 3)}
def clash(): return Stream(), {"x": torch.randn(2, 5, 3), "state": [{"0": torch.ones(2)}, 3]}
"""


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


def test_leaves_are_named_after_the_way_to_them():
    pair = collections.namedtuple("pair", "left right")
    nested = {"a": 1, "b": (2, [3, {"deep": 4}]), "c": pair(5, 6)}
    assert list(leaves(nested)) == [
        ("a", 1),
        ("b_0", 2),
        ("b_1_0", 3),
        ("b_1_1_deep", 4),
        ("c_left", 5),
        ("c_right", 6),
    ]
    assert list(leaves(7)) == [("", 7)]


def test_flat_calls_the_module_with_what_it_expects():
    class Seen(torch.nn.Module):
        def forward(self, a, b):
            return a, b

    pair = collections.namedtuple("pair", "left right")
    examples = {"a": torch.ones(1), "b": (torch.ones(2), [torch.ones(3)], pair(torch.ones(4), {"k": torch.ones(5)}))}
    tensors = {name: value * 2 for name, value in leaves(examples)}
    module = flat(Seen(), examples)
    assert type(module).__name__ == "Seen"
    a, (b0, b1, b2) = module(**tensors)
    assert isinstance(b1, list)
    assert [float(item.sum()) for item in (a, b0, b1[0], b2.left, b2.right["k"])] == [2, 4, 6, 8, 10]


def test_a_state_of_two_tensors_becomes_two_inputs(nets, tmp_path):
    """Three chunks, each with the state of the one before, are the whole sequence; the oracle is torch."""
    asked = ExportConfig(dynamic=("state_0:1=batch", "state_1:1=batch"))
    report = export(f"{nets}:stream", tmp_path / "m.onnx", asked)
    assert report.inputs == {"x": ["batch", "time", 3], "state_0": [1, "batch", 4], "state_1": [1, "batch", 4]}
    assert report.outputs == ["y", "state_hidden", "state_cell"]
    space: dict = {}
    exec(NETS, space)
    x = torch.randn(3, 9, 3)
    with torch.no_grad():
        wanted = space["Stream"]()(x)
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    state, parts = [np.zeros((1, 3, 4), np.float32)] * 2, []
    for chunk in x.split((1, 6, 2), dim=1):
        y, *state = session.run(None, {"x": chunk.numpy(), "state_0": state[0], "state_1": state[1]})
        parts.append(y)
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted["y"], atol=1e-6)
    np.testing.assert_allclose(state[1], wanted["state"].cell, atol=1e-6)


def test_weights_load_into_the_users_module(nets, tmp_path):
    space: dict = {}
    exec(NETS, space)
    module = space["Stream"]()
    torch.nn.init.constant_(module.head.bias, 7.0)
    torch.nn.init.zeros_(module.head.weight)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    asked = ExportConfig(weights=tmp_path / "w.pt", dynamic=("state_0:1=batch", "state_1:1=batch"))
    report = export(f"{nets}:stream", tmp_path / "m.onnx", asked)
    assert "output 'y' is constant: parity proves nothing about it" in report.warnings


def test_a_recurrent_layer_by_itself(nets, tmp_path):
    asked = ExportConfig(dynamic=("input:1=batch", "input:0=time"))
    report = export(f"{nets}:layer", tmp_path / "m.onnx", asked)
    assert (report.outputs, report.ops["LSTM"]) == (["output_0", "output_1_0", "output_1_1"], 2)
    assert report.inputs == {"input": ["time", "batch", 3]}
    assert export(f"{nets}:fresh", tmp_path / "n.onnx").outputs == ["y", "state_hidden", "state_cell"]


def test_a_leaf_that_is_no_tensor(nets, tmp_path):
    with pytest.raises(ModelError, match="expected example 'state_1' as a tensor with batch axis 0, found int"):
        export(f"{nets}:clash", tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="expected one size of batch in all example inputs, found 2 in 'x' and 1"):
        export(f"{nets}:stream", tmp_path / "m.onnx")
