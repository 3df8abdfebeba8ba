"""Attention as one ONNX node, or as the products and the softmax that it stands for: which, and how.

Opset 23 has the operator Attention. TensorRT fuses it into one kernel in half precision, where its importer knows it;
everything else gets opset 20, whose graph says the same in MatMul and Softmax.

Source: ONNX operator specification, Attention-23; targets.toml for who imports it.
Shapes: N batch, h heads, T rows of the query, S of the key, D head size.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgekit.configs import ExportConfig
from edgekit.export.replacing import replaced
from edgekit.targets import target

_PORTABLE, FUSED = 20, 23


def choose_opset(config: ExportConfig, attention: bool) -> int:
    """What was asked for; else 23 where one Attention node is known to become one kernel, and 20 everywhere else."""
    if config.opset is not None:
        return config.opset
    half = config.precision not in ("fp32", "int8")
    known = config.target is not None and target(config.target).imports_attention
    fused = attention and half and known
    return FUSED if fused else _PORTABLE


@dataclass
class Seen:
    """Whether the module called torch's attention."""

    attention: bool = False


@contextlib.contextmanager
def plain_attention(module: torch.nn.Module, fused: bool) -> Iterator[Seen]:
    """Within, all attention of torch goes through scaled_dot_product_attention.

    With `fused` in the form that has an ONNX node: q [N,h,T,D], k and v [N,h,S,D], a mask [...,T,S] of its own size,
    and a scale that is positive. Else decomposed.

    An nn.MultiheadAttention that is asked for its weights, which is torch's default, computes by separate products.
    Here its weights come from a second call, which falls away in the export when nobody reads them.
    """
    kind = torch.nn.MultiheadAttention
    found = (layer for layer in module.modules() if isinstance(layer, kind))
    layers: list[Any] = [layer for layer in found if type(layer).forward is kind.forward]
    seen, original = Seen(), torch.nn.functional.scaled_dot_product_attention
    try:
        for layer in layers:
            layer.forward = _output_apart_from_weights(layer.forward)
        with no_fast_path(), replaced((original, _attending(original, seen, fused))):
            yield seen
    finally:
        for layer in layers:
            del layer.forward


@contextlib.contextmanager
def no_fast_path() -> Iterator[None]:
    """Within, no fused CPU kernels for nn.TransformerEncoder: they are no ONNX, and zero the steps of the padding."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _attending(original: Callable[..., Tensor], seen: Seen, fused: bool) -> Callable[..., Tensor]:
    """The stand-in of scaled_dot_product_attention: the same numbers."""

    @functools.wraps(original)
    def attend(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **named: Any
    ) -> Tensor:
        seen.attention = True
        if not fused:
            return _decomposed(query, key, value, attn_mask, *rest, **named)
        before = query.shape[:-2]
        if attn_mask is not None and 1 in attn_mask.shape[-2:]:
            attn_mask = attn_mask.expand(*attn_mask.shape[:-2], query.shape[-2], key.shape[-2])
        if attn_mask is not None and len(before) > 2:
            attn_mask = _four_axes(attn_mask.expand(*before, *attn_mask.shape[-2:]))
        if (named.get("scale") or 1.0) < 0:
            query, named = -query, {**named, "scale": -named["scale"]}
        four = [_four_axes(item) for item in (query, key, value)]
        made = original(*four, attn_mask, *rest, **named)
        return made if len(before) == 2 else made.reshape(*before, *made.shape[-2:])

    return attend


def _decomposed(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **named: Any
) -> Tensor:
    """Attention in products and a softmax, which TensorRT knows as a pattern: nothing stands between the two.

    torch's own translation has no form for fewer than four axes, and where a row may see nothing it says the mean of
    all values instead of zero.
    """
    given = {**dict(zip(("dropout_p", "is_causal"), rest, strict=False)), **named}
    scale = query.shape[-1] ** -0.5 if given.get("scale") is None else given["scale"]
    # Before the product, on both sides: in half precision the product of unscaled ones overflows.
    root = math.sqrt(abs(scale))
    if given.get("enable_gqa"):
        key, value = (item.repeat_interleave(query.shape[-3] // item.shape[-3], -3) for item in (key, value))
    scores = (query * math.copysign(root, scale)) @ (key * root).transpose(-2, -1)
    if given.get("is_causal"):
        lower = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        scores = torch.where(lower, scores, torch.finfo(scores.dtype).min)
    if attn_mask is None:
        return scores.softmax(-1) @ value
    allowed = attn_mask
    if attn_mask.dtype != torch.bool:
        allowed = attn_mask > -torch.inf
        scores = scores + attn_mask
    scores = torch.where(allowed, scores, torch.finfo(scores.dtype).min)
    made: Tensor = scores.softmax(-1) @ value
    return torch.where(allowed.any(-1, keepdim=True), made, 0.0)


def _four_axes(value: Tensor) -> Tensor:
    while value.dim() < 4:
        value = value.unsqueeze(0)
    return value.flatten(0, value.dim() - 4)


def _output_apart_from_weights(forward: Callable[..., Any]) -> Callable[..., Any]:
    def apart(
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        *rest: Any,
        **named: Any,
    ) -> Any:
        output, _ = forward(query, key, value, key_padding_mask, False, *rest, **named)
        if not need_weights:
            return output, None
        return output, forward(query, key, value, key_padding_mask, True, *rest, **named)[1]

    return apart
