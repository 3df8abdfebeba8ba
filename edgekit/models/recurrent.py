"""RNN, LSTM and GRU networks, untrained until `--weights` is given, over sequences of any length.

x is float32 [N,T,I], lengths int64 [N] says how many steps of each sample are real, 1..T; what follows is not seen.
The streaming forms take a series as it comes, a step or a chunk a call; h and c are [layers,N,H], zeros at its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from edgekit.errors import UsageError
from edgekit.models.network import Network, untrained
from edgekit.models.sizes import sizes_from_one
from edgekit.specs import Stream

_CELLS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@dataclass(frozen=True)
class RecurrentConfig:
    """`classes` are what a classifier or tagger tells apart, `horizon` the values that a forecaster predicts."""

    cell: str = "lstm"
    bidirectional: bool = False
    layers: int = 1
    input_size: int = 40
    hidden_size: int = 128
    classes: int = 10
    horizon: int = 1
    vocabulary: int = 256

    def __post_init__(self) -> None:
        if self.cell not in _CELLS:
            raise UsageError(f"cell: expected one of {', '.join(_CELLS)}, found {self.cell!r}")
        sizes_from_one(self)


class _Steps(nn.Module):
    """The recurrent layers; `width` is the size of what they say at each step."""

    def __init__(self, config: RecurrentConfig, input_size: int) -> None:
        super().__init__()
        self.layers = _CELLS[config.cell](
            input_size, config.hidden_size, config.layers, batch_first=True, bidirectional=config.bidirectional
        )
        self.width = config.hidden_size * (2 if config.bidirectional else 1)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """x [N,T,I] -> every step [N,T,width], and the last state of each direction [N,width]."""
        if lengths is None:
            steps, state = self.layers(x)
        else:
            packed, state = self.layers(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            steps, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        last = state[0] if isinstance(state, tuple) else state
        directions = 2 if self.layers.bidirectional else 1
        return steps, last[-directions:].transpose(0, 1).flatten(1)


class _Headed(nn.Module):
    """The recurrent layers under a linear head of `outputs` values."""

    def __init__(self, config: RecurrentConfig, input_size: int, outputs: int) -> None:
        super().__init__()
        self.steps = _Steps(config, input_size)
        self.head = nn.Linear(self.steps.width, outputs)


class Classifier(_Headed):
    """x [N,T,I], lengths [N] -> logits [N,C], from the last real step of each sample."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config, config.input_size, config.classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Many to one."""
        return self.head(self.steps(x, lengths)[1])  # type: ignore[no-any-return]


class Tagger(_Headed):
    """x [N,T,I], lengths [N] -> logits [N,T,C]; behind a sample's length they mean nothing."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config, config.input_size, config.classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Many to many."""
        return self.head(self.steps(x, lengths)[0])  # type: ignore[no-any-return]


class Forecaster(_Headed):
    """x [N,T,I] -> the next `horizon` values [N,horizon]."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config, config.input_size, config.horizon)

    def forward(self, x: Tensor) -> Tensor:
        """Regression from the whole window."""
        return self.head(self.steps(x, None)[1])  # type: ignore[no-any-return]


class LanguageModel(nn.Module):
    """tokens int64 [N,T] -> logits [N,T,V] of the token that follows each."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        if config.bidirectional:
            raise UsageError("expected a language model in one direction, found bidirectional: it would see the answer")
        self.embedding = nn.Embedding(config.vocabulary, config.hidden_size)
        self.steps = _Steps(config, config.hidden_size)
        self.head = nn.Linear(self.steps.width, config.vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Next token at every position."""
        return self.head(self.steps(self.embedding(tokens), None)[0])  # type: ignore[no-any-return]


class StateStream(_Headed):
    """x [N,T,I], h [layers,N,H] -> logits [N,T,C], the next h; of an RNN or GRU.

    Weights have the names of `Tagger`, so that a tagger in one direction is trained on whole series and streams here.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        if config.bidirectional:
            raise UsageError("expected a stream in one direction, found bidirectional: the future has not come yet")
        super().__init__(config, config.input_size, config.classes)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The steps that have come, from where the last call left off."""
        steps, h = self.steps.layers(x, h)
        return self.head(steps), h


class CellStream(StateStream):
    """x [N,T,I], h [layers,N,H], c [layers,N,H] -> logits [N,T,C], the next h, the next c; of an LSTM."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """The steps that have come, from where the last call left off."""
        steps, (h, c) = self.steps.layers(x, (h, c))
        return self.head(steps), h, c


def classifier(config: RecurrentConfig) -> Network:
    """Sequence classification: spoken commands, gestures, faults of a motor."""
    return _with_lengths(Classifier, config)


def tagger(config: RecurrentConfig) -> Network:
    """A class for every step: voice activity, phases of a movement."""
    return _with_lengths(Tagger, config)


def forecaster(config: RecurrentConfig) -> Network:
    """The next values of a series."""
    return _network(Forecaster, config, {"x": _series(config)}, "values")


def language_model(config: RecurrentConfig) -> Network:
    """The next token."""
    tokens = torch.randint(config.vocabulary, (2, 16), generator=torch.Generator().manual_seed(0))
    return _network(LanguageModel, config, {"tokens": tokens}, "logits")


def stream(config: RecurrentConfig) -> Network:
    """A class for every step of a series that does not end: a microphone, a motor's current."""
    names = ("h", "c") if config.cell == "lstm" else ("h",)
    generator = torch.Generator().manual_seed(1)
    # A state's values lie within -1..1.
    states = {name: torch.rand(config.layers, 2, config.hidden_size, generator=generator) * 2 - 1 for name in names}
    kind = CellStream if config.cell == "lstm" else StateStream
    examples = {"x": _series(config, steps=4), **states}
    return untrained(
        lambda: kind(config),
        examples,
        ("logits", *(f"{name}_out" for name in names)),
        axes={name: {1: "batch"} for name in names},
        ranges={"time": (1, 1, 64)},  # tuned for what a stream brings most often: one step
        stream=Stream(tuple(f"{name}={name}_out" for name in names)),
    )


def _with_lengths(kind: type[nn.Module], config: RecurrentConfig) -> Network:
    return _network(kind, config, {"x": _series(config), "lengths": torch.tensor([16, 9])}, "logits")


def _series(config: RecurrentConfig, steps: int = 16) -> Tensor:
    return torch.randn(2, steps, config.input_size, generator=torch.Generator().manual_seed(0))


def _network(kind: type[nn.Module], config: RecurrentConfig, examples: dict[str, Tensor], output: str) -> Network:
    return untrained(lambda: kind(config), examples, (output,))
