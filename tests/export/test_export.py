"""torch -> ONNX: right at sizes that the export never saw, and refused where it would be wrong."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import ExportError, ModelError, OutputError, UsageError  # noqa: E402
from edgekit.export import examples_file, export  # noqa: E402

NETS = textwrap.dedent("""
    import torch

    class Series(torch.nn.Module):
        '''Pools over time: x [N,T,3] float, and a token [N,T] int.'''
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed = torch.nn.Embedding(7, 3)
            self.dense = torch.nn.Linear(3, 2)
        def forward(self, x, token):
            return self.dense(x + self.embed(token)), x.mean(1)

    class Bakes(torch.nn.Module):
        '''Uses the example's length as a Python number inside data.'''
        def forward(self, x):
            return x * torch.tensor(float(x.shape[1]))

    class OneBatch(torch.nn.Module):
        '''Works for a batch of 2 only.'''
        def forward(self, x):
            return x + torch.ones(2, 6)

    class Constant(torch.nn.Module):
        def forward(self, x):
            return x * 0

    class Odd(torch.nn.Module):
        def forward(self, x):
            return x, 3

    class Position(torch.nn.Module):
        '''Fixes its length, as a ViT's position embedding does.'''
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Parameter(torch.ones(4, 3))
        def forward(self, x):
            return x + self.table

    def series(): return Series(), {"x": torch.randn(1, 5, 3), "token": torch.arange(5)[None] % 7}
    def bakes(): return Bakes(), {"x": torch.ones(2, 5, 3)}
    def one_batch(): return OneBatch(), {"x": torch.ones(2, 6)}
    def constant(): return Constant(), {"x": torch.randn(2, 6)}
    def odd(): return Odd(), {"x": torch.randn(2, 6)}
    def position(): return Position(), {"x": torch.randn(2, 4, 3)}
    def picture(): return torch.nn.Conv2d(3, 2, 3), {"input": torch.randn(1, 3, 8, 8)}
    def raises(): return torch.nn.Linear(5, 2), {"input": torch.randn(1, 4)}
