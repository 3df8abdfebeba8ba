"""CNN, recurrence and attention in one network: padding is not seen, and each of them learns."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from edgekit.errors import UsageError  # noqa: E402
from edgekit.export.source import load_network  # noqa: E402
from edgekit.models.network import Network  # noqa: E402

TINY = {
    "lstm_attention": ("input_size=5", "hidden_size=12", "classes=4"),
    "cnn_bigru_ctc": ("mels=9", "channels=4", "layers=2", "hidden_size=8", "heads=2", "vocabulary=6"),
    "transformer_encoder": (
        "layers=2",
        "heads=2",
        "input_size=5",
        "hidden_size=16",
        "feedforward_size=24",
        "classes=4",
    ),
    "cnn_lstm": ("image_size=20", "channels=4", "hidden_size=12", "classes=4"),
}


def tiny(name: str) -> Network:
    return load_network(name, None, TINY[name])


@pytest.mark.parametrize("name", ["lstm_attention", "transformer_encoder"])
@torch.no_grad()
def test_what_pads_a_sample_changes_nothing(name):
    """The same sample alone, padded with noise, and beside a longer one."""
    module, generator = tiny(name).module, torch.Generator().manual_seed(0)
    x = torch.randn(2, 9, 5, generator=generator)
    alone = module(x[:1, :6], torch.tensor([6]))
    for noise in (0.0, 100.0):
        padded = x.clone()
        padded[0, 6:] = noise
        torch.testing.assert_close(module(padded, torch.tensor([6, 9]))[:1], alone, atol=1e-5, rtol=0)
    assert (module(x[:1], torch.tensor([9])) - alone).abs().max() > 1e-3, "real steps do count"


@torch.no_grad()
def test_speech_does_not_hear_its_padding():
    module, generator = tiny("cnn_bigru_ctc").module, torch.Generator().manual_seed(0)
    for real in (1, 4, 13, 18):
        mel = torch.randn(2, 21, 9, generator=generator)
        alone, steps = module(mel[:1, :real], torch.tensor([real]))
        assert steps.tolist() == [math.ceil(real / 4)] == [alone.shape[1]]
        mel[0, real:] = 50.0
        padded, counts = module(mel, torch.tensor([real, 21]))
        assert counts.tolist() == [math.ceil(real / 4), 6]
        torch.testing.assert_close(padded[0, : steps[0]], alone[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(padded.exp().sum(-1), torch.ones(2, 6), atol=1e-5, rtol=0)


def learned(module, loss, steps: int = 150) -> tuple[float, float]:
    """The loss before and after some steps over the same few samples."""
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    optimizer, losses = torch.optim.Adam(module.parameters(), 1e-2), []
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses[0], losses[-1]


@pytest.mark.parametrize("name", ["lstm_attention", "transformer_encoder", "cnn_lstm"])
def test_a_classifier_learns(name):
    torch.manual_seed(0)
    module, classes = tiny(name).module, torch.arange(4)
    given = (
        (torch.randn(4, 6, 5), torch.tensor([6, 3, 5, 2])) if name != "cnn_lstm" else (torch.randn(4, 3, 3, 20, 20),)
    )
    first, last = learned(module, lambda: torch.nn.functional.cross_entropy(module(*given), classes))
    assert last < 0.05 < first


def test_speech_learns_by_ctc():
    torch.manual_seed(0)
    module, mel, said = tiny("cnn_bigru_ctc").module, torch.randn(2, 32, 9), torch.tensor([[1, 2, 3], [4, 5, 0]])

    def loss():
        made, steps = module(mel, torch.tensor([32, 28]))
        return torch.nn.functional.ctc_loss(made.transpose(0, 1), said, steps, torch.tensor([3, 2]))

    first, last = learned(module, loss)
    assert last < 0.1 < first


@pytest.mark.parametrize(
    ("name", "setting", "says"),
    [
        ("cnn_bigru_ctc", "heads=3", "heads: expected a divisor of 2"),
        ("cnn_bigru_ctc", "vocabulary=1", "the blank and a letter"),
        ("cnn_lstm", "image_size=0", "image_size: expected 1 or more"),
        ("transformer_encoder", "heads=3", "heads: expected a divisor of hidden_size 128, found 3"),
        ("transformer_encoder", "longest=1", "longest: expected 2 or more"),
        ("seq2seq", "heads=3", "heads: expected a divisor of hidden_size 128, found 3"),
    ],
)
def test_sizes_that_cannot_be(name, setting, says):
    with pytest.raises(UsageError, match=says):
        load_network(name, None, (setting,))
