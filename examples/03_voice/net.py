"""silero-vad's network at 16 kHz as a plain module, with its own weights: torch exports no TorchScript to ONNX.

Weights and network: silero-vad 6, MIT, https://github.com/snakers4/silero-vad
"""

import importlib.util
import warnings
from pathlib import Path

import torch
from torch import nn

# Where theirs are -> ours; an LSTMCell becomes an LSTM of one layer.
PLACES = {"final": "decoder.decoder.2", **{f"convs.{index}": f"encoder.{index}.reparam_conv" for index in range(4)}}


def weights() -> dict[str, torch.Tensor]:
    """By our names, from the file that the package silero-vad ships."""
    found = importlib.util.find_spec("silero_vad")
    if found is None or found.origin is None:
        raise SystemExit("expected the package silero-vad, found none; next: pip install --no-deps silero-vad==6.2.3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.load is deprecated, and the file is TorchScript
        state = torch.jit.load(Path(found.origin).parent / "data/silero_vad.jit").state_dict()
    made = {"stft.weight": state["_model.stft.forward_basis_buffer"]}
    for ours, theirs in PLACES.items():
        made |= {f"{ours}.{kind}": state[f"_model.{theirs}.{kind}"] for kind in ("weight", "bias")}
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        made[f"lstm.{kind}_l0"] = state[f"_model.decoder.rnn.{kind}"]
    return made


class Silero(nn.Module):
    """x [N,64+512], the end of the chunk before and a chunk; h, c [1,N,128] -> speech [N,1] and the state."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        self.convs = nn.ModuleList([nn.Conv1d(a, b, 3, stride=stride, padding=1) for a, b, stride in sizes])
        self.lstm, self.final = nn.LSTM(128, 128), nn.Conv1d(128, 1, 1)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stft(nn.functional.pad(x, (0, 64), mode="reflect").unsqueeze(1))
        x = (x[:, :129] ** 2 + x[:, 129:] ** 2).sqrt()
        for conv in self.convs:
            x = conv(x).relu()
        y, (h, c) = self.lstm(x.permute(2, 0, 1), (h, c))
        return {"speech": self.final(y[0].unsqueeze(-1).relu()).sigmoid().squeeze(-1), "h": h, "c": c}


def make() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The module, and inputs to export it with."""
    module = Silero()
    module.load_state_dict(weights())
    sound = torch.randn(2, 576, generator=torch.Generator().manual_seed(0)) / 10
    return module, {"x": sound, "h": torch.zeros(1, 2, 128), "c": torch.zeros(1, 2, 128)}
