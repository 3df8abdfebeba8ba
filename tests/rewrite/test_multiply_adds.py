"""Multiply-adds against torch's own counter, which watches the operators run; sizes at two batches and two lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.export import export  # noqa: E402
from edgekit.rewrite.attention_blocks import attention_blocks  # noqa: E402
from edgekit.rewrite.multiply_adds import multiply_adds  # noqa: E402
from edgekit.rewrite.reading import read_onnx  # noqa: E402
from edgekit.rewrite.shapes_at import shapes_at  # noqa: E402
from tests.onnx_cases import stored_cases  # noqa: E402


class Convolutions(torch.nn.Module):
    """Groups, strides, dilation, a transposed one, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.up = torch.nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.dense = torch.nn.Linear(6, 5)

    def forward(self, x):
        return self.dense(self.up(self.second(self.first(x)).relu()).mean((2, 3)))


class Attends(torch.nn.Module):
    """Grouped heads would change nothing that torch counts; causal, so that a wrong length would show."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = torch.nn.Linear(32, 96), torch.nn.Linear(32, 32)

    def forward(self, x):
        q, k, v = (part.unflatten(2, (4, 8)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


def counted(path: Path, sizes: dict[str, tuple[int, ...]]) -> int:
    model = read_onnx(path)
    work = multiply_adds(model, shapes_at(model, sizes))
    assert all(item.macs is not None for item in work)
    return sum(item.macs or 0 for item in work)


def by_torch(module: torch.nn.Module, *inputs: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*inputs)
    return counter.get_total_flops() // 2


MODULE = "tests/rewrite/test_multiply_adds.py"


def make_convolutions():
    return Convolutions(), {"x": torch.randn(2, 4, 16, 16)}


def make_attends():
    return Attends(), {"x": torch.randn(2, 6, 32)}


def test_convolutions(tmp_path):
    export(f"{MODULE}:make_convolutions", tmp_path / "m.onnx")
    for batch in (1, 3):
        x = torch.randn(batch, 4, 16, 16)
        assert counted(tmp_path / "m.onnx", {"x": tuple(x.shape)}) == by_torch(Convolutions(), x)


@pytest.mark.parametrize("opset", [20, 23])
def test_attention_as_a_node_and_as_products(tmp_path, opset):
    """Without a GPU torch attends through its math form, which its counter sees as two batched products."""
    export(f"{MODULE}:make_attends", tmp_path / "m.onnx", ExportConfig(opset=opset))
    assert len(attention_blocks(read_onnx(tmp_path / "m.onnx"))) == 1
    for batch, steps in ((1, 6), (3, 11)):
        x = torch.randn(batch, steps, 32)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            wanted = by_torch(Attends(), x)
        assert counted(tmp_path / "m.onnx", {"x": tuple(x.shape)}) == wanted


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrences(op, gates):
    """Every step takes W [gates*H,I] and R [gates*H,H] once a row; the stored cases have both layouts."""
    for name, case in stored_cases().items():
        node = case.model.graph.node[0]
        if node.op_type != op or len(case.model.graph.node) > 1:
            continue
        known = shapes_at(case.model, {})
        x, w = known[node.input[0]].shape, known[node.input[1]].shape
        directions, rows, width = w
        (item,) = multiply_adds(case.model, known)
        assert item.macs == directions * x[0] * x[1] * rows * (width + rows // gates), name


def test_what_depends_on_the_data_stays_unknown():
    case = stored_cases()["test_nonzero_example"]
    assert shapes_at(case.model, {})[case.model.graph.output[0].name].shape in (None, (2, 3))
    bare = onnx.ModelProto.FromString(case.model.SerializeToString())
    bare.graph.output[0].type.tensor_type.ClearField("shape")
    assert shapes_at(bare, {})[bare.graph.output[0].name].shape is None


def test_without_sizes_nothing_is_counted(small_onnx):
    model = read_onnx(small_onnx)
    assert [item.macs for item in multiply_adds(model, shapes_at(model, {}))] == [None, None]
