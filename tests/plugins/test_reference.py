"""The recurrent definitions in NumPy, by torch, by a formula of single numbers, and by what must hold for any."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import reference
from edgekit.reference import DIRECTIONS, GRU, LSTM, RNN, gru, input_projection, lstm, rnn
from tests.plugins.formulas import KINDS, alone, by_formula, computed, ops, random_op, sigmoid

EXACT = 1e-13  # all in float64, relative to the largest number, or to 1

every_kind = pytest.mark.parametrize("kind", KINDS)


def close(found: Any, wanted: Any, tolerance: float = EXACT) -> None:
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1.0, np.abs(want).max(initial=0)))


def run(op: Any) -> tuple[np.ndarray, ...]:
    return computed(reference, op)


def one_direction(outputs: tuple[np.ndarray, ...], direction: int) -> list[np.ndarray]:
    return [array[..., [direction], :, :] for array in outputs]


@settings(max_examples=200)
@given(ops())
def test_every_state_is_the_formulas(op):
    close(run(op), by_formula(op))


# Of torch's gates, the ones that ONNX has first, second, ...: i f g o -> i o f c, and r z n -> z r h.
TORCHS_GATES = {LSTM: [0, 3, 1, 2], GRU: [1, 0, 2], RNN: [0]}
OF_TORCH = {"LSTM": ("LSTM", {}), "GRU": ("GRU", {})} | {
    f"RNN, {name}": ("RNN", {"nonlinearity": name}) for name in ("tanh", "relu")
}


def torchs_layer(torch: Any, kind: str, size: int, hidden: int) -> tuple[Any, list[np.ndarray]]:
    """A layer of two directions in float64, and its w [2,GH,I], r [2,GH,H] and b [2,2GH] in ONNX's order."""
    torch.manual_seed(5)
    name, settings_of_it = OF_TORCH[kind]
    layer = getattr(torch.nn, name)(size, hidden, bidirectional=True, **settings_of_it).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(2)
    order = TORCHS_GATES[KINDS[kind][0]]

    def of(parameter: str) -> np.ndarray:
        gates = np.split(getattr(layer, parameter).detach().numpy(), len(order))
        return np.concatenate([gates[gate] for gate in order])

    w, r = (np.stack([of(f"weight_{part}_l0{end}") for end in ("", "_reverse")]) for part in ("ih", "hh"))
    b = np.stack([np.concatenate([of(f"bias_{part}_l0{end}") for part in ("ih", "hh")]) for end in ("", "_reverse")])
    return layer, [w, r, b]


@settings(deadline=None)  # torch warms up
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    padding=st.integers(0, 2),
    hidden=st.integers(1, 7),
    packed=st.booleans(),
    seed=st.integers(0, 99),
)
@pytest.mark.parametrize("kind", OF_TORCH)
def test_torch_agrees(kind, lengths, padding, hidden, packed, seed):
    """Both directions at once and each alone, with first states; lengths by packing, which torch has from 1 on."""
    torch = pytest.importorskip("torch")
    utils = torch.nn.utils.rnn
    steps, batch, random = max(lengths) + padding, len(lengths), np.random.default_rng(seed)
    layer, (w, r, b) = torchs_layer(torch, kind, 3, hidden)
    x, first = random.normal(size=(steps, batch, 3)), random.normal(size=(2, 2, batch, hidden))
    given_x, given_first = torch.from_numpy(x), torch.from_numpy(first)
    if packed:
        given_x = utils.pack_padded_sequence(given_x, torch.tensor(lengths), enforce_sorted=False)
    with torch.no_grad():
        y, last = layer(given_x, tuple(given_first) if kind == "LSTM" else given_first[0])
    if packed:
        y = utils.pad_packed_sequence(y, total_length=steps)[0]
    y = y.numpy().reshape(steps, batch, 2, hidden).swapaxes(1, 2)
    wanted = (y, *(state.numpy() for state in (last if kind == "LSTM" else [last])))
    operator, own = KINDS[kind]
    own = own | {"LSTM": {"c0": first[1]}, "GRU": {"rb_h": b[:, -hidden:]}}.get(kind, {})
    op = operator(
        xproj=input_projection(x, w, b, apart=hidden if kind == "GRU" else 0), r=r, h0=first[0],
        lengths=np.array(lengths, np.int32) if packed else None, direction="bidirectional", **own,
    )  # fmt: skip
    close(run(op), wanted)
    for index, name in enumerate(("forward", "reverse")):
        close(run(alone(op, index, name)), one_direction(wanted, index))