""")


@pytest.fixture
def nets(tmp_path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


def made_by_onnxruntime(path: Path, **feeds) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)


def test_batch_and_time_stay_open(nets, tmp_path):
    """The example had a batch of 1 and five steps; the oracle is torch at others, 1 included."""
    report = export(f"{nets}:series", tmp_path / "m.onnx", ExportConfig(save_examples=True))
    assert report.inputs == {"x": ["batch", "time", 3], "token": ["batch", "time"]}
    assert report.outputs == ["output_0", "output_1"]
    space: dict[str, object] = {}
    exec(NETS, space)
    module = space["Series"]()
    for batch, time in [(1, 1), (3, 37), (5, 2)]:
        x, token = torch.randn(batch, time, 3), torch.randint(0, 7, (batch, time))
        with torch.no_grad():
            wanted = module(x, token)
        found = made_by_onnxruntime(report.path, x=x.numpy(), token=token.numpy())
        for want, got in zip(wanted, found, strict=True):
            np.testing.assert_allclose(got, want.numpy(), atol=1e-5)
    with np.load(examples_file(report.path)) as archive:
        assert {name: archive[name].shape for name in archive.files} == {"x": (2, 5, 3), "token": (2, 5)}


def test_the_report_stands_beside_and_the_model_knows_its_ranges(nets, tmp_path):
    report = export(f"{nets}:series", tmp_path / "m.onnx")
    table = json.loads((tmp_path / "m.onnx.json").read_text())
    assert table["stage"] == "export"
    assert len(table["parity"]) == 8
    assert {tuple(item["shapes"]["x"]) for item in table["parity"]} == {(2, 5, 3), (3, 8, 3), (1, 5, 3), (1, 1, 3)}
    onnx = pytest.importorskip("onnx")
    props = {item.key: item.value for item in onnx.load(report.path).metadata_props}
    assert json.loads(props["edgekit.ranges"]) == {"batch": [1, 1, 8], "time": [1, 5, 20]}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("one_batch", "static shape of 2 for dimension inputs['x'].shape[0]"),
        ("odd", "expected forward to return a tensor, or tuples and dicts of tensors, found Tensor, int"),
        ("raises", "expected Linear.forward to accept the example inputs {'input': [2, 4]}"),
    ],
)
def test_what_cannot_be_right_is_refused(nets, tmp_path, name, says):
    with pytest.raises(ExportError) as error:
        export(f"{nets}:{name}", tmp_path / "m.onnx")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "m.onnx").exists()


def test_a_length_baked_into_the_graph_does_not_pass(nets, tmp_path):
    """Either torch keeps the length open and the numbers are right, or the export is refused: never silently wrong."""
    try:
        export(f"{nets}:bakes", tmp_path / "m.onnx")
    except ExportError:
        assert not (tmp_path / "m.onnx").exists()
        return
    x = np.ones((1, 9, 3), np.float32)
    np.testing.assert_allclose(made_by_onnxruntime(tmp_path / "m.onnx", x=x)[0], 9 * x)


def test_parity_bites(nets, tmp_path, monkeypatch):
    """An exporter that changed the numbers is caught, and nothing is left behind."""
    from edgekit.export import translation as room

    exported = room.export_dynamo

    def wrong(*given):
        program = exported(*given)
        proto = program.model_proto
        bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "bias")
        bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + 1e-2).tobytes()
        return SimpleNamespace(model_proto=proto, exported_program=program.exported_program)

    monkeypatch.setattr(room, "export_dynamo", wrong)
    says = "expected output 'output' within .* the first node that differs: Conv node 'node_conv2d', which is 0.0"
    with pytest.raises(ExportError, match=says):
        export(f"{nets}:picture", tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".py" and path.is_file()] == []


def test_a_constant_output_and_a_fixed_length_are_said(nets, tmp_path):
    assert "output 'output' is constant" in export(f"{nets}:constant", tmp_path / "c.onnx").warnings[0]
    report = export(f"{nets}:position", tmp_path / "p.onnx")
    assert report.warnings == ("axis 1 of input 'x' is fixed at 4 by the module",)


def test_picture_axes_open_when_asked(nets, tmp_path):
    asked = ExportConfig(dynamic=("input:2=height", "input:3=width"))
    report = export(f"{nets}:picture", tmp_path / "m.onnx", asked)
    assert report.inputs == {"input": ["batch", 3, "height", "width"]}
    assert made_by_onnxruntime(report.path, input=np.ones((4, 3, 11, 20), np.float32))[0].shape == (4, 2, 9, 18)


@pytest.mark.parametrize("text", ["input", "input:2", "input:x=h", "inpt:1=h", "input:7=h", "input:2=not a name"])
def test_a_malformed_dynamic_is_refused(nets, tmp_path, text):
    with pytest.raises(UsageError):
        export(f"{nets}:picture", tmp_path / "m.onnx", ExportConfig(dynamic=(text,)))


def test_weights_load_from_tensors_only(nets, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = {"weight": torch.full((2, 3, 3, 3), 0.5), "bias": torch.zeros(2)}
    torch.save(state, tmp_path / "w.pt")
    safetensors.save_file(state, tmp_path / "w.safetensors")
    x = np.ones((1, 3, 8, 8), np.float32)
    for name in ("w.pt", "w.safetensors"):
        report = export(f"{nets}:picture", tmp_path / "m.onnx", ExportConfig(weights=tmp_path / name))
        np.testing.assert_allclose(made_by_onnxruntime(report.path, input=x)[0], 13.5, rtol=1e-6)


class Hostile:
    """Unpickling this would run code."""

    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_weights_that_would_run_code_are_refused(nets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Hostile()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="expected weights for Conv2d"):
        export(f"{nets}:picture", tmp_path / "m.onnx", ExportConfig(weights=tmp_path / "w.pt"))
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow  # a full-size network
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets(name, tmp_path):
    report = export(name, tmp_path / "m.onnx")
    assert report.inputs == {"image": ["batch", 3, 224, 224]}
    assert report.warnings == (f"{name} has no --weights: its weights are seeded random numbers",)
    assert max(item.largest_relative for item in report.parity) < 1e-4
    assert not any(item.constant for item in report.parity)


def test_an_exit_in_a_users_file_is_no_success(tmp_path):
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "later.py").write_text("import sys\ndef make(): sys.exit(0)\n")
    for model in ("exits.py:make", "later.py:make"):
        with pytest.raises(ModelError, match="SystemExit"):
            export(f"{tmp_path / model}", tmp_path / "m.onnx")


def test_examples_with_a_gradient_and_an_input_called_file(tmp_path):
    (tmp_path / "odd.py").write_text(
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, file): return file * 2\n"
        "def make(): return M(), {'file': torch.ones(2, 3, requires_grad=True)}\n"
    )
    report = export(f"{tmp_path / 'odd.py'}:make", tmp_path / "m.onnx", ExportConfig(save_examples=True))
    with np.load(examples_file(report.path)) as archive:
        np.testing.assert_array_equal(archive["file"], np.ones((2, 3)))


def test_examples_lie_as_data_are_read(tmp_path):
    """A state's samples come first, as those of its input do; where time is in front of all, nothing is turned."""
    (tmp_path / "turned.py").write_text(
        "import torch\n"
        "class State(torch.nn.Module):\n    def forward(self, x, h): return {'y': x + h[0], 'z': h * 2}\n"
        "class First(torch.nn.Module):\n    def forward(self, x): return x * 2\n"
        "def state(): return State(), {'x': torch.ones(2, 4), 'h': torch.arange(24.0).reshape(3, 2, 4)}\n"
        "def first(): return First(), {'x': torch.ones(5, 2, 4)}\n"
    )
    state, first = (
        export(
            f"{tmp_path / 'turned.py'}:{name}",
            tmp_path / f"{name}.onnx",
            ExportConfig(save_examples=True, dynamic=axes),
        )
        for name, axes in (("state", ("h:1=batch",)), ("first", ("x:0=time", "x:1=batch")))
    )
    with np.load(examples_file(state.path)) as archive:
        np.testing.assert_array_equal(archive["h"], np.arange(24.0).reshape(3, 2, 4).swapaxes(0, 1))
    with np.load(examples_file(first.path)) as archive:
        assert archive["x"].shape == (5, 2, 4)


