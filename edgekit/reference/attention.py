"""Attention with a KV cache in NumPy and float64, each head of each batch by itself.

Shapes: N batch, h heads of q, h_kv heads of k and v (each serves h / h_kv neighbours), S_q queries, S_kv new keys, P
past keys, S_total = P + S_kv, D and D_v sizes of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attention:
    """EdgekitAttention: ONNX's Attention, its inputs with the heads in front (ONNX operators, Attention 23 to 25).

    `q` [N,h,S_q,D], `k` [N,h_kv,S_kv,D], `v` [N,h_kv,S_kv,D_v]; `bias` is added to the scores, of a shape that
    broadcasts to [N,h,S_q,S_total]; `key_lengths` [N] int32 counts the keys that are there, past ones among them;
    `past_k` [N,h_kv,P,D] and `past_v` [N,h_kv,P,D_v], or None without a cache.

    Query i stands at position P + i, or with `at_end` at key_lengths[n] - S_q + i. It sees key j where j is below the
    length, not behind the position if `causal`, and at most `window_left` before or `window_right` behind it (-1: any
    number). `scale` is 1 / sqrt(D) when None; `softcap` (0: none) bounds scores before the bias.
    """

    q: Array
    k: Array
    v: Array
    bias: Array | None = None
    key_lengths: Array | None = None
    past_k: Array | None = None
    past_v: Array | None = None
    scale: float | None = None
    causal: bool = False
    window_left: int = -1
    window_right: int = -1
    softcap: float = 0.0
    at_end: bool = False

    @property
    def past(self) -> int:
        """P."""
        return 0 if self.past_k is None else int(self.past_k.shape[2])

    @property
    def scaling(self) -> float:
        """What q k^T is multiplied by."""
        return float(1 / np.sqrt(self.q.shape[3])) if self.scale is None else self.scale


class AttentionOutputs(NamedTuple):
    """o [N,h,S_q,D_v], present_k [N,h_kv,S_total,D], present_v [N,h_kv,S_total,D_v]; None without a past."""

    o: Array
    present_k: Array | None
    present_v: Array | None


def attention(op: Attention) -> AttentionOutputs:
    """Run EdgekitAttention, all in float64. A query that sees no key gets zeros."""
    present_k, present_v = (_joined(past, new) for past, new in ((op.past_k, op.k), (op.past_v, op.v)))
    batch, heads, queries, _ = op.q.shape
    group = heads // op.k.shape[1]
    bias = None if op.bias is None else _four_axes(op.bias, (batch, heads, queries, present_k.shape[2]))
    o = np.zeros((batch, heads, queries, op.v.shape[3]))
    for n, head in np.ndindex(batch, heads):
        there = slice(0, _length(op, n))
        k, v = (rows[n, head // group, there].astype(np.float64) for rows in (present_k, present_v))
        scores = op.q[n, head].astype(np.float64) @ k.T * op.scaling
        if op.softcap:
            scores = op.softcap * np.tanh(scores / op.softcap)
        seen = seen_keys(op, n)[:, there]
        if bias is not None:
            seen &= bias[n, head, :, there] > -np.inf
            scores += np.where(seen, bias[n, head, :, there], 0)
        o[n, head] = _softmax(np.where(seen, scores, -np.inf)) @ v
    return AttentionOutputs(o, present_k, present_v) if op.past_k is not None else AttentionOutputs(o, None, None)


def seen_keys(op: Attention, n: int) -> npt.NDArray[np.bool_]:
    """Which keys [S_q,S_total] each query of a batch sees, but for the bias."""
    queries, keys, length = op.q.shape[2], op.past + op.k.shape[2], _length(op, n)
    position = np.arange(queries)[:, None] + (length - queries if op.at_end else op.past)
    key = np.arange(keys)[None]
    seen: npt.NDArray[np.bool_] = np.broadcast_to(key < length, (queries, keys)).copy()
    if op.causal:
        seen &= key <= position
    if op.window_left >= 0:
        seen &= key >= position - op.window_left
    if op.window_right >= 0:
        seen &= key <= position + op.window_right
    return seen


def _length(op: Attention, n: int) -> int:
    keys = op.past + int(op.k.shape[2])
    return keys if op.key_lengths is None else min(max(int(op.key_lengths[n]), 0), keys)


def _softmax(scores: Float64) -> Float64:
    """Over the last axis; zeros where all is -inf."""
    largest = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(largest == -np.inf, 0, largest))
    total = weights.sum(-1, keepdims=True)
    softmax: Float64 = weights / np.where(total == 0, 1, total)
    return softmax


def _joined(past: Array | None, new: Array) -> Array:
    return new if past is None else np.concatenate([past, new], axis=2)


def _four_axes(bias: Array, shape: tuple[int, ...]) -> Float64:
    return np.broadcast_to(bias.astype(np.float64), shape)
