"""Seeded problems of each recurrent operator, the same computation by torch, and the bar on a kernel's error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit import reference
from edgekit.plugins.emulator import Emulator
from edgekit.reference import GRU, LSTM, RNN
from tests.plugins.formulas import KINDS, computed

torch = pytest.importorskip("torch")

WEIGHTS = {"FP32": np.float32, "FP16": np.float16, "INT8": np.int8}
# An activation of FP32 is right to a few units in the last place, and so are the states, which are about 1: where torch
# happens to be exact, that much is still allowed.
FLOOR = 4e-7
# h, below 1, is rounded to FP16 by up to 2^-12 in each step, and R multiplies that. With few units nothing averages it,
# while torch, which rounds the product as well, may happen to undo it.
NARROW_FLOOR = 2.0**-12


def made(kind: str, steps: int, batch: int, hidden: int, weights: str = "FP16", **more: Any) -> Any:
    """Seeded numbers as a trained network has them: gates of a few units, state in -1 .. 1; two directions."""
    operator, own = KINDS[kind]
    random = np.random.default_rng([steps, batch, hidden])
    more = {"direction": "bidirectional", **own, **more}
    directions = 2 if more["direction"] == "bidirectional" else 1
    r = random.normal(size=(directions, operator.gates * hidden, hidden)) / np.sqrt(hidden)
    if kind == "RNN, relu":
        r *= 0.5  # nothing bounds its states
    scale = np.abs(r).max(axis=2) / 127 if weights == "INT8" else None
    if operator is LSTM:
        more.setdefault("c0", random.normal(size=(directions, batch, hidden)).astype(np.float32))
    if operator is GRU:
        more.setdefault("rb_h", random.normal(size=(directions, hidden)).astype(np.float32))
    more.setdefault("h0", random.uniform(-1, 1, (directions, batch, hidden)).astype(np.float32))
    return operator(
        xproj=random.normal(size=(steps, batch, directions, operator.gates * hidden)).astype(np.float32),
        r=(r if scale is None else np.round(r / scale[..., None])).astype(WEIGHTS[weights]),
        r_scale=None if scale is None else scale.astype(np.float32),
        **more,
    )


def in_torch(op: Any) -> tuple[np.ndarray, ...]:
    """The same by torch: R and what it multiplies in the precision of R, FP16 for INT8; the rest in FP32."""
    steps, batch, directions, hidden = op.shape
    y = np.zeros((steps, directions, batch, hidden), np.float32)
    given = (op.h0, op.c0) if isinstance(op, LSTM) else (op.h0,)
    ends = [np.zeros((directions, batch, hidden), np.float32) for _ in given]
    narrow = torch.float32 if op.r.dtype == np.float32 else torch.float16
    for direction, row in np.ndindex(directions, batch):
        r = op.r[direction].astype(np.float32)
        r = torch.tensor(r if op.r_scale is None else r * op.r_scale[direction][:, None]).to(narrow)
        states = [torch.zeros(hidden) if s is None else torch.tensor(s[direction, row]) for s in given]
        length = steps if op.lengths is None else int(op.lengths[row])
        backwards = op.direction == "reverse" or direction == 1
        for time in reversed(range(length)) if backwards else range(length):
            states = _step(op, direction, torch.tensor(op.xproj[time, row, direction]), r, states)
            y[time, direction, row] = states[0]
        for end, state in zip(ends, states, strict=True):
            end[direction, row] = state
    return (y, *ends)


def _step(op: Any, direction: int, x: Any, r: Any, states: list[Any]) -> list[Any]:
    def times(rows: Any, h: Any) -> Any:
        return (rows @ h.to(r.dtype)).float()

    def clip(gate: Any) -> Any:
        return gate.clamp(-op.clip, op.clip) if op.clip else gate

    h, hidden = states[0], len(states[0])
    if isinstance(op, LSTM):
        i, o, f, candidate = clip(x + times(r, h)).chunk(4)
        c = torch.sigmoid(f) * states[1] + torch.sigmoid(i) * torch.tanh(candidate)
        return [torch.sigmoid(o) * torch.tanh(clip(c)), c]
    if isinstance(op, RNN):
        gate = clip(x + times(r, h))
        return [torch.tanh(gate) if op.activation == "tanh" else torch.relu(gate)]
    z, reset = torch.sigmoid(clip(x[: 2 * hidden] + times(r[: 2 * hidden], h))).chunk(2)
    bias = 0 if op.rb_h is None else torch.tensor(op.rb_h[direction])
    last = r[2 * hidden :]
    recurrent = reset * (times(last, h) + bias) if op.linear_before_reset else times(last, reset * h) + bias
    n = torch.tanh(clip(x[2 * hidden :] + recurrent))
    return [(1 - z) * n + z * h]


def check(emulator: Emulator, op: Any) -> tuple[np.ndarray, ...]:
    """Run the kernel and hold each output to at most twice torch's error."""
    found, floor = computed(emulator, op), FLOOR if op.r.dtype == np.float32 else NARROW_FLOOR
    largest = np.abs(op.r * (1.0 if op.r_scale is None else op.r_scale[..., None])).max()
    for kernel, exact, peer in zip(found, computed(reference, op), in_torch(op), strict=True):
        assert kernel.shape == exact.shape
        size = max(1.0, np.abs(exact).max()) * max(1.0, largest) * (op.shape[0] if op.shape[3] < 8 else 1)
        error, allowed = np.abs(kernel - exact).max(), 2 * np.abs(peer - exact).max() + floor * size
        assert error <= allowed, f"{error:.3g}, where twice torch's error is {allowed:.3g}"
    return found
