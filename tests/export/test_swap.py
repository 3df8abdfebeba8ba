"""Users' own recurrent modules export without a changed line, and are the same objects afterwards."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from pathlib import Path
from types import FunctionType

import numpy as np
import onnxruntime
import pytest

# torch says on some CPUs that oneDNN has no projections: the test refuses them anyway.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
torch = pytest.importorskip("torch")

from torch.nn.utils import rnn as torch_rnn  # noqa: E402

from edgekit.build import build  # noqa: E402
from edgekit.cli import main  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig  # noqa: E402
from edgekit.errors import ExportError  # noqa: E402
from edgekit.export import dynamo, export, swap  # noqa: E402
from edgekit.export.axes import dynamic_axes  # noqa: E402
from edgekit.export.swap import exportable  # noqa: E402
from edgekit.usercode import load_callable  # noqa: E402

NETS = textwrap.dedent("""
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

    class Seeded(nn.Module):
        '''x [N,T,4].'''
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.rnn = nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True)
            self.build()
        def build(self): pass
        def pack(self, x, lengths):
            return pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)

    class BoundByName(Seeded):
        '''Cut at the longest sample; -1 behind the others; lengths come back.'''
        def forward(self, x, lengths):
            y, (h, c) = self.rnn(self.pack(x, lengths))
            y, lengths = pad_packed_sequence(y, batch_first=True, padding_value=-1.0)
            return {"y": y, "h": h[-1], "c": c[0], "counted": lengths}

    class ByAttribute(Seeded):
        '''Time first, sorted int32 lengths, all of the input's length, 2.5 behind.'''
        def build(self): self.rnn = nn.GRU(4, 6)
        def forward(self, x, lengths):
            packed = torch.nn.utils.rnn.pack_padded_sequence(x.transpose(0, 1), lengths.int())
            y, h = self.rnn(packed)
            y, n = nn.utils.rnn.pad_packed_sequence(y, padding_value=2.5, total_length=x.size(1))
            return y.transpose(0, 1), h[0], n

    class NoLayer(Seeded):
        '''What lies behind a sample's end is gone after packing, even where no layer stands between.'''
        def forward(self, x, lengths):
            return pad_packed_sequence(self.pack(x, lengths), batch_first=True)[0]

    class Between(Seeded):
        '''What is computed behind the cut meets x at that length again.'''
        def forward(self, x, lengths):
            y, n = pad_packed_sequence(self.rnn(self.pack(x, lengths))[0], batch_first=True)
            return torch.cat([y, x[:, : y.shape[1]]], -1), (y.sum(1) / n[:, None])

    class Shared(Seeded):
        '''Nested, one layer under two names and run twice, packed from layer to layer, the state handed on.'''
        def build(self):
            self.stack = nn.ModuleList([nn.Sequential(nn.GRU(12, 5)), nn.GRU(5, 5)])
            self.again = self.other = self.stack[1]
        def forward(self, x, lengths):
            y, h = self.stack[0](self.rnn(self.pack(x, lengths))[0])
            y, h = self.other(y, h)
            y, h = self.again(y, hx=h)
            return pad_packed_sequence(y, total_length=x.shape[1])[0].transpose(0, 1), h[0]

    class Reads(Seeded):
        '''What training scripts ask of their layer.'''
        def forward(self, x):
            self.rnn.flatten_parameters()
            like = next(self.parameters())
            directions = 2 if self.rnn.bidirectional else 1
            h = like.new_zeros(self.rnn.num_layers * directions, x.size(0), self.rnn.hidden_size)
            y, last = self.rnn(x, [h, h + 1])
            if isinstance(self.rnn, nn.LSTM):
                last = last[0]
            assert isinstance(self.rnn, nn.Module) and not isinstance(self.rnn, nn.GRU) and not self.rnn.training
            return y * self.rnn.weight_ih_l0.abs().sum(), last[-1]

    class Unbatched(Seeded):
        def forward(self, x):
            y, (h, c) = self.rnn(x[0])
            z, _ = self.rnn(x[0], (h, c))
            return y + z, h, x.sum()

    class States(Seeded):
        '''h [N,4,6]: that axis stays closed.'''
        def forward(self, x, h):
            h = h.transpose(0, 1)
            return self.rnn(x, (h, h))[0]

    class Attention(Seeded):
        def build(self): self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        def forward(self, x, lengths):
            y, n = pad_packed_sequence(self.rnn(self.pack(x, lengths))[0], batch_first=True)
            late = torch.arange(y.shape[1])[None] >= n[:, None]
            return self.attention(y, y, y, key_padding_mask=late)[0]

    class Speech(Seeded):
        '''Convolution over time -> GRU -> a class a step.'''
        def build(self):
            self.conv, self.head = nn.Conv1d(4, 8, 3, padding=1), nn.Linear(10, 3)
            self.rnn = nn.GRU(8, 5, batch_first=True, bidirectional=True)
        def forward(self, x):
            return self.head(self.rnn(self.conv(x.transpose(1, 2)).relu().transpose(1, 2))[0]).log_softmax(-1)

    class Own(nn.GRU):
        '''A subclass that only fixes the constructor.'''
        def __init__(self, width): super().__init__(width, 5, batch_first=True)

    class Derived(Seeded):
        def build(self):
            self.own = Own(12)
            nn.utils.parametrizations.weight_norm(self.rnn, "weight_hh_l0")
        def forward(self, x):
            return self.own(self.rnn(x)[0])[0]

    class Projected(Seeded):
        def build(self): self.late = nn.LSTM(4, 6, proj_size=2)
        def forward(self, x): return self.late(self.rnn(x)[0][..., :4])[0]

    class Listed(Seeded):
        def forward(self, x): return pad_packed_sequence(self.rnn(pack_sequence([x[0], x[1]]))[0])[0]

    class Data(Seeded):
        def forward(self, x, lengths): return self.rnn(self.pack(x, lengths))[0].data

    class Sizes(Seeded):
        def forward(self, x, lengths): return x * self.pack(x, lengths).batch_sizes.sum()

    class Tolist(Seeded):
        def forward(self, x, lengths): return self.rnn(pack_padded_sequence(x, lengths.tolist(), True))[1][0]

    class Packed(Seeded):
        def forward(self, x, lengths): return self.rnn(self.pack(x, lengths))[0]

    class Total(Seeded):
        def forward(self, x, lengths):
            return pad_packed_sequence(self.rnn(self.pack(x, lengths))[0], total_length=50)[0]

    class Wide(Seeded):
        '''States for another number of layers.'''
        def forward(self, x): return self.rnn(x, (x.new_zeros(3, x.shape[0], 6),) * 2)[0]

    MADE = {}
    def factory(kind, *arguments):
        def make():
            made = MADE[kind.__name__.lower()] = kind()
            examples = {"x": torch.randn(2, 5, 4), "lengths": torch.tensor([5, 3]), "h": torch.randn(2, 4, 6)}
            return made, {name: examples[name] for name in arguments}
        return make

    for kind in (Reads, Unbatched, Speech, Derived, Projected, Listed, Wide):
        globals()[kind.__name__.lower()] = factory(kind, "x")
    for kind in (BoundByName, ByAttribute, NoLayer, Between, Shared, Attention, Data, Sizes, Tolist, Packed, Total):
        globals()[kind.__name__.lower()] = factory(kind, "x", "lengths")
    states = factory(States, "x", "h")

    def itself():
        MADE["itself"] = nn.GRU(4, 5, 2, batch_first=True, bidirectional=True)
        return MADE["itself"], {"input": torch.randn(2, 5, 4)}

    def resnet():
        from torchvision.models import resnet18
        return resnet18(num_classes=3), {"x": torch.randn(2, 3, 64, 64)}