SHUT, OPENED = -1000.0, 1000.0


@pytest.mark.parametrize(
    ("gates", "c", "h"),
    [
        ((SHUT, OPENED, OPENED, 0.3), 0.5, math.tanh(0.5)),  # keeps its cell
        ((OPENED, OPENED, SHUT, 0.3), math.tanh(0.3), math.tanh(math.tanh(0.3))),  # takes the candidate
        ((OPENED, SHUT, OPENED, 0.3), 0.5 + math.tanh(0.3), 0.0),  # shows nothing
        ((SHUT, OPENED, SHUT, 0.3), 0.0, 0.0),  # forgets
    ],
)
def test_each_gate_of_an_lstm_stands_where_onnx_has_it(gates, c, h):
    """i, o, f, c: open or shut one by one, from c0 = 0.5."""
    found = lstm(LSTM(np.array(gates).reshape(1, 1, 1, 4), np.zeros((1, 4, 1)), c0=np.full((1, 1, 1), 0.5)))
    close(found, (np.full((1, 1, 1, 1), h), np.full((1, 1, 1), h), np.full((1, 1, 1), c)))


@pytest.mark.parametrize("reset_last", [True, False])
def test_each_gate_of_a_gru_stands_where_onnx_has_it(reset_last):
    """z, r, h, from h0 = 0.5; R of the candidate is 0.8 and its bias 0.1: which of both does r weaken?"""
    for z, r, wanted in [
        (OPENED, OPENED, 0.5),  # keeps its state
        (SHUT, OPENED, math.tanh(0.3 + 0.8 * 0.5 + 0.1)),  # the candidate sees all of it
        (SHUT, SHUT, math.tanh(0.3) if reset_last else math.tanh(0.3 + 0.1)),  # and nothing
        (SHUT, 0.0, math.tanh(0.3 + 0.5 * (0.4 + 0.1)) if reset_last else math.tanh(0.3 + 0.5 * 0.4 + 0.1)),
        (0.0, SHUT, 0.25 + math.tanh(0.3 if reset_last else 0.4) / 2),
    ]:
        xproj, r_h = np.array([z, r, 0.3]).reshape(1, 1, 1, 3), np.array([0, 0, 0.8]).reshape(1, 3, 1)
        op = GRU(xproj, r_h, h0=np.full((1, 1, 1), 0.5), rb_h=np.full((1, 1), 0.1), linear_before_reset=reset_last)
        close(gru(op), (np.full((1, 1, 1, 1), wanted), np.full((1, 1, 1), wanted)))


@every_kind
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_row_of_length_0_is_as_it_came(kind, direction):
    op = random_op(kind, 1, (4, 3, 2), direction, lengths=[4, 0, 1])
    firsts = [op.h0, op.c0] if kind == "LSTM" else [op.h0]
    y, *states = run(op)
    assert not y[:, :, 1].any()
    for state, first in zip(states, firsts, strict=True):
        np.testing.assert_array_equal(state[:, 1], first[:, 1])
        assert (state[:, 2] != first[:, 2]).all()
    y, *states = run(replace(op, h0=None, **({"c0": None} if kind == "LSTM" else {})))
    assert not any(state[:, 1].any() for state in states)
    assert states[0][:, 2].any()
    np.testing.assert_array_equal(y[0, :, 2], states[0][:, 2])


@given(ops())
def test_reverse_is_forward_over_rows_turned_around(op):
    """Each row within its own length; the second of two directions is a reverse one."""
    steps, batch, directions, _ = op.shape
    lengths = np.full(batch, steps) if op.lengths is None else op.lengths
    order = np.stack([np.r_[np.arange(length)[::-1], np.arange(length, steps)] for length in lengths], 1)
    turned = replace(op, xproj=op.xproj[order, np.arange(batch)])
    forward, reverse = run(alone(turned, directions - 1, "forward")), run(alone(op, directions - 1, "reverse"))
    rows = np.moveaxis(forward[0], 2, 1)[order, np.arange(batch)]
    close(reverse, (np.moveaxis(rows, 1, 2), *forward[1:]), 0)
    if directions == 2:
        close(reverse, one_direction(run(op), 1), 0)


