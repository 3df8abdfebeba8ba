"""What the operators LSTM, GRU and RNN compute, step by step, to compare an exported node with.

Plain on purpose: it runs only where an export went wrong and the first wrong node is sought.

Shapes as in `recurrent`. Source: ONNX operator specifications LSTM, GRU (linear_before_reset = 1), RNN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# (x W^T + Wb [N,GH], R [GH,H], Rb [GH], states [N,H] each) -> new states
Step = Callable[[Tensor, Tensor, Tensor, list[Tensor]], list[Tensor]]


def lstm_step(given: Tensor, r: Tensor, b: Tensor, states: list[Tensor]) -> list[Tensor]:
    """Gates in the order i, o, f, c."""
    h, c = states
    i, o, f, g = (given + h @ r.T + b).chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return [o.sigmoid() * c.tanh(), c]


def gru_step(given: Tensor, r: Tensor, b: Tensor, states: list[Tensor]) -> list[Tensor]:
    """Gates in the order z, r, h."""
    (h,) = states
    (gz, gr, gh), (hz, hr, hh) = given.chunk(3, dim=1), (h @ r.T + b).chunk(3, dim=1)
    z = (gz + hz).sigmoid()
    return [(1 - z) * (gh + (gr + hr).sigmoid() * hh).tanh() + z * h]


def rnn_step(activation: str) -> Step:
    """`activation` is Tanh or Relu."""
    function = torch.tanh if activation == "Tanh" else torch.relu
    return lambda given, r, b, states: [function(given + states[0] @ r.T + b)]


def recurrence(
    step: Step, x: Tensor, weights: list[Tensor], lengths: Tensor | None, states: list[Tensor | None]
) -> list[Tensor]:
    """-> y [T,D,N,H], zero beyond a sample's length, and the last states [D,N,H]."""
    directions, _, hidden = weights[1].shape
    zero = x.new_zeros(directions, x.shape[1], hidden)
    y = x.new_zeros(x.shape[0], directions, x.shape[1], hidden)
    lasts = []
    for direction in range(directions):
        w, r, b = (weight[direction] for weight in weights)
        wb, rb = b.chunk(2)
        now = [(zero if state is None else state)[direction] for state in states]
        for t in range(x.shape[0]) if direction == 0 else reversed(range(x.shape[0])):
            valid = torch.ones(x.shape[1], 1, dtype=torch.bool) if lengths is None else (lengths > t)[:, None]
            after = step(x[t] @ w.T + wb, r, rb, now)
            now = [torch.where(valid, new, old) for new, old in zip(after, now, strict=True)]
            y[t, direction] = torch.where(valid, now[0], 0)
        lasts.append(now)
    return [y, *(torch.stack(parts) for parts in zip(*lasts, strict=True))]
