"""A wrong export names its first wrong node, and the older exporter is used only where it is allowed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import ExportError  # noqa: E402
from edgekit.export import export, translation  # noqa: E402
from edgekit.export.divergence import first_divergence  # noqa: E402

NETS = textwrap.dedent("""
    import warnings
    import torch

    class Deep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8))
            self.steps = torch.nn.LSTM(8, 4, batch_first=True)
            self.last = torch.nn.Linear(4, 2)
        def forward(self, x):
            return self.last(self.steps(self.first(x))[0])

    class Branches(torch.nn.Module):
        '''Which way it goes depends on the data.'''
        def forward(self, x):
            return x * 2 if bool(x.sum() > 1e9) else x + 1

    class Counts(torch.nn.Module):
        '''A trace keeps the length that it saw.'''
        def forward(self, x):
            return x * float(int(x.shape[1])) if float(x.sum()) < 1e9 else x

    def deep(): return Deep(), {"x": torch.randn(2, 5, 3)}
    def branches(): return Branches(), {"x": torch.randn(2, 5, 3)}
    def scripted():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would rather have its newer exporter
            return torch.jit.script(Branches()), {"x": torch.randn(2, 5, 3)}
    def counts(): return Counts(), {"x": torch.randn(2, 5, 3)}
""")


@pytest.fixture
def nets(tmp_path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


def scaled(proto: onnx.ModelProto, op: str, which: int) -> None:
    """Make a weight of the which-th node of that type 1 % larger."""
    node = [node for node in proto.graph.node if node.op_type == op][which]
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name in node.input)
    values = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize(
    ("op", "which", "of"), [("MatMul", 0, "of first.0"), ("MatMul", 1, "of first.2"), ("LSTM", 0, "of steps")]
)
def test_the_first_wrong_node_is_named(nets, tmp_path, monkeypatch, op, which, of):
    exported = translation.export_dynamo

    def wrong(*given):
        program = exported(*given)
        proto = program.model_proto
        scaled(proto, op, which)
        return SimpleNamespace(model_proto=proto, exported_program=program.exported_program)

    monkeypatch.setattr(translation, "export_dynamo", wrong)
    with pytest.raises(ExportError) as error:
        export(f"{nets}:deep", tmp_path / "m.onnx")
    says = str(error.value)
    assert "; the first node that differs: " in says
    assert of in says
    assert not (tmp_path / "m.onnx").exists()


def test_a_right_translation_is_not_blamed(nets):
    space: dict = {}
    exec(NETS, space)
    module, examples = space["deep"]()
    axes = {"x": {0: "batch", 1: "time"}}
    program = translation.export_dynamo(module.requires_grad_(False), examples, axes, (("x",), ("y",)), 20)
    says = first_divergence(program, {"x": torch.randn(3, 8, 3)}, 1e-5)
    assert says.startswith("every node computes what torch captured")
    assert first_divergence(program, {"x": torch.randn(3, 8, 4)}, 1e-5) == ""


def test_the_older_exporter_is_used_only_where_allowed(nets, tmp_path):
    for name in ("branches", "scripted"):
        with pytest.raises(ExportError, match="next: --allow-legacy"):
            export(f"{nets}:{name}", tmp_path / f"{name}.onnx")
        assert not (tmp_path / f"{name}.onnx").exists()
        report = export(f"{nets}:{name}", tmp_path / f"{name}.onnx", ExportConfig(allow_legacy=True))
        assert report.exporter == "legacy"
        assert report.warnings[0].startswith("exported by torch's older exporter: ")
        x = np.linspace(0, 1, 3 * 7 * 3, dtype=np.float32).reshape(3, 7, 3)
        session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + 1)
    assert export(f"{nets}:deep", tmp_path / "n.onnx", ExportConfig(allow_legacy=True)).exporter == "dynamo"


def test_what_a_trace_bakes_in_does_not_pass(nets, tmp_path):
    with pytest.raises(ExportError, match=r"expected output 'output' within .*; the older exporter names no node"):
        export(f"{nets}:counts", tmp_path / "m.onnx", ExportConfig(allow_legacy=True))
    assert not (tmp_path / "m.onnx").exists()


def test_both_exporters_fail(tmp_path):
    (tmp_path / "odd.py").write_text(
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n"
        "        return torch.linalg.eigvals(x).real if bool(x.sum() < 1e9) else x\n"
        "def make(): return M(), {'x': torch.randn(2, 4, 4)}\n"
    )
    with pytest.raises(ExportError, match="torch's older exporter could not export M either"):
        export(f"{tmp_path / 'odd.py'}:make", tmp_path / "m.onnx", ExportConfig(allow_legacy=True))