@given(ops(), st.integers(0, 6))
def test_two_pieces_with_the_state_handed_on_are_the_whole(op, cut):
    steps, batch, *_ = op.shape
    cut = min(cut, steps)
    op = alone(op, 0, "forward")
    lengths = np.full(batch, steps) if op.lengths is None else op.lengths
    y, *states = run(replace(op, xproj=op.xproj[:cut], lengths=np.minimum(lengths, cut)))
    handed_on = dict(zip(("h0", "c0"), states, strict=False))
    rest = replace(op, xproj=op.xproj[cut:], lengths=np.maximum(lengths - cut, 0), **handed_on)
    second = run(rest)
    close((np.concatenate([y, second[0]]), *second[1:]), run(op), 0)


@every_kind
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_lies_behind_a_rows_end_does_not_matter(kind, direction):
    op = random_op(kind, 3, (5, 3, 4), direction, lengths=[2, 5, 0])
    spoiled = op.xproj.copy()
    spoiled[2:, 0] = spoiled[:, 2] = np.nan
    close(run(replace(op, xproj=spoiled)), run(op), 0)


@given(ops())
def test_int8_weights_are_their_products_with_the_scales(op):
    random = np.random.default_rng(11)
    r, scale = random.integers(-128, 128, op.r.shape).astype(np.int8), random.uniform(0.001, 0.02, op.r.shape[:2])
    scale = scale.astype(np.float32)
    product = r * scale[..., None].astype(float)
    close(run(replace(op, r=r, r_scale=scale)), run(replace(op, r=product, r_scale=None)), 0)


@every_kind
def test_huge_gates_neither_overflow_nor_warn(kind):
    op = random_op(kind, 4, (3, 2, 2))
    for factor in (1e5, 1e30, 1e300):
        assert all(np.isfinite(array).all() for array in run(replace(op, xproj=factor * op.xproj)))


def test_clip_bounds_what_the_gates_take():
    """At a clip of 0.2 all gates of 1 and of 0.2 are the same; c may grow beyond it, but not what its tanh takes."""
    op = random_op("LSTM", 6, (20, 2, 3), clip=0.2)
    op = replace(op, r=np.zeros_like(op.r), c0=op.c0 + 3)
    one = lstm(replace(op, xproj=np.ones_like(op.xproj)))
    np.testing.assert_allclose(np.abs(one.y).max(), sigmoid(0.2) * math.tanh(0.2), rtol=1e-12)
    close(one, lstm(replace(op, xproj=np.full_like(op.xproj, 0.2))), 0)
    assert np.abs(one.c_n - lstm(replace(op, xproj=np.ones_like(op.xproj), clip=0)).c_n).min() > 0.1
    assert one.c_n.max() > 0.2


def test_clip_bounds_the_states_of_an_rnn():
    for kind, bound in [("RNN, tanh", math.tanh(0.2)), ("RNN, relu", 0.2)]:
        op = random_op(kind, 6, (20, 2, 3), clip=0.2)
        assert np.abs(rnn(op).y).max() == pytest.approx(bound, rel=1e-12)
        assert np.abs(rnn(replace(op, clip=0)).y).max() > 2 * bound


@pytest.mark.parametrize("apart", [0, 4])
def test_input_projection_is_onnxs(apart):
    """x W^T + Wb + Rb, one sum at a time; bias b [D,16] is Wb, then Rb, whose last rows are left out."""
    random = np.random.default_rng(8)
    x, w, b = (random.normal(size=shape).astype(np.float32) for shape in ((3, 2, 5), (2, 8, 5), (2, 16)))
    found, bare = input_projection(x, w, b, apart=apart), input_projection(x, w)
    assert found.shape == (3, 2, 2, 8)
    assert found.dtype == np.float64
    for t, n, d, g in np.ndindex(found.shape):
        product = math.fsum(float(x[t, n, i]) * float(w[d, g, i]) for i in range(5))
        recurrent = float(b[d, 8 + g]) if g < 8 - apart else 0.0
        assert found[t, n, d, g] == pytest.approx(product + float(b[d, g]) + recurrent, abs=1e-14)
        assert bare[t, n, d, g] == pytest.approx(product, abs=1e-14)


@every_kind
def test_outputs_do_not_share_memory_with_the_first_states(kind):
    op = random_op(kind, 9, (3, 2, 2))
    firsts = [op.h0, op.c0] if kind == "LSTM" else [op.h0]
    before = [first.copy() for first in firsts]
    run(op)
    for first, kept in zip(firsts, before, strict=True):
        np.testing.assert_array_equal(first, kept)
