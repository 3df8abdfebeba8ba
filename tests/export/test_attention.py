"""Attention: one ONNX node where that is wanted, the same numbers in every form; the oracle is torch's own call."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")

from edgekit.configs import ExportConfig  # noqa: E402
from edgekit.errors import UsageError  # noqa: E402
from edgekit.export import attention, export  # noqa: E402
from edgekit.export.attention import choose_opset, plain_attention  # noqa: E402

NETS = textwrap.dedent("""
    import functools
    import torch
    import torch.nn.functional as F
    from torch.nn.functional import scaled_dot_product_attention  # as a user holds it

    def heads(x, *sizes):  # [N,T,8] -> [N,*sizes,T,8/sizes]
        return x.unflatten(2, (*sizes, -1)).movedim(1, -2)

    def blinded(mask):
        return mask.masked_fill(mask > 0, -torch.inf)

    FORMS = {
        "three_axes": lambda net, x: scaled_dot_product_attention(net.q(x), x, x),
        "three_axes_causal": lambda net, x: F.scaled_dot_product_attention(net.q(x), x, x, is_causal=True, scale=0.3),
        "two_axes": lambda net, x: torch.stack([F.scaled_dot_product_attention(net.q(x)[0], x[0], x[0])]),
        "five_axes": lambda net, x: F.scaled_dot_product_attention(
            heads(net.q(x), 2, 2), heads(x, 2, 2), heads(x, 2, 2), attn_mask=x[:, None, None, None, :, 0] > -0.5
        ),
        "grouped": lambda net, x: F.scaled_dot_product_attention(
            heads(net.q(x), 4), heads(x, 4)[:, :2], heads(x, 4)[:, :2], enable_gqa=True
        ),
        "float_mask": lambda net, x: F.scaled_dot_product_attention(
            heads(net.q(x), 2), heads(x, 2), heads(x, 2), x[:, None, None, :, 0]
        ),
        "some_rows_see_nothing": lambda net, x: F.scaled_dot_product_attention(
            heads(net.q(x), 2), heads(x, 2), heads(x, 2), (x[:, None, :, :1] > 0) & (x[:, None, None, :, 1] > -3)
        ),
        "some_rows_of_a_float_mask_see_nothing": lambda net, x: F.scaled_dot_product_attention(
            heads(net.q(x), 2), heads(x, 2), heads(x, 2), blinded(x[:, None, :, :1])
        ),
        "negative_scale": lambda net, x: F.scaled_dot_product_attention(
            heads(net.q(x), 2), heads(x, 2), heads(x, 2), scale=-0.5
        ),
        "multi_head": lambda net, x: net.mha(x, x, x)[0],
        "multi_head_padded": lambda net, x: net.mha(
            x, x, x, key_padding_mask=torch.arange(x.shape[1])[None] > 1 + x[:, :1, 0].abs()
        )[0],
        "multi_head_causal": lambda net, x: net.mha(
            x, x, x, need_weights=False, is_causal=True,
            attn_mask=torch.nn.Transformer.generate_square_subsequent_mask(x.shape[1]),
        )[0],
        "multi_head_and_weights": lambda net, x: net.mha(x, net.q(x), x),
        "encoder": lambda net, x: net.encoder(
            x, src_key_padding_mask=torch.arange(x.shape[1])[None] > 1 + x[:, :1, 0].abs()
        ),
    }

    class Net(torch.nn.Module):
        def __init__(self, form):
            super().__init__()
            torch.manual_seed(0)
            self.q = torch.nn.Linear(8, 8)
            self.mha = torch.nn.MultiheadAttention(8, 2, batch_first=True)
            layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
            self.encoder = torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.form = form
        def forward(self, x):
            return FORMS[self.form](self, x)

    def make(form): return Net(form), {"x": torch.randn(2, 5, 8)}
    for name in FORMS:
        globals()[name] = functools.partial(make, name)
""")
SPACE: dict = {}
exec(NETS, SPACE)
FORMS = tuple(SPACE["FORMS"])
FUSED = ExportConfig(target="rtx", precision="fp16")


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("nets") / "nets.py"
    path.write_text(NETS)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("config", [ExportConfig(), FUSED], ids=["opset20", "opset23"])
def test_every_form_says_what_torch_says(nets, tmp_path, form, config):
    report = export(f"{nets}:{form}", tmp_path / "m.onnx", config)
    attentions = report.ops.get("Attention", 0)
    assert (report.opset, attentions) == ((23, 1) if config is FUSED else (20, 0))
    # Weights that nobody reads are not computed.
    softmaxes = report.ops.get("Softmax", 0)
    assert softmaxes == (form == "multi_head_and_weights") + (config is not FUSED)
    module = SPACE["Net"](form).eval().requires_grad_(False)
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    for batch, steps in [(1, 1), (1, 5), (3, 37)] if form != "two_axes" else [(1, 1), (1, 37)]:
        x = torch.randn(batch, steps, 8, generator=torch.Generator().manual_seed(steps))
        with attention.no_fast_path():
            wanted = module(x)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for want, got in zip(wanted, session.run(None, {"x": x.numpy()}), strict=True):
            np.testing.assert_allclose(got, want.numpy(), atol=2e-6)


@pytest.mark.parametrize(
    ("target", "precision", "opset"),
    [
        (None, "fp32", 20),
        (None, "fp16", 20),
        ("rtx", "fp32", 20),
        ("rtx", "fp16", 23),
        ("rtx", "int8+fp16", 23),
        ("rtx", "int8", 20),
        ("jetpack6", "fp16", 20),
        ("jetpack7.0", "fp16", 20),
        ("jetpack7.2", "fp16", 23),
        ("cpu", "fp16", 20),
    ],
)
def test_the_opset_follows_target_and_precision(target, precision, opset):
    config = ExportConfig(target=target, precision=precision)
    assert choose_opset(config, attention=True) == opset
    assert choose_opset(config, attention=False) == 20
    assert choose_opset(ExportConfig(opset=21, target=target, precision=precision), attention=True) == 21


def test_the_form_can_be_forced(nets, tmp_path):
    forced = export(f"{nets}:grouped", tmp_path / "a.onnx", ExportConfig(opset=23))
    assert forced.ops["Attention"] == 1
    plain = export(f"{nets}:grouped", tmp_path / "b.onnx", ExportConfig(opset=20, target="rtx", precision="fp16"))
    assert "Attention" not in plain.ops


def test_afterwards_torch_is_as_it_was():
    original, layer = torch.nn.functional.scaled_dot_product_attention, torch.nn.MultiheadAttention(4, 1)
    with pytest.raises(ValueError, match="within"), plain_attention(layer, fused=True) as seen:
        assert torch.nn.functional.scaled_dot_product_attention is not original
        assert not torch.backends.mha.get_fastpath_enabled()
        assert not seen.attention
        layer(*[torch.ones(2, 1, 4)] * 3)
        assert seen.attention
        raise ValueError("within")
    assert torch.nn.functional.scaled_dot_product_attention is original
    assert torch.backends.mha.get_fastpath_enabled()
    assert "forward" not in vars(layer)


def test_a_target_that_is_none():
    with pytest.raises(UsageError, match="target: expected one of"):
        ExportConfig(target="toaster")