""")
FUNCTIONS = ("pack_padded_sequence", "pad_packed_sequence", "pack_sequence")
ORIGINALS = {name: getattr(torch_rnn, name) for name in FUNCTIONS}
STAND_INS = (swap._pack, swap._pad, swap._unpackable)


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("swap")
    (folder / "swap_nets.py").write_text(NETS)
    return folder / "swap_nets.py"


@pytest.fixture(autouse=True)
def restored():
    """After every test here, torch's functions are torch's own, also where the user's file bound them."""
    yield
    holders = [torch_rnn, *filter(None, [sys.modules.get("swap_nets")])]
    assert all(getattr(holder, name) is function for holder in holders for name, function in ORIGINALS.items())
    for module in list(sys.modules.values()):
        held = [value for value in list(getattr(module, "__dict__", {}).values()) if callable(value)]
        assert module is swap or not any(value in STAND_INS for value in held if type(value) is FunctionType)


def feeds(inputs: list[str], lengths: list[int], steps: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(len(lengths))
    made = {"x": random.normal(size=(len(lengths), steps, 4)).astype(np.float32), "lengths": np.array(lengths)}
    made["h"] = random.normal(size=(len(lengths), 4, 6)).astype(np.float32)
    made["input"] = made["x"]
    return {name: made[name] for name in inputs}


def check_against_torch(module: torch.nn.Module, path: Path) -> None:
    """At batches 1, 3, 5 and lengths 1, 5, 37; the export saw a batch of 2 and five steps."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]
    for lengths, steps in [([1], 1), ([5, 4, 1], 5), ([36, 20, 20, 2, 1], 37), ([1, 1, 1], 5), ([37], 37)]:
        given = feeds(inputs, lengths, steps)
        with torch.no_grad():
            wanted = module(**{name: torch.from_numpy(value) for name, value in given.items()})
        wanted = (
            [wanted] if isinstance(wanted, torch.Tensor) else wanted.values() if isinstance(wanted, dict) else wanted
        )
        for got, want in zip(session.run(None, given), wanted, strict=True):
            assert got.dtype == want.numpy().dtype
            np.testing.assert_allclose(got, want.numpy(), atol=1e-5)


USERS = ["boundbyname", "byattribute", "nolayer", "between", "shared", "attention", "reads", "unbatched", "speech"]


@pytest.mark.parametrize("name", [*USERS, "derived"])
def test_users_modules_are_right_at_every_size(nets, tmp_path, name):
    path = export(f"{nets}:{name}", tmp_path / "m.onnx").path
    check_against_torch(sys.modules["swap_nets"].MADE[name], path)


def test_a_layer_can_be_the_module_itself(nets, tmp_path):
    report = export(f"{nets}:itself", tmp_path / "m.onnx")
    assert report.ops["GRU"] == 2
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    assert [output.shape for output in session.get_outputs()] == [["batch", "time", 10], [4, "batch", 5]]
    check_against_torch(sys.modules["swap_nets"].MADE["itself"], report.path)


def test_the_layer_axis_of_a_state_is_closed_and_said(nets, tmp_path):
    report = export(f"{nets}:states", tmp_path / "m.onnx")
    assert report.inputs["h"] == ["batch", 4, 6]
    assert report.warnings == ("axis 1 of input 'h' is fixed at 4 by the module",)
    check_against_torch(sys.modules["swap_nets"].MADE["states"], report.path)


@pytest.mark.parametrize("opset", [18, 23])
def test_a_cut_at_the_longest_sample_at_other_opsets(nets, tmp_path, opset):
    path = export(f"{nets}:boundbyname", tmp_path / "m.onnx", ExportConfig(opset=opset)).path
    check_against_torch(sys.modules["swap_nets"].MADE["boundbyname"], path)


@pytest.mark.parametrize("name", ["boundbyname", "attention"])
def test_tensorrt_rtx_builds_a_cut_at_the_longest_sample(nets, tmp_path, name):
    pytest.importorskip("tensorrt_rtx")
    path = export(f"{nets}:{name}", tmp_path / "m.onnx").path
    assert build(path, tmp_path / "m.engine", BuildConfig("rtx", ("8.6",))).bytes > 10_000


REFUSED = [
    ("projected", "expected an LSTM without projections, found proj_size=2"),
    ("listed", "expected pack_padded_sequence, found pack_sequence"),
    ("data", "found a read of its 'data'"),
    ("sizes", "found a read of its 'batch_sizes'"),
    ("tolist", "expected lengths as a tensor, found a list"),
    ("packed", "expected Packed.forward to return tensors, found a packed sequence"),
    ("total", "expected total_length to be the length of the input, found 50"),
]


@pytest.mark.parametrize(("name", "says"), REFUSED)
def test_what_has_no_open_form_is_refused_in_one_line(nets, tmp_path, name, says, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["export", f"{nets}:{name}", str(tmp_path / "m.onnx")])
    assert leaving.value.code == ExportError.exit_code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("edgekit: error: ")
    assert says in line
    assert not (tmp_path / "m.onnx").exists()


def test_states_of_another_size_are_refused_as_torch_refuses_them(nets):
    module, examples = made(nets, "wide")
    with pytest.raises(ExportError, match=r"expected states \[4,N,H\], found 3"):
        exported(module, examples)


def made(nets: Path, name: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    module, examples = load_callable(f"{nets}:{name}", ExportError)()
    return module.eval().requires_grad_(False), examples


def exported(module: torch.nn.Module, examples: dict[str, torch.Tensor]) -> bytes:
    names = (tuple(examples), ())
    program = dynamo.export_dynamo(module, examples, dynamic_axes(examples, (), {}), names, 20)
    return program.model_proto.SerializeToString()


def anatomy(module: torch.nn.Module) -> list[object]:
    """Which objects the module is made of, under which names and in which order."""
    parts = [(name, id(part), part.training) for name, part in module.named_modules(remove_duplicate=False)]
    hooks = [len(part._forward_hooks) for part in module.modules()]
    return [parts, hooks, [(name, id(value)) for name, value in module.named_parameters(remove_duplicate=False)]]


@pytest.mark.parametrize(
    ("name", "works"), [("shared", True), ("reads", True), ("projected", False), ("listed", False), ("packed", False)]
)
def test_afterwards_the_module_is_as_it_was(nets, name, works):
    module, examples = made(nets, name)
    before, wanted, state = anatomy(module), bits(module(**examples)), bits(module.state_dict())
    with contextlib.nullcontext() if works else pytest.raises(ExportError):
        exported(module, examples)
    assert anatomy(module) == before
    assert bits(module.state_dict()) == state
    assert bits(module(**examples)) == wanted


def bits(made: object) -> list[bytes]:
    if isinstance(made, torch.Tensor):
        return [made.numpy().tobytes()]
    parts = made.values() if isinstance(made, dict) else made if isinstance(made, tuple) else ()
    return [value for part in parts for value in bits(part)]


def test_an_interrupt_restores_too(nets):
    module, _ = made(nets, "shared")
    before = anatomy(module)
    with pytest.raises(KeyboardInterrupt), exportable(module):
        assert anatomy(module) != before
        assert all(getattr(torch_rnn, name) is not function for name, function in ORIGINALS.items())
        assert sys.modules["swap_nets"].pack_sequence is torch_rnn.pack_sequence
        raise KeyboardInterrupt
    assert anatomy(module) == before


@pytest.mark.slow  # ResNet-18, exported twice
def test_a_network_without_recurrence_is_not_touched(nets, monkeypatch):
    """The same bytes as without the swap."""
    module, examples = made(nets, "resnet")
    with_swap = exported(module, examples)
    monkeypatch.setattr(dynamo, "exportable", contextlib.nullcontext)
    assert exported(module, examples) == with_swap
