"""How each architecture of `export --list` is tried: its tiny settings and inputs of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """`inputs(examples, batch, size, generator)` makes forward's arguments, in order, keyed by their ONNX names.

    It serves the tiny network and the full one: widths come from `examples`. `sizes` are lengths, or edges of a
    picture; a network of one size has one. `ops` are counts of ONNX nodes in the tiny network, `attention` those of
    Attention nodes where target and precision ask for them. `refused` maps a precision to words of the error by which
    TensorRT-RTX refuses it.
    """

    inputs: Callable[[Inputs, int, int, Any], Inputs]
    settings: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (5, 37)
    tolerance: float = 1e-5
    ops: dict[str, int] = field(default_factory=dict)
    attention: int = 0
    refused: dict[str, str] = field(default_factory=dict)


TINY = ("layers=2", "input_size=5", "hidden_size=12", "classes=4", "vocabulary=11")


def picture(examples: Inputs, batch: int, size: int, generator: Any) -> Inputs:
    return {"image": torch.randn(batch, 3, size, size, generator=generator)}


def series(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    return {"x": torch.randn(batch, steps, examples["x"].shape[-1], generator=generator)}


def series_with_lengths(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    return {**series(examples, batch, steps, generator), "lengths": lengths}


def tokens(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    return {"tokens": torch.randint(11, (batch, steps), generator=generator)}


def tokens_with_mask(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    mask = torch.arange(steps) < torch.randint(1, steps + 1, (batch, 1), generator=generator)
    return {**tokens(examples, batch, steps, generator), "mask": mask.to(torch.int64)}


def tokens_behind_past(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    """P is steps // 2, so that it is never T."""
    _, heads, _, size = examples["past_key_0"].shape
    shape = (batch, heads, steps // 2, size)
    past = {name: torch.randn(shape, generator=generator) for name in examples if name != "tokens"}
    return {**tokens(examples, batch, steps, generator), **past}


def series_with_state(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    """States are [layers,N,H], where a cell has h or h and c."""
    layers, _, hidden = examples["h"].shape
    states = {name: torch.randn(layers, batch, hidden, generator=generator) for name in ("h", "c") if name in examples}
    return {**series(examples, batch, steps, generator), **states}


def film(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    return {"frames": torch.randn(batch, steps, *examples["frames"].shape[2:], generator=generator)}


def mel_with_lengths(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    """Lengths differ by more than the strides, so that those of the output differ too."""
    mel = torch.randn(batch, steps, examples["mel"].shape[-1], generator=generator)
    return {"mel": mel, "lengths": steps - torch.arange(batch) * steps // 3}


def source(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    return {"source": torch.randint(11, (batch, steps), generator=generator), "lengths": lengths}


def source_and_target(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    """The target's length is never the source's."""
    target = torch.randint(11, (batch, steps // 2), generator=generator)
    return {**source(examples, batch, steps, generator), "target": target}


def memory_and_tokens(examples: Inputs, batch: int, steps: int, generator: Any) -> Inputs:
    """A memory of `steps`, and a chunk of tokens that is never as long."""
    layers, _, hidden = examples["state"].shape
    return {
        "memory": torch.randn(batch, steps, hidden, generator=generator),
        "lengths": torch.randint(1, steps + 1, (batch,), generator=generator),
        "tokens": torch.randint(11, (batch, steps // 4), generator=generator),
        "state": torch.randn(layers, batch, hidden, generator=generator),
    }


def _recurrent(cell: str, task: str) -> Case:
    inputs = {"forecaster": series, "language_model": tokens}.get(task, series_with_lengths)
    return Case(inputs, TINY, ops={cell.removeprefix("bi").upper(): 2})


_ONE_WAY, _CELLS = ("rnn", "lstm", "gru"), ("rnn", "lstm", "gru", "birnn", "bilstm", "bigru")
_VISION = ("efficientnet_lite0", "alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "efficientnet_b0")

_TRANSFORMER = ("layers=2", "heads=2", "hidden_size=32", "positions=64", "vocabulary=11")
# Heads of 16: TensorRT-RTX has a kernel for them.
_VOCABULARIES = ("source_vocabulary=13", "target_vocabulary=11")
_SEQ2SEQ = ("layers=2", "heads=2", "embedding_size=7", "hidden_size=32", *_VOCABULARIES)
_SPEECH = ("mels=9", "channels=4", "layers=2", "heads=2", "hidden_size=16", "vocabulary=6")
_ENCODER = ("layers=2", "heads=2", "input_size=5", "hidden_size=32", "feedforward_size=24", "classes=4")
_POOLED = ("layers=2", "input_size=5", "hidden_size=12", "classes=4")
_FILM = ("image_size=20", "channels=4", "hidden_size=12", "classes=4")

CASES: dict[str, Case] = {
    **{name: Case(picture, sizes=(224,), tolerance=1e-4) for name in _VISION},
    "vit_b_16": Case(picture, sizes=(224,), tolerance=1e-4, attention=12),
    "vit_small": Case(picture, sizes=(224,), tolerance=1e-4, attention=8),
    "bert_classifier": Case(tokens_with_mask, (*_TRANSFORMER, "intermediate_size=48", "classes=4"), attention=2),
    "gpt2": Case(tokens, _TRANSFORMER, attention=2),
    "gpt2_cached": Case(tokens_behind_past, _TRANSFORMER, attention=2),
    "lraspp_mobilenet_v3_large": Case(picture, sizes=(64, 101), tolerance=1e-4),
    # An odd edge: P-Net's pooling rounds up.
    "mtcnn_pnet": Case(picture, sizes=(48, 101)),
    "mtcnn_rnet": Case(picture, sizes=(24,)),
    "mtcnn_onet": Case(picture, sizes=(48,)),
    **{f"{cell}_{task}": _recurrent(cell, task) for task in ("classifier", "tagger") for cell in _CELLS},
    **{f"{cell}_{task}": _recurrent(cell, task) for task in ("forecaster", "language_model") for cell in _ONE_WAY},
    **{f"{cell}_stream": Case(series_with_state, TINY, sizes=(1, 9), ops={cell.upper(): 2}) for cell in _ONE_WAY},
    "lstm_attention": Case(series_with_lengths, _POOLED, ops={"LSTM": 2, "Softmax": 1}),
    "cnn_lstm": Case(film, _FILM, ops={"Conv": 4, "LSTM": 1}),
    "cnn_bigru_ctc": Case(mel_with_lengths, _SPEECH, ops={"Conv": 2, "GRU": 2}, attention=1),
    "seq2seq": Case(source_and_target, _SEQ2SEQ, ops={"GRU": 4}, attention=1),
    "seq2seq_encoder": Case(source, _SEQ2SEQ, ops={"GRU": 2}),
    "seq2seq_decoder": Case(memory_and_tokens, _SEQ2SEQ, ops={"GRU": 2}, attention=1),
    "transformer_encoder": Case(series_with_lengths, _ENCODER, attention=2),
}
