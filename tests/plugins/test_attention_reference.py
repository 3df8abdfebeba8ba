"""The definition of EdgekitAttention in NumPy, by torch, by a formula of single numbers, and at its edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.reference import Attention, attention

torch = pytest.importorskip("torch")

EXACT = 1e-13  # all in float64, numbers of about 1


def random_op(seed: int, heads: tuple[int, int], queries: int, keys: int, past: int | None = None, **more) -> Attention:
    """Two batches, D 5 and D_v 3."""
    random = np.random.default_rng(seed)
    q = random.normal(size=(2, heads[0], queries, 5))
    k, v = (random.normal(size=(2, heads[1], keys, size)) for size in (5, 3))
    if past is not None:
        more |= {"past_k": random.normal(size=(2, heads[1], past, 5))}
        more |= {"past_v": random.normal(size=(2, heads[1], past, 3))}
    return Attention(q, k, v, **more)


def by_torch(op: Attention, **more) -> np.ndarray:
    """scaled_dot_product_attention in float64."""
    q, k, v = (torch.from_numpy(array) for array in (op.q, op.k, op.v))
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=op.scale, enable_gqa=True, **more)
    return mixed.numpy()


@pytest.mark.parametrize("heads", [(1, 1), (3, 3), (6, 2), (4, 1)], ids=str)
def test_torch_agrees(heads):
    """Plain, causal, with a bias, with a mask of truth values, and at another scale."""
    random = np.random.default_rng(1)
    for op in (random_op(2, heads, 4, 7), random_op(3, heads, 4, 7, scale=0.3)):
        np.testing.assert_allclose(attention(op).o, by_torch(op), rtol=0, atol=EXACT)
        causal = by_torch(op, is_causal=True)
        np.testing.assert_allclose(attention(replace(op, causal=True)).o, causal, rtol=0, atol=EXACT)
        bias = random.normal(size=(2, 1, 4, 7))
        masked = by_torch(op, attn_mask=torch.from_numpy(bias))
        np.testing.assert_allclose(attention(replace(op, bias=bias)).o, masked, rtol=0, atol=EXACT)
        seen = random.random((4, 7)) < 0.5
        seen[:, 0] = True
        masked = by_torch(op, attn_mask=torch.from_numpy(seen))
        op = replace(op, bias=np.where(seen, 0, -np.inf))
        np.testing.assert_allclose(attention(op).o, masked, rtol=0, atol=EXACT)


def by_formula(op: Attention) -> np.ndarray:
    """ONNX's steps for one query and one key at a time: product, softcap, bias and masks, softmax, product."""
    (batch, heads, queries, size), group = op.q.shape, op.q.shape[1] // op.k.shape[1]
    k, v = attention(op)[1:] if op.past_k is not None else (op.k, op.v)
    bias = np.broadcast_to(np.zeros(1) if op.bias is None else op.bias, (batch, heads, queries, k.shape[2]))
    o = np.zeros((batch, heads, queries, v.shape[3]))
    for n, head, i in np.ndindex(batch, heads, queries):
        length = k.shape[2] if op.key_lengths is None else int(op.key_lengths[n])
        position = i + (length - queries if op.at_end else op.past)
        weights = {}
        for j in range(length):
            too_late = op.causal and j > position
            too_far = 0 <= op.window_left < position - j or 0 <= op.window_right < j - position
            added = float(bias[n, head, i, j])
            if too_late or too_far or added == -math.inf:
                continue
            x = sum(float(a) * float(b) for a, b in zip(op.q[n, head, i], k[n, head // group, j], strict=True))
            x *= 1 / math.sqrt(size) if op.scale is None else op.scale
            weights[j] = math.exp((op.softcap * math.tanh(x / op.softcap) if op.softcap else x) + added)
        for j, weight in weights.items():
            o[n, head, i] += weight / sum(weights.values()) * v[n, head // group, j]
    return o


@settings(max_examples=60, deadline=None)
@given(data=st.data(), queries=st.integers(1, 5), keys=st.integers(1, 6), past=st.none() | st.integers(0, 4))
def test_the_formula_agrees(data, queries, keys, past):
    draw, total = data.draw, keys + (past or 0)
    lengths = draw(st.none() | st.lists(st.integers(0, total), min_size=2, max_size=2))
    bias = np.random.default_rng(4).normal(size=(2, 1, queries, total))
    bias[bias > 1] = -np.inf
    op = random_op(
        5, draw(st.sampled_from([(1, 1), (4, 2)])), queries, keys, past,
        key_lengths=None if lengths is None else np.array(lengths, np.int32),
        at_end=lengths is not None and draw(st.booleans()), bias=draw(st.sampled_from([None, bias])),
        causal=draw(st.booleans()), softcap=draw(st.sampled_from([0.0, 1.5])),
        window_left=draw(st.integers(-1, 3)), window_right=draw(st.integers(-1, 3)),
    )  # fmt: skip
    np.testing.assert_allclose(attention(op).o, by_formula(op), rtol=0, atol=EXACT)


def test_the_cache_is_past_and_new():
    op = random_op(6, (2, 1), 3, 3, 4, causal=True)
    found = attention(op)
    np.testing.assert_array_equal(found.present_k, np.concatenate([op.past_k, op.k], 2))
    np.testing.assert_array_equal(found.present_v, np.concatenate([op.past_v, op.v], 2))
    without = replace(op, k=found.present_k, v=found.present_v, past_k=None, past_v=None, causal=False)
    np.testing.assert_allclose(attention(without).o[:, :, 2], found.o[:, :, 2], rtol=0, atol=EXACT)
    assert attention(without).present_k is None


def test_who_sees_nothing_gets_zeros_and_nobody_sees_behind_the_length():
    op = random_op(7, (1, 1), 2, 3, key_lengths=np.array([0, 2], np.int32))
    op.v[:, :, 2] = np.nan
    found = attention(op).o
    assert not found[0].any()
    assert np.isfinite(found).all()
    assert found[1].all()