def test_an_opset_that_torch_does_not_write_is_refused(nets, tmp_path):
    with pytest.raises(ExportError, match="expected ONNX opset 99, found that torch wrote"):
        export(f"{nets}:picture", tmp_path / "m.onnx", ExportConfig(opset=99))


STREAM = """
import torch

class Stream(torch.nn.Module):
    '''x [N,T,3] and the state [layers,N,H] -> y [N,T,2] and the state behind it.'''
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.head = torch.nn.LSTM(3, 4, 2, batch_first=True), torch.nn.Linear(4, 2)
    def forward(self, x, h, c):
        y, (h, c) = self.layers(x, (h, c))
        return {"y": self.head(y), "h": h, "c": c}

def make(): return Stream(), {"x": torch.randn(1, 5, 3), "h": torch.zeros(2, 1, 4), "c": torch.zeros(2, 1, 4)}
"""


def test_a_state_has_its_batch_elsewhere(tmp_path):
    """A stream in chunks of any length is the whole sequence: torch over the whole is the oracle."""
    (tmp_path / "stream.py").write_text(STREAM)
    asked = ExportConfig(dynamic=("h:1=batch", "c:1=batch"))
    report = export(f"{tmp_path / 'stream.py'}:make", tmp_path / "m.onnx", asked)
    assert report.inputs == {"x": ["batch", "time", 3], "h": [2, "batch", 4], "c": [2, "batch", 4]}
    assert report.outputs == ["y", "h_out", "c_out"]
    space: dict[str, object] = {}
    exec(STREAM, space)
    module = space["Stream"]()
    for batch, chunks in [(1, (1, 1, 5)), (3, (2, 1, 9, 1))]:
        x = torch.randn(batch, sum(chunks), 3)
        state = {name: np.zeros((2, batch, 4), np.float32) for name in "hc"}
        with torch.no_grad():
            wanted = module(x, *map(torch.tensor, state.values()))
        parts = []
        for chunk in x.split(chunks, dim=1):
            y, state["h"], state["c"] = made_by_onnxruntime(report.path, x=chunk.numpy(), **state)
            parts.append(y)
        np.testing.assert_allclose(np.concatenate(parts, 1), wanted["y"], atol=1e-6)
        np.testing.assert_allclose(state["c"], wanted["c"], atol=1e-6)


