"""The definition of EdgekitLSTM in NumPy, by torch, by a formula of single numbers, and by what must hold for any."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.reference import DIRECTIONS, LSTM, LSTMOutputs, input_projection, lstm

EXACT = 1e-13  # all in float64; |y| < 1


def random_op(
    seed: int, steps: int, batch: int, hidden: int, direction: str = "forward", lengths: Any = None, **more: Any
) -> LSTM:
    """Gates and states of about 1, so that no activation is flat."""
    random = np.random.default_rng(seed)
    directions = 2 if direction == "bidirectional" else 1
    states = (directions, batch, hidden)
    return LSTM(
        xproj=random.normal(size=(steps, batch, directions, 4 * hidden)),
        r=random.normal(size=(directions, 4 * hidden, hidden)) / math.sqrt(hidden),
        lengths=None if lengths is None else np.array(lengths, np.int32),
        h0=random.uniform(-1, 1, states),
        c0=random.normal(size=states),
        direction=direction,
        **more,
    )


def close(found: Any, wanted: Any, atol: float = EXACT) -> None:
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def sigmoid(x: float) -> float:
    return math.exp(x) / (1 + math.exp(x)) if x < 0 else 1 / (1 + math.exp(-x))


def clipped(x: float, clip: float) -> float:
    return max(-clip, min(clip, x)) if clip else x


def by_formula(op: LSTM) -> LSTMOutputs:
    """ONNX's equations for one number at a time: f, g and h as there, gates of unit k at k, H + k, 2H + k, 3H + k."""
    steps, batch, directions, hidden = op.shape
    y = np.zeros((steps, directions, batch, hidden))
    h_n, c_n = np.array(op.h0, np.float64), np.array(op.c0, np.float64)
    for d in range(directions):
        for n in range(batch):
            length = steps if op.lengths is None else int(op.lengths[n])
            before = [float(value) for value in h_n[d, n]]
            for step in range(length):
                back = op.direction == "reverse" or d == 1
                t = length - 1 - step if back else step
                now = []
                for k in range(hidden):
                    gate = []
                    for row in (k, hidden + k, 2 * hidden + k, 3 * hidden + k):
                        scale = 1.0 if op.r_scale is None else float(op.r_scale[d, row])
                        products = [scale * float(op.r[d, row, j]) * before[j] for j in range(hidden)]
                        total = math.fsum([float(op.xproj[t, n, d, row]), *products])
                        gate.append(clipped(total, op.clip))
                    c_n[d, n, k] = sigmoid(gate[2]) * c_n[d, n, k] + sigmoid(gate[0]) * math.tanh(gate[3])
                    now.append(sigmoid(gate[1]) * math.tanh(clipped(c_n[d, n, k], op.clip)))
                y[t, d, n] = h_n[d, n] = before = now
    return LSTMOutputs(y, h_n, c_n)


@st.composite
def ops(draw: st.DrawFn) -> LSTM:
    """Any direction, clip and weights; lengths of 0 to T."""
    steps, batch, hidden = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    lengths = draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    clip = draw(st.sampled_from([0.0, 0.0, 0.1, 1.5]))
    op = random_op(
        draw(st.integers(0, 999)), steps, batch, hidden, draw(st.sampled_from(DIRECTIONS)), lengths, clip=clip
    )
    if draw(st.booleans()):
        random = np.random.default_rng(7)
        scale = random.uniform(0, 0.01, op.r.shape[:2]).astype(np.float32)
        op = replace(op, r=random.integers(-127, 128, op.r.shape).astype(np.int8), r_scale=scale)
    return op


@given(ops())
def test_every_state_is_the_formulas(op):
    close(lstm(op), by_formula(op))


def torchs_order(weights: np.ndarray) -> np.ndarray:
    """Rows i, f, g, o of torch -> i, o, f, c of ONNX, along the first axis."""
    i, f, g, o = np.split(weights, 4)
    return np.concatenate([i, o, f, g])


def torchs_layer(torch: Any, size: int, hidden: int) -> tuple[Any, list[np.ndarray]]:
    """A layer of two directions in float64, and its w [2,4H,I], r [2,4H,H] and b [2,8H] in ONNX's order."""
    torch.manual_seed(5)
    layer = torch.nn.LSTM(size, hidden, bidirectional=True).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(2)
    of = {name: torchs_order(value.detach().numpy()) for name, value in layer.named_parameters()}
    w, r = (np.stack([of[f"weight_{kind}_l0{end}"] for end in ("", "_reverse")]) for kind in ("ih", "hh"))
    b = np.stack([np.concatenate([of[f"bias_ih_l0{end}"], of[f"bias_hh_l0{end}"]]) for end in ("", "_reverse")])
    return layer, [w, r, b]


