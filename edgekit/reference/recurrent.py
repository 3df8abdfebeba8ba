"""The recurrent operators in NumPy and float64, each row of a batch by itself.

Shapes: N batch, T time steps, I input size, H hidden, D directions (0 forward, 1 reverse), G gates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

DIRECTIONS = ("forward", "reverse", "bidirectional")
ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Recurrent:
    """What EdgekitLSTM, EdgekitGRU and EdgekitRNN have in common: ONNX's operator without its input projection.

    `xproj` [T,N,D,GH] is `input_projection`; `r` [D,GH,H] is FP32, FP16, or INT8 with a scale a row, `r_scale` [D,GH].
    `lengths` [N] int32, 0..T, None for all T: behind its end a row's y is 0, and its reverse direction starts there.
    `h0` [D,N,H], None for zeros. `clip` bounds what goes into each activation; 0 for no clip.
    """

    gates: ClassVar[int]

    xproj: Array
    r: Array
    r_scale: Array | None = None
    lengths: Array | None = None
    h0: Array | None = None
    direction: str = "forward"
    clip: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """T, N, D, H."""
        steps, batch, directions, rows = self.xproj.shape
        return steps, batch, directions, rows // self.gates


@dataclass(frozen=True)
class LSTM(Recurrent):
    """EdgekitLSTM (ONNX operators, LSTM): gates i, o, f, c. `c0` [D,N,H]; c is clipped before its tanh too, though not
    the c that stays."""

    gates: ClassVar[int] = 4
    c0: Array | None = None


@dataclass(frozen=True)
class GRU(Recurrent):
    """EdgekitGRU (ONNX operators, GRU): gates z, r, h. `rb_h` [D,H] is the recurrent bias of the candidate h, which
    xproj is without; with `linear_before_reset`, as torch and cuDNN have it, r multiplies R h + rb_h, else h itself."""

    gates: ClassVar[int] = 3
    rb_h: Array | None = None
    linear_before_reset: bool = True


@dataclass(frozen=True)
class RNN(Recurrent):
    """EdgekitRNN (ONNX operators, RNN): one gate, `activation` tanh or relu."""

    gates: ClassVar[int] = 1
    activation: str = "tanh"


class LSTMOutputs(NamedTuple):
    """y [T,D,N,H], h_n and c_n [D,N,H]: ONNX's Y, Y_h and Y_c."""

    y: Array
    h_n: Array
    c_n: Array


class Outputs(NamedTuple):
    """y [T,D,N,H] and h_n [D,N,H]: ONNX's Y and Y_h."""

    y: Array
    h_n: Array


def input_projection(x: Array, w: Array, b: Array | None = None, *, apart: int = 0) -> Float64:
    """x [T,N,I], w [D,GH,I] and b [D,2GH], ONNX's inputs -> xproj [T,N,D,GH], with both biases.

    The last `apart` rows keep their recurrent bias to themselves: for GRU they are H, whose bias is `rb_h`.
    """
    projected: Float64 = np.einsum("tni,dgi->tndg", x.astype(np.float64), w.astype(np.float64))
    if b is not None:
        rows = b.shape[1] // 2
        projected += b[:, :rows].astype(np.float64)
        projected[..., : rows - apart] += b[:, rows : 2 * rows - apart]
    return projected


def lstm(op: LSTM) -> LSTMOutputs:
    """Run EdgekitLSTM, all in float64."""
    return LSTMOutputs(*_run(op, (op.h0, op.c0), lambda direction: _lstm_step(op.clip)))


def gru(op: GRU) -> Outputs:
    """Run EdgekitGRU, all in float64."""

    def step_of(direction: int) -> Step:
        bias = np.float64(0) if op.rb_h is None else op.rb_h[direction].astype(np.float64)
        return _gru_step(bias, op.linear_before_reset, op.clip)

    return Outputs(*_run(op, (op.h0,), step_of))


def rnn(op: RNN) -> Outputs:
    """Run EdgekitRNN, all in float64."""

    def step(x: Float64, r: Float64, states: States) -> States:
        gate = _clipped(x + r @ states[0], op.clip)
        return (np.tanh(gate) if op.activation == "tanh" else np.maximum(gate, 0),)

    return Outputs(*_run(op, (op.h0,), lambda direction: step))


States = tuple[Float64, ...]
# xproj [GH], R [GH,H] and the states, h first, each [H] -> the states after a step
Step = Callable[[Float64, Float64, States], States]


def _run(op: Recurrent, given: tuple[Array | None, ...], step_of: Callable[[int], Step]) -> list[Array]:
    """y, then the last states."""
    steps, batch, directions, hidden = op.shape
    y = np.zeros((steps, directions, batch, hidden))
    ends = [np.zeros((directions, batch, hidden)) if s is None else s.astype(np.float64) for s in given]
    for direction in range(directions):
        step, r = step_of(direction), op.r[direction].astype(np.float64)
        if op.r_scale is not None:
            r *= op.r_scale[direction].astype(np.float64)[:, None]
        backwards = op.direction == "reverse" or direction == 1
        for row in range(batch):
            length = steps if op.lengths is None else int(op.lengths[row])
            states: States = tuple(end[direction, row] for end in ends)
            for time in reversed(range(length)) if backwards else range(length):
                states = step(op.xproj[time, row, direction].astype(np.float64), r, states)
                y[time, direction, row] = states[0]
            for end, state in zip(ends, states, strict=True):
                end[direction, row] = state
    return [y, *ends]


def _lstm_step(clip: float) -> Step:
    def step(x: Float64, r: Float64, states: States) -> States:
        h, c = states
        i, o, f, candidate = np.split(_clipped(x + r @ h, clip), 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
        return _sigmoid(o) * np.tanh(_clipped(c, clip)), c

    return step


def _gru_step(bias: Float64, linear_before_reset: bool, clip: float) -> Step:
    def step(x: Float64, r: Float64, states: States) -> States:
        (h,) = states
        hidden = len(h)
        z, reset = np.split(_sigmoid(_clipped(x[: 2 * hidden] + r[: 2 * hidden] @ h, clip)), 2)
        of_candidate = r[2 * hidden :]
        recurrent = reset * (of_candidate @ h + bias) if linear_before_reset else of_candidate @ (reset * h) + bias
        n = np.tanh(_clipped(x[2 * hidden :] + recurrent, clip))
        return ((1 - z) * n + z * h,)

    return step


def _clipped(x: Float64, clip: float) -> Float64:
    return np.clip(x, -clip, clip) if clip else x


def _sigmoid(x: Float64) -> Float64:
    # By tanh, which does not overflow.
    sigmoid: Float64 = 0.5 * np.tanh(0.5 * x) + 0.5
    return sigmoid
