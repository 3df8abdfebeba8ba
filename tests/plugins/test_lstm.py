"""EdgekitLSTM's kernel on the emulator, against float64: at most twice the error of torch at the same precision.

Torch multiplies the recurrent weights by h in that precision and has the gates and the state in FP32, as the kernel
does; INT8 weights become FP16 before they are multiplied.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit import reference
from edgekit.plugins.emulator import SCHEDULES, Emulator
from edgekit.reference import DIRECTIONS, LSTM, LSTMOutputs

torch = pytest.importorskip("torch")

WEIGHTS = {"FP32": np.float32, "FP16": np.float16, "INT8": np.int8}
# An activation of FP32 is right to a few units in the last place, and so are h and c, which are below 1: where torch
# happens to be exact, that much is still allowed.
FLOOR = 4e-7


@pytest.fixture
def emulator(emulator) -> Emulator:
    """With the device and the schedule of its beginning."""
    return Emulator(emulator.path)


def made(steps: int, batch: int, hidden: int, weights: str = "FP16", direction: str = "bidirectional", **more) -> LSTM:
    """Seeded numbers as a trained network has them: gates of a few units, state in -1 .. 1."""
    random = np.random.default_rng([steps, batch, hidden])
    directions = 2 if direction == "bidirectional" else 1
    r = random.normal(size=(directions, 4 * hidden, hidden)) / np.sqrt(hidden)
    scale = np.abs(r).max(axis=2) / 127 if weights == "INT8" else None
    stored = np.round(r / scale[..., None]) if scale is not None else r
    return LSTM(
        xproj=random.normal(size=(steps, batch, directions, 4 * hidden)).astype(np.float32),
        r=stored.astype(WEIGHTS[weights]),
        r_scale=None if scale is None else scale.astype(np.float32),
        h0=random.uniform(-1, 1, (directions, batch, hidden)).astype(np.float32),
        c0=random.normal(size=(directions, batch, hidden)).astype(np.float32),
        direction=direction,
        **more,
    )


def in_torch(op: LSTM) -> LSTMOutputs:
    """The same computation by torch: R and h in the precision of R, FP16 for INT8."""
    steps, batch, directions, hidden = op.shape
    y = np.zeros((steps, directions, batch, hidden), np.float32)
    ends = np.zeros((2, directions, batch, hidden), np.float32)
    narrow = torch.float32 if op.r.dtype == np.float32 else torch.float16
    for direction, row in np.ndindex(directions, batch):
        r = op.r[direction].astype(np.float32)
        r = torch.tensor(r if op.r_scale is None else r * op.r_scale[direction][:, None]).to(narrow)
        h, c = (torch.zeros(hidden) if s is None else torch.tensor(s[direction, row]) for s in (op.h0, op.c0))
        length = steps if op.lengths is None else int(op.lengths[row])
        backwards = op.direction == "reverse" or direction == 1
        for time in reversed(range(length)) if backwards else range(length):
            gates = torch.tensor(op.xproj[time, row, direction]) + (r @ h.to(narrow)).float()
            if op.clip:
                gates = gates.clamp(-op.clip, op.clip)
            i, o, f, candidate = gates.chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(candidate)
            h = torch.sigmoid(o) * torch.tanh(c.clamp(-op.clip, op.clip) if op.clip else c)
            y[time, direction, row] = h
        ends[0, direction, row], ends[1, direction, row] = h, c
    return LSTMOutputs(y, *ends)


def check(emulator: Emulator, op: LSTM) -> LSTMOutputs:
    """Run the kernel and hold each output to the bar."""
    found, wanted, torchs = emulator.lstm(op), reference.lstm(op), in_torch(op)
    for name, kernel, exact, peer in zip(LSTMOutputs._fields, found, wanted, torchs, strict=True):
        assert kernel.shape == exact.shape
        error, allowed = np.abs(kernel - exact).max(), 2 * np.abs(peer - exact).max() + FLOOR
        assert error <= allowed, f"{name}: {error:.3g}, where twice torch's error is {allowed:.3g}"
    return found


# Edges: one of everything; a row over a group, a unit over a warp, a tile and a block's registers; three groups.
EDGES = [(1, 1, 1), (2, 9, 3), (3, 1, 17), (2, 3, 33), (3, 8, 64), (2, 2, 65), (2, 1, 127), (2, 8, 128), (2, 9, 129)]
EDGES += [(2, 1, 150), (1, 17, 20)]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", EDGES, ids=str)
def test_the_edges(emulator, shape, weights):
    check(emulator, made(*shape, weights))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("hidden", [40, 140])
def test_all_schedules_give_the_same_bits(emulator, hidden, weights):
    """The order in which threads run decides nothing."""
    op = made(4, 9, hidden, weights, lengths=np.array([4, 0, 1, 4, 2, 3, 4, 1, 3], np.int32))
    results = []
    for kind in SCHEDULES:
        emulator.schedule(kind, seed=7)
        results.append(check(emulator, op))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ragged_lengths(emulator, direction, weights):
    """0 and 1 among them; behind its end a row is 0, and its last state stays."""
    lengths = np.array([0, 5, 1, 3], np.int32)
    op = made(5, 4, 24, weights, direction, lengths=lengths)
    found = check(emulator, op)
    for row, length in enumerate(lengths):
        assert not found.y[length:, :, row].any()
    np.testing.assert_array_equal(found.h_n[:, 0], op.h0[:, 0])
    np.testing.assert_array_equal(found.c_n[:, 0], op.c0[:, 0])


def test_lengths_beyond_the_sequence_end_with_it(emulator):
    op = made(3, 2, 8, lengths=np.array([99, -4], np.int32))
    np.testing.assert_array_equal(emulator.lstm(op).y, emulator.lstm(replace(op, lengths=np.array([3, 0], np.int32))).y)


@pytest.mark.parametrize("hidden", [16, 136])
def test_a_stream_is_the_sequence(emulator, hidden):
    """State out, state in: step by step gives the bits of the whole, in FP32, where h is not rounded between."""
    op = made(4, 3, hidden, "FP32", "forward")
    whole, h, c = emulator.lstm(op), op.h0, op.c0
    for step in range(4):
        part = emulator.lstm(replace(op, xproj=op.xproj[step : step + 1], h0=h, c0=c))
        np.testing.assert_array_equal(part.y[0], whole.y[step])
        _, h, c = part
    np.testing.assert_array_equal((h, c), whole[1:])


@pytest.mark.parametrize("weights", WEIGHTS)
def test_clip_and_no_first_state(emulator, weights):
    op = made(4, 2, 20, weights, "forward", clip=0.3)
    check(emulator, op)
    check(emulator, replace(op, h0=None))
    check(emulator, replace(op, c0=None, clip=0.0))
    assert not np.array_equal(emulator.lstm(op).y, emulator.lstm(replace(op, clip=0.0)).y)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("sm", "multiprocessors"), [(75, 40), (87, 8), (90, 132)])
def test_every_generation_computes_the_same(emulator, sm, multiprocessors, weights):
    """SM 7.5 has smaller tensor core instructions and no asynchronous copies; how many blocks there are depends on the
    device."""
    op = made(3, 5, 144, weights)
    expected = emulator.lstm(op)
    emulator.choose(sm, multiprocessors)
    for first, second in zip(expected, check(emulator, op), strict=True):
        np.testing.assert_allclose(first, second, atol=2e-6)


def test_more_groups_than_fit_take_turns(emulator):
    """Two multiprocessors hold one group of 136 units in INT8: the launches share one workspace."""
    emulator.choose(87, 2)
    check(emulator, made(3, 17, 136, "INT8"))


def test_int8_is_the_product_of_integers(emulator):
    """One scale a row: the same weights times eight, an eighth of the scales, the same bits."""
    op = made(3, 2, 32, "INT8")
    small = replace(op, r=np.clip(op.r, -15, 15))
    large = replace(small, r=small.r * np.int8(8), r_scale=small.r_scale / 8)
    np.testing.assert_array_equal(emulator.lstm(small).y, emulator.lstm(large).y)


@pytest.mark.slow  # draws shapes of up to a thousand CUDA threads
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.integers(1, 5),
    batch=st.integers(1, 10),
    hidden=st.one_of(st.integers(1, 70), st.integers(1, 160)),
    weights=st.sampled_from(list(WEIGHTS)),
    direction=st.sampled_from(DIRECTIONS),
    data=st.data(),
)
def test_any_shape(emulator, steps, batch, hidden, weights, direction, data):
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    op = made(
        steps, batch, hidden, weights, direction, lengths=None if lengths is None else np.array(lengths, np.int32)
    )
    emulator.schedule(data.draw(st.sampled_from(SCHEDULES)), data.draw(st.integers(0, 1000)))
    check(emulator, replace(op, clip=data.draw(st.sampled_from([0.0, 0.7]))))