def one_direction(outputs: LSTMOutputs, direction: int) -> LSTMOutputs:
    y, h_n, c_n = outputs
    return LSTMOutputs(*(array[..., [direction], :, :] for array in (y, h_n, c_n)))


@settings(deadline=None)  # torch warms up
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    padding=st.integers(0, 2),
    hidden=st.integers(1, 7),
    packed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_torch_agrees(lengths, padding, hidden, packed, seed):
    """Both directions at once and each alone, with first states; lengths by packing, which torch has from 1 on."""
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    steps, batch, random = max(lengths) + padding, len(lengths), np.random.default_rng(seed)
    layer, (w, r, b) = torchs_layer(torch, 3, hidden)
    x, (h0, c0) = random.normal(size=(steps, batch, 3)), random.normal(size=(2, 2, batch, hidden))
    given_x = torch.from_numpy(x)
    if packed:
        given_x = rnn.pack_padded_sequence(given_x, torch.tensor(lengths), enforce_sorted=False)
    with torch.no_grad():
        y, (h_n, c_n) = layer(given_x, (torch.from_numpy(h0), torch.from_numpy(c0)))
    if packed:
        y = rnn.pad_packed_sequence(y, total_length=steps)[0]
    wanted = LSTMOutputs(y.numpy().reshape(steps, batch, 2, hidden).swapaxes(1, 2), h_n.numpy(), c_n.numpy())
    xproj, lens = input_projection(x, w, b), np.array(lengths, np.int32) if packed else None
    close(lstm(LSTM(xproj, r, None, lens, h0, c0, "bidirectional")), wanted)
    for index, name in enumerate(("forward", "reverse")):
        one = slice(index, index + 1)
        op = LSTM(xproj[:, :, one], r[one], None, lens, h0[one], c0[one], name)
        close(lstm(op), one_direction(wanted, index))


def test_each_gate_stands_where_onnx_has_it():
    """i, o, f, c: open or shut one by one, from c0 = 0.5."""
    shut, opened = -1000.0, 1000.0
    for gates, c, h in [
        ((shut, opened, opened, 0.3), 0.5, math.tanh(0.5)),  # keeps its cell
        ((opened, opened, shut, 0.3), math.tanh(0.3), math.tanh(math.tanh(0.3))),  # takes the candidate
        ((opened, shut, opened, 0.3), 0.5 + math.tanh(0.3), 0.0),  # shows nothing
        ((shut, opened, shut, 0.3), 0.0, 0.0),  # forgets
    ]:
        xproj = np.array(gates).reshape(1, 1, 1, 4)
        found = lstm(LSTM(xproj, np.zeros((1, 4, 1)), c0=np.full((1, 1, 1), 0.5)))
        close(found, LSTMOutputs(np.full((1, 1, 1, 1), h), np.full((1, 1, 1), h), np.full((1, 1, 1), c)))


def test_a_row_of_length_0_is_as_it_came():
    for direction in DIRECTIONS:
        op = random_op(1, 4, 3, 2, direction, lengths=[4, 0, 1])
        y, h_n, c_n = lstm(op)
        assert not y[:, :, 1].any()
        np.testing.assert_array_equal(h_n[:, 1], op.h0[:, 1])
        np.testing.assert_array_equal(c_n[:, 1], op.c0[:, 1])
        y, h_n, c_n = lstm(replace(op, h0=None, c0=None))
        assert not h_n[:, 1].any()
        assert not c_n[:, 1].any()
        assert h_n[:, 2].all()
        assert y[0, :, 2].all()


@given(ops())
def test_reverse_is_forward_over_rows_turned_around(op):
    """Each row within its own length; the second of two directions is a reverse one."""
    steps, batch, directions, _ = op.shape
    last = slice(directions - 1, directions)
    lengths = np.full(batch, steps) if op.lengths is None else op.lengths
    order = np.stack([np.r_[np.arange(length)[::-1], np.arange(length, steps)] for length in lengths], 1)
    turned = op.xproj[order, np.arange(batch)]
    scale = None if op.r_scale is None else op.r_scale[last]
    state = {"r": op.r[last], "r_scale": scale, "h0": op.h0[last], "c0": op.c0[last]}
    forward = lstm(replace(op, xproj=turned[:, :, last], direction="forward", **state))
    reverse = lstm(replace(op, xproj=op.xproj[:, :, last], direction="reverse", **state))
    rows = np.moveaxis(forward.y, 2, 1)[order, np.arange(batch)]
    close(reverse, (np.moveaxis(rows, 1, 2), forward.h_n, forward.c_n), 0)
    if directions == 2:
        close(reverse, one_direction(lstm(op), 1), 0)