def test_a_state_whose_batch_was_not_told_of_is_asked_for(tmp_path):
    (tmp_path / "stream.py").write_text(STREAM)
    with pytest.raises(UsageError, match=r"found 1 in 'x' and 2 along axis 0 of 'h'; next: --dynamic h:AXIS=batch"):
        export(f"{tmp_path / 'stream.py'}:make", tmp_path / "m.onnx")


CARRIED = """
import torch

class Sum(torch.nn.Module):
    '''x [N,4] and the state [N,4]; one that `drops` it does so on the way to ONNX alone.'''
    def __init__(self, drops):
        super().__init__()
        self.drops = drops
    def forward(self, x, state):
        return x + (state * 0 if self.drops and torch.compiler.is_exporting() else state)

def uses(): return Sum(False), {"x": torch.randn(1, 4), "state": torch.zeros(1, 4)}
def drops(): return Sum(True), {"x": torch.randn(1, 4), "state": torch.zeros(1, 4)}
"""


def test_an_export_that_drops_a_state_of_zeros_is_refused(tmp_path):
    (tmp_path / "carried.py").write_text(CARRIED)
    with pytest.raises(ExportError, match=r"expected output 'output' within .* of torch, found 0"):
        export(f"{tmp_path / 'carried.py'}:drops", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_an_export_that_uses_a_state_of_zeros_passes(tmp_path):
    (tmp_path / "carried.py").write_text(CARRIED)
    report = export(f"{tmp_path / 'carried.py'}:uses", tmp_path / "m.onnx")
    x, state = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(made_by_onnxruntime(report.path, x=x, state=state)[0], x.astype(np.float64) + state)


@pytest.mark.parametrize(
    ("weights", "out"),
    [
        ("w.pt", "nets.py"),
        ("w.pt", "elsewhere/../nets.py"),
        ("w.pt", "linked.py"),
        ("w.pt", "w.pt"),
        ("m.json", "m"),  # the report of OUT
        ("m.examples.npz", "m"),  # the examples of OUT
    ],
)
def test_what_is_read_is_not_written_over(nets, tmp_path, weights, out):
    (tmp_path / "linked.py").symlink_to(nets)
    (tmp_path / "elsewhere").mkdir()
    torch.save({"weight": torch.zeros(2, 3, 3, 3), "bias": torch.zeros(2)}, tmp_path / weights)
    before = {file: file.read_bytes() for file in (nets, tmp_path / weights)}
    there = set(tmp_path.iterdir())
    with pytest.raises(OutputError, match="expected OUT to be another file than"):
        export(f"{nets}:picture", tmp_path / out, ExportConfig(weights=tmp_path / weights, save_examples=True))
    assert {file: file.read_bytes() for file in before} == before
    assert set(tmp_path.iterdir()) == there


def test_an_example_without_a_step_along_an_open_axis_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty.py").write_text(
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, x, past): return x + past.sum()\n"
        "def make(): return M(), {'x': torch.ones(2, 4), 'past': torch.zeros(2, 0, 4)}\n"
    )
    with pytest.raises(UsageError, match="expected an example of 'past' with one value or more") as error:
        export(f"{tmp_path / 'empty.py'}:make", tmp_path / "m.onnx")
    assert "\n" not in str(error.value)
