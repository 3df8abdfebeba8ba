"""The recurrent operators by ONNX's equations, one number at a time; random problems, which they judge."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgekit.reference import DIRECTIONS, GRU, LSTM, RNN, Recurrent

# All that an operator can be told to compute.
KINDS: dict[str, tuple[type[Recurrent], dict[str, Any]]] = {
    "LSTM": (LSTM, {}),
    "GRU": (GRU, {"linear_before_reset": True}),
    "GRU, reset first": (GRU, {"linear_before_reset": False}),
    "RNN, tanh": (RNN, {"activation": "tanh"}),
    "RNN, relu": (RNN, {"activation": "relu"}),
}
PER_DIRECTION = ("r", "r_scale", "h0", "c0", "rb_h")


def computed(by: Any, op: Recurrent) -> tuple[np.ndarray, ...]:
    """y and the last states, by the module `edgekit.reference` or by an Emulator."""
    return getattr(by, type(op).__name__.lower())(op)


def random_op(
    kind: str, seed: int, shape: tuple[int, int, int], direction: str = "forward", lengths: Any = None, **more: Any
) -> Any:
    """Shape: T, N, H. Gates and states of about 1, so that no activation is flat."""
    operator, own = KINDS[kind]
    steps, batch, hidden = shape
    random = np.random.default_rng(seed)
    directions = 2 if direction == "bidirectional" else 1
    r = random.normal(size=(directions, operator.gates * hidden, hidden)) / math.sqrt(hidden)
    h0 = random.uniform(-1, 1, (directions, batch, hidden))
    if operator is LSTM:
        own = {"c0": random.normal(size=(directions, batch, hidden))}
    if operator is GRU:
        own = {**own, "rb_h": random.normal(size=(directions, hidden))}
    return operator(
        xproj=random.normal(size=(steps, batch, directions, operator.gates * hidden)),
        r=r,
        lengths=None if lengths is None else np.array(lengths, np.int32),
        h0=h0,
        direction=direction,
        **{**own, **more},
    )


@st.composite
def ops(draw: st.DrawFn) -> Any:
    """Any operator, direction, clip and weights; lengths of 0 to T."""
    shape = steps, batch, _ = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    lengths = draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    clip = draw(st.sampled_from([0.0, 0.0, 0.1, 1.5]))
    kind, direction = draw(st.sampled_from(list(KINDS))), draw(st.sampled_from(DIRECTIONS))
    op = random_op(kind, draw(st.integers(0, 999)), shape, direction, lengths, clip=clip)
    if draw(st.booleans()):
        random = np.random.default_rng(7)
        scale = random.uniform(0, 0.01, op.r.shape[:2]).astype(np.float32)
        op = replace(op, r=random.integers(-127, 128, op.r.shape).astype(np.int8), r_scale=scale)
    return op


def alone(op: Any, index: int, direction: str) -> Any:
    """One direction of `op`, all that is its own, as a problem of `direction`."""
    one = slice(index, index + 1)
    given = {name: value[one] for name in PER_DIRECTION if (value := getattr(op, name, None)) is not None}
    return replace(op, xproj=op.xproj[:, :, one], direction=direction, **given)


def sigmoid(x: float) -> float:
    return math.exp(x) / (1 + math.exp(x)) if x < 0 else 1 / (1 + math.exp(-x))


def clipped(x: float, clip: float) -> float:
    return max(-clip, min(clip, x)) if clip else x


Numbers = list[float]


@dataclass(frozen=True)
class Place:
    """One step of one row in one direction."""

    op: Any
    time: int
    row: int
    direction: int

    def x(self, gate: int) -> float:
        return float(self.op.xproj[self.time, self.row, self.direction, gate])

    def times(self, gate: int, h: Numbers) -> float:
        """A row of R times h."""
        scale = 1.0 if self.op.r_scale is None else float(self.op.r_scale[self.direction, gate])
        return math.fsum(scale * float(self.op.r[self.direction, gate, j]) * h[j] for j in range(len(h)))

    def gate(self, gate: int, h: Numbers) -> float:
        return clipped(self.x(gate) + self.times(gate, h), self.op.clip)


def lstm_step(at: Place, h: Numbers, c: Numbers) -> tuple[Numbers, Numbers]:
    """Gates i, o, f, c of unit k at k, H + k, 2H + k, 3H + k."""
    now, cells = [], []
    for k in range(len(h)):
        i, o, f, candidate = (at.gate(gate * len(h) + k, h) for gate in range(4))
        cells.append(sigmoid(f) * c[k] + sigmoid(i) * math.tanh(candidate))
        now.append(sigmoid(o) * math.tanh(clipped(cells[k], at.op.clip)))
    return now, cells


def gru_step(at: Place, h: Numbers) -> tuple[Numbers]:
    """Gates z, r, h of unit k at k, H + k, 2H + k."""
    hidden, now = len(h), []
    reset = [sigmoid(at.gate(hidden + k, h)) for k in range(hidden)]
    for k in range(hidden):
        z, row = sigmoid(at.gate(k, h)), 2 * hidden + k
        bias = 0.0 if at.op.rb_h is None else float(at.op.rb_h[at.direction, k])
        if at.op.linear_before_reset:
            recurrent = reset[k] * (at.times(row, h) + bias)
        else:
            recurrent = at.times(row, [reset[j] * h[j] for j in range(hidden)]) + bias
        candidate = math.tanh(clipped(at.x(row) + recurrent, at.op.clip))
        now.append((1 - z) * candidate + z * h[k])
    return (now,)


def rnn_step(at: Place, h: Numbers) -> tuple[Numbers]:
    gates = [at.gate(k, h) for k in range(len(h))]
    return ([math.tanh(gate) if at.op.activation == "tanh" else max(gate, 0.0) for gate in gates],)


def by_formula(op: Any) -> tuple[np.ndarray, ...]:
    """y and the last states."""
    steps, batch, directions, hidden = op.shape
    y = np.zeros((steps, directions, batch, hidden))
    ends = [np.array(state, np.float64) for state in ((op.h0, op.c0) if isinstance(op, LSTM) else (op.h0,))]
    step_of: Any = {LSTM: lstm_step, GRU: gru_step, RNN: rnn_step}[type(op)]
    for direction, row in np.ndindex(directions, batch):
        length = steps if op.lengths is None else int(op.lengths[row])
        back = op.direction == "reverse" or direction == 1
        for step in range(length):
            time = length - 1 - step if back else step
            before = [[float(value) for value in end[direction, row]] for end in ends]
            now = step_of(Place(op, time, row, direction), *before)
            for end, state in zip(ends, now, strict=True):
                end[direction, row] = state
            y[time, direction, row] = now[0]
    return (y, *ends)
