"""LSTM, GRU and RNN as one operator each, which torch exports as one ONNX node at any batch, length and lengths.

torch's own exporter bakes what follows a recurrence to the example's length, and exports neither a plain RNN of open
length nor packed sequences. Here a layer is a `torch.library.custom_op`: torch sees its shapes only, and a translation
writes the ONNX node. Weights come in ONNX's gate order.

Shapes: T steps, N batch, I input, H hidden, D directions, G gates (4 of LSTM, 3 of GRU, 1 of RNN). x [T,N,I]; weights
are w [D,GH,I], r [D,GH,H] and b [D,2GH]; lengths int [N] or None; h and c [D,N,H] or None; y [T,D,N,H], zero beyond a
sample's length.

Source: ONNX operator specifications LSTM, GRU, RNN: gate orders iofc and zrh, `linear_before_reset`, `sequence_lens`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op  # the oldest that torch writes: newer forms of these operators only add attributes
from torch import Tensor

from edgekit.export.recurrence import gru_step, lstm_step, recurrence, rnn_step

_INT32, _DIRECTIONS = 6, {1: "forward", 2: "bidirectional"}


@torch.library.custom_op("edgekit::lstm", mutates_args=())
def lstm(
    x: Tensor, weights: list[Tensor], lengths: Tensor | None, h: Tensor | None, c: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """-> y, the last h, the last c."""
    y, last, cell = recurrence(lstm_step, x, weights, lengths, [h, c])
    return y, last, cell


@torch.library.custom_op("edgekit::gru", mutates_args=())
def gru(x: Tensor, weights: list[Tensor], lengths: Tensor | None, h: Tensor | None) -> tuple[Tensor, Tensor]:
    """-> y, the last h."""
    y, last = recurrence(gru_step, x, weights, lengths, [h])
    return y, last


@torch.library.custom_op("edgekit::rnn", mutates_args=())
def rnn(
    x: Tensor, weights: list[Tensor], lengths: Tensor | None, h: Tensor | None, activation: str
) -> tuple[Tensor, Tensor]:
    """-> y, the last h; `activation` is Tanh or Relu."""
    y, last = recurrence(rnn_step(activation), x, weights, lengths, [h])
    return y, last


@torch.library.custom_op("edgekit::longest", mutates_args=())
def longest(y: Tensor, lengths: Tensor) -> Tensor:
    """y [T,N,F] -> its first max(lengths) steps, as pad_packed_sequence cuts them."""
    return y[: int(lengths.max())].clone()


def _states(x: Tensor, weights: list[Tensor], count: int) -> tuple[Tensor, ...]:
    """Tensors of the shapes of y and of `count` last states."""
    directions, _, hidden = weights[1].shape
    last = (x.new_empty(directions, x.shape[1], hidden) for _ in range(count))
    return (x.new_empty(x.shape[0], directions, x.shape[1], hidden), *last)


@longest.register_fake
def _(y: Tensor, lengths: Tensor) -> Tensor:
    # From 2 on, or torch would ask at every step whether it might be 1, which it cannot know.
    steps = torch.library.get_ctx().new_dynamic_size(min=2)
    return y.new_empty(steps, *y.shape[1:])


lstm.register_fake(lambda x, weights, lengths, h, c: _states(x, weights, 2))
gru.register_fake(lambda x, weights, lengths, h: _states(x, weights, 1))
rnn.register_fake(lambda x, weights, lengths, h, activation: _states(x, weights, 1))


def _common(weights: Any, lengths: Any) -> tuple[Any, dict[str, Any]]:
    """sequence_lens as int32, and the attributes that all three nodes have."""
    lens = None if lengths is None else op.Cast(lengths, to=_INT32)
    return lens, {"hidden_size": int(weights[1].shape[2]), "direction": _DIRECTIONS[int(weights[1].shape[0])]}


def _to_lstm(x: Any, weights: Any, lengths: Any, h: Any, c: Any) -> Any:
    lens, attributes = _common(weights, lengths)
    w, r, b = weights
    return op.LSTM(x, w, r, b, lens, h, c, **attributes)


def _to_gru(x: Any, weights: Any, lengths: Any, h: Any) -> Any:
    lens, attributes = _common(weights, lengths)
    # torch multiplies by the reset gate after the linear step: any other value computes something else, in silence.
    w, r, b = weights
    return op.GRU(x, w, r, b, lens, h, linear_before_reset=1, **attributes)


def _to_rnn(x: Any, weights: Any, lengths: Any, h: Any, activation: str) -> Any:
    lens, attributes = _common(weights, lengths)
    w, r, b = weights
    return op.RNN(x, w, r, b, lens, h, activations=[activation] * int(weights[1].shape[0]), **attributes)


def _to_slice(y: Any, lengths: Any) -> Any:
    zero: Any = op.Constant(value_ints=[0])
    return op.Slice(y, zero, op.ReduceMax(lengths, keepdims=1), zero)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.edgekit.lstm.default: _to_lstm,
    torch.ops.edgekit.gru.default: _to_gru,
    torch.ops.edgekit.rnn.default: _to_rnn,
    torch.ops.edgekit.longest.default: _to_slice,
}
