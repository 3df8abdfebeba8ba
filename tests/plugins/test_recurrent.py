"""EdgekitLSTM, EdgekitGRU and EdgekitRNN on the emulator, against float64: at most twice torch's error.

Torch multiplies in the precision of the weights and has the gates and the state in FP32, as the kernels do; INT8
weights become FP16 before they are multiplied.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.plugins.emulator import SCHEDULES, Emulator
from edgekit.reference import DIRECTIONS
from tests.plugins.formulas import KINDS, computed
from tests.plugins.recurrent_cases import WEIGHTS, check, made


@pytest.fixture
def emulator(emulator) -> Emulator:
    """With the device and the schedule of its beginning."""
    return Emulator(emulator.path)


# One of everything; a row over a group, a unit over a warp, a tile and a block's registers; three groups.
EDGES = [(1, 1, 1), (2, 9, 3), (3, 1, 17), (2, 3, 33), (3, 8, 64), (2, 2, 65), (2, 1, 127), (2, 8, 128), (2, 9, 129)]
EDGES += [(2, 1, 150), (1, 17, 20)]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_weight = pytest.mark.parametrize("weights", WEIGHTS)


@every_kind
@every_weight
@pytest.mark.parametrize("shape", EDGES, ids=str)
def test_the_edges(emulator, kind, shape, weights):
    check(emulator, made(kind, *shape, weights))


@every_kind
@every_weight
@pytest.mark.parametrize("hidden", [40, 140])
def test_all_schedules_give_the_same_bits(emulator, kind, hidden, weights):
    """The order in which threads run decides nothing."""
    op = made(kind, 4, 9, hidden, weights, lengths=np.array([4, 0, 1, 4, 2, 3, 4, 1, 3], np.int32))
    results = []
    for schedule in SCHEDULES:
        emulator.schedule(schedule, seed=7)
        results.append(check(emulator, op))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


@every_kind
@every_weight
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ragged_lengths(emulator, kind, direction, weights):
    """0 and 1 among them; behind its end a row is 0, and its last state stays."""
    lengths = np.array([0, 5, 1, 3], np.int32)
    op = made(kind, 5, 4, 24, weights, direction=direction, lengths=lengths)
    y, *ends = check(emulator, op)
    for row, length in enumerate(lengths):
        assert not y[length:, :, row].any()
    for end, first in zip(ends, (op.h0, getattr(op, "c0", None)), strict=False):
        np.testing.assert_array_equal(end[:, 0], first[:, 0])


@every_kind
def test_lengths_beyond_the_sequence_end_with_it(emulator, kind):
    op = made(kind, 3, 2, 8, lengths=np.array([99, -4], np.int32))
    within = replace(op, lengths=np.array([3, 0], np.int32))
    np.testing.assert_array_equal(computed(emulator, op)[0], computed(emulator, within)[0])


@every_kind
@pytest.mark.parametrize("hidden", [16, 136])
def test_a_stream_is_the_sequence(emulator, kind, hidden):
    """State out, state in: step by step gives the bits of the whole, in FP32, where h is not rounded between."""
    op = made(kind, 4, 3, hidden, "FP32", direction="forward")
    whole, states = computed(emulator, op), (op.h0, getattr(op, "c0", None))
    for step in range(4):
        now = {"h0": states[0]} | ({"c0": states[1]} if hasattr(op, "c0") else {})
        y, *states = computed(emulator, replace(op, xproj=op.xproj[step : step + 1], **now))
        np.testing.assert_array_equal(y[0], whole[0][step])
    for end, last in zip(states, whole[1:], strict=True):
        np.testing.assert_array_equal(end, last)


@every_kind
@every_weight
def test_clip_and_no_first_state(emulator, kind, weights):
    op = made(kind, 4, 2, 20, weights, direction="forward", clip=0.3)
    check(emulator, op)
    check(emulator, replace(op, h0=None))
    absent = {name: None for name in ("c0", "rb_h") if hasattr(op, name)}
    check(emulator, replace(op, clip=0.0, **absent))
    assert not np.array_equal(computed(emulator, op)[0], computed(emulator, replace(op, clip=0.0))[0])


@every_kind
@every_weight
@pytest.mark.parametrize(("sm", "multiprocessors"), [(75, 40), (87, 8), (90, 132)])
def test_every_generation_computes_the_same(emulator, kind, sm, multiprocessors, weights):
    """SM 7.5 has smaller tensor core instructions and no asynchronous copies; how many blocks there are depends on the
    device."""
    op = made(kind, 3, 5, 144, weights)
    expected = computed(emulator, op)
    emulator.choose(sm, multiprocessors)
    for first, second in zip(expected, check(emulator, op), strict=True):
        np.testing.assert_allclose(first, second, atol=4e-6)


@every_kind
def test_more_groups_than_fit_take_turns(emulator, kind):
    """Two multiprocessors hold one group of this many units in INT8: the launches share one workspace."""
    emulator.choose(87, 2)
    check(emulator, made(kind, 3, 17, 136 if kind == "LSTM" else 200, "INT8"))


def test_int8_is_the_product_of_integers(emulator):
    """One scale a row: the same weights times eight, an eighth of the scales, the same bits."""
    op = made("LSTM", 3, 2, 32, "INT8")
    small = replace(op, r=np.clip(op.r, -15, 15))
    large = replace(small, r=small.r * np.int8(8), r_scale=small.r_scale / 8)
    np.testing.assert_array_equal(computed(emulator, small)[0], computed(emulator, large)[0])


@pytest.mark.slow  # draws shapes of up to a thousand CUDA threads
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(list(KINDS)),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 10), st.one_of(st.integers(1, 70), st.integers(1, 160))),
    weights=st.sampled_from(list(WEIGHTS)),
    direction=st.sampled_from(DIRECTIONS),
    data=st.data(),
)
def test_any_shape(emulator, kind, shape, weights, direction, data):
    steps, batch, _ = shape
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    clip = data.draw(st.sampled_from([0.0, 0.7]))
    op = made(kind, *shape, weights, direction=direction, clip=clip)
    emulator.schedule(data.draw(st.sampled_from(SCHEDULES)), data.draw(st.integers(0, 1000)))
    check(emulator, replace(op, lengths=None if lengths is None else np.array(lengths, np.int32)))