@given(ops(), st.integers(0, 6))
def test_two_pieces_with_the_state_handed_on_are_the_whole(op, cut):
    steps, batch, *_ = op.shape
    cut = min(cut, steps)
    op = replace(op, xproj=op.xproj[:, :, :1], r=op.r[:1], h0=op.h0[:1], c0=op.c0[:1], direction="forward",
                 r_scale=None if op.r_scale is None else op.r_scale[:1])  # fmt: skip
    lengths = np.full(batch, steps) if op.lengths is None else op.lengths
    first = lstm(replace(op, xproj=op.xproj[:cut], lengths=np.minimum(lengths, cut)))
    rest = np.maximum(lengths - cut, 0)
    second = lstm(replace(op, xproj=op.xproj[cut:], lengths=rest, h0=first.h_n, c0=first.c_n))
    close((np.concatenate([first.y, second.y]), second.h_n, second.c_n), lstm(op), 0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_lies_behind_a_rows_end_does_not_matter(direction):
    op = random_op(3, 5, 3, 4, direction, lengths=[2, 5, 0])
    spoiled = op.xproj.copy()
    spoiled[2:, 0] = spoiled[:, 2] = np.nan
    close(lstm(replace(op, xproj=spoiled)), lstm(op), 0)


@given(ops())
def test_int8_weights_are_their_products_with_the_scales(op):
    random = np.random.default_rng(11)
    r, scale = random.integers(-128, 128, op.r.shape).astype(np.int8), random.uniform(0.001, 0.02, op.r.shape[:2])
    scale = scale.astype(np.float32)
    close(
        lstm(replace(op, r=r, r_scale=scale)), lstm(replace(op, r=r * scale[..., None].astype(float), r_scale=None)), 0
    )


def test_huge_gates_neither_overflow_nor_warn():
    op = random_op(4, 3, 2, 2)
    for factor in (1e5, 1e30, 1e300):
        assert all(np.isfinite(array).all() for array in lstm(replace(op, xproj=factor * op.xproj)))


def test_clip_bounds_what_the_gates_take():
    """At a clip of 0.2 all gates of 1 and of 0.2 are the same; c may grow beyond it, but not what its tanh takes."""
    op = random_op(6, 20, 2, 3, clip=0.2)
    op = replace(op, r=np.zeros_like(op.r), c0=op.c0 + 3)
    one = lstm(replace(op, xproj=np.ones_like(op.xproj)))
    np.testing.assert_allclose(np.abs(one.y).max(), sigmoid(0.2) * math.tanh(0.2), rtol=1e-12)
    close(one, lstm(replace(op, xproj=np.full_like(op.xproj, 0.2))), 0)
    assert np.abs(one.c_n - lstm(replace(op, xproj=np.ones_like(op.xproj), clip=0)).c_n).min() > 0.1
    assert one.c_n.max() > 0.2


def test_input_projection_is_onnxs():
    """x W^T + Wb + Rb, one sum at a time; bias b [D,8H] is Wb, then Rb."""
    random = np.random.default_rng(8)
    x, w, b = (random.normal(size=shape).astype(np.float32) for shape in ((3, 2, 5), (2, 8, 5), (2, 16)))
    found, bare = input_projection(x, w, b), input_projection(x, w)
    assert found.shape == (3, 2, 2, 8)
    assert found.dtype == np.float64
    for t, n, d, g in np.ndindex(found.shape):
        product = math.fsum(float(x[t, n, i]) * float(w[d, g, i]) for i in range(5))
        assert found[t, n, d, g] == pytest.approx(product + float(b[d, g]) + float(b[d, 8 + g]), abs=1e-14)
        assert bare[t, n, d, g] == pytest.approx(product, abs=1e-14)


def test_outputs_do_not_share_memory_with_the_first_state():
    op = random_op(9, 3, 2, 2)
    h0, c0 = op.h0.copy(), op.c0.copy()
    lstm(op)
    np.testing.assert_array_equal(op.h0, h0)
    np.testing.assert_array_equal(op.c0, c0)
