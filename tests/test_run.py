"""A bundle on arrays of changing shape: every value arrives, whatever the order of the inputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.configs import DeployConfig, RunConfig
from edgekit.deploy import deploy
from edgekit.errors import UsageError
from edgekit.run import run
from edgekit.runtime import Session


def test_two_inputs_of_other_lengths_than_the_sessions(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceSum", ["a"], ["sa"], keepdims=1),
        helper.make_node("ReduceSum", ["b"], ["sb"], keepdims=1),
        helper.make_node("Sub", ["sa", "sb"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info(name, 1, ["batch", f"{name}_time"]) for name in "ab"]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, [1, 1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    a, b = np.full((3, 5), 2, np.float32), np.full((3, 7), 3, np.float32)
    np.savez(tmp_path / "x.npz", a=a, b=b)
    config = DeployConfig("cpu", str(tmp_path / "x.npz"), precision="fp32", shape=("a:1x1:1x2:4x9", "b:1x1:1x2:4x9"))
    deploy(str(tmp_path / "m.onnx"), tmp_path / "out", config)
    seen = []
    real = Session.execute

    def spy(session):
        timing = real(session)
        seen.append(float(session.output("y")[0, 0]))
        return timing

    monkeypatch.setattr(Session, "execute", spy)
    report = run(tmp_path / "out" / "bundle", RunConfig(source=str(tmp_path / "x.npz")))
    assert seen[-3:] == [5 * 2 - 7 * 3] * 3
    assert [frame.name for frame in report.frames] == ["sample 0", "sample 1", "sample 2"]


def test_nothing_to_run_on(small_bundle):
    with pytest.raises(UsageError, match="found no source"):
        run(small_bundle, RunConfig())
