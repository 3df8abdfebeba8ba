"""The recurrent operators in NumPy and float64, each row of a batch by itself.

Shapes: N batch, T time steps, I input size, H hidden, D directions (0 forward, 1 reverse).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

DIRECTIONS = ("forward", "reverse", "bidirectional")


@dataclass(frozen=True)
class LSTM:
    """EdgekitLSTM: an ONNX LSTM without its input projection (ONNX operators, LSTM; gates i, o, f, c).

    `xproj` [T,N,D,4H] is `input_projection`; `r` [D,4H,H] is FP32, FP16, or INT8 with a scale a row, `r_scale` [D,4H].
    `lengths` [N] int32, 0..T, None for all T: behind its end a row's y is 0, and its reverse direction starts there.
    `h0` and `c0` [D,N,H], None for zeros. `clip` bounds what goes into each activation, c before its tanh too, though
    not the c that stays; 0 for no clip.
    """

    xproj: Array
    r: Array
    r_scale: Array | None = None
    lengths: Array | None = None
    h0: Array | None = None
    c0: Array | None = None
    direction: str = "forward"
    clip: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """T, N, D, H."""
        steps, batch, directions, gates = self.xproj.shape
        return steps, batch, directions, gates // 4


class LSTMOutputs(NamedTuple):
    """y [T,D,N,H], h_n and c_n [D,N,H]: ONNX's Y, Y_h and Y_c."""

    y: Array
    h_n: Array
    c_n: Array


def input_projection(x: Array, w: Array, b: Array | None = None) -> Float64:
    """x [T,N,I], w [D,4H,I] and b [D,8H], ONNX's inputs of LSTM -> xproj [T,N,D,4H], with both biases."""
    projected: Float64 = np.einsum("tni,dgi->tndg", x.astype(np.float64), w.astype(np.float64))
    if b is not None:
        half = b.shape[1] // 2
        projected += b[:, :half].astype(np.float64) + b[:, half:]
    return projected


def lstm(op: LSTM) -> LSTMOutputs:
    """Run EdgekitLSTM, each row of the batch by itself, all in float64."""
    steps, batch, directions, hidden = op.shape
    y = np.zeros((steps, directions, batch, hidden))
    h_n, c_n = (_state(given, (directions, batch, hidden)) for given in (op.h0, op.c0))
    for direction in range(directions):
        r = op.r[direction].astype(np.float64)
        if op.r_scale is not None:
            r *= op.r_scale[direction].astype(np.float64)[:, None]
        backwards = op.direction == "reverse" or direction == 1
        for row in range(batch):
            length = steps if op.lengths is None else int(op.lengths[row])
            h, c = h_n[direction, row], c_n[direction, row]
            for time in reversed(range(length)) if backwards else range(length):
                h, c = _step(op.xproj[time, row, direction].astype(np.float64) + r @ h, c, op.clip)
                y[time, direction, row] = h
            h_n[direction, row], c_n[direction, row] = h, c
    return LSTMOutputs(y, h_n, c_n)


def _step(gates: Float64, c: Float64, clip: float) -> tuple[Float64, Float64]:
    """h and c after one step; gates [4H]."""
    i, o, f, candidate = np.split(_clipped(gates, clip), 4)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
    return _sigmoid(o) * np.tanh(_clipped(c, clip)), c


def _clipped(x: Float64, clip: float) -> Float64:
    return np.clip(x, -clip, clip) if clip else x


def _sigmoid(x: Float64) -> Float64:
    # By tanh, which does not overflow.
    sigmoid: Float64 = 0.5 * np.tanh(0.5 * x) + 0.5
    return sigmoid


def _state(given: Array | None, shape: tuple[int, ...]) -> Float64:
    return np.zeros(shape) if given is None else given.astype(np.float64)
