"""Which Attention nodes TensorRT takes as one node; the others are decomposed before it sees them.

What is refused was found by building with TensorRT-RTX 1.7.1, for SM 7.5 to 12.1; tests hold the rule to it.
"""

from __future__ import annotations

import collections

import onnx

from edgekit.errors import BuildError
from edgekit.rewrite import PassResult
from edgekit.rewrite.attention_node import AttentionNode
from edgekit.rewrite.decompose_attention import decompose_attention

_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
# "Attention operation was not supported by a dedicated kernel" outside of these, in FP32, and of one head with a mask.
_SMALLEST, _LARGEST = 9, 256


def for_importer(model: onnx.ModelProto, none_because: str) -> PassResult:
    """Decompose in place what the importer would refuse, or all where there is a reason for it; the notes say why."""
    reasons: collections.Counter[str] = collections.Counter()

    def refused(item: AttentionNode) -> bool:
        reason = none_because or why_decomposed(item)
        reasons[reason] += 1
        return bool(reason)

    done = decompose_attention(model, refused)
    total = sum(reasons.values())
    notes = (f"{n} of {total} Attention nodes decomposed: {reason}" for reason, n in reasons.items() if reason)
    return PassResult(done.model, done.modified, tuple(notes))


def no_kernel(error: BuildError) -> bool:
    """Whether TensorRT imported an Attention node for which it then had no kernel: its choice has more rules than ours.

    A decoder with two heads and a mask is refused where one with four is built, and where the node alone is built.
    """
    return "Attention operation was not supported" in error.problem


def why_decomposed(item: AttentionNode) -> str:
    """The reason for which TensorRT refuses this node; empty when it becomes one fused kernel."""
    if item.dtype not in _HALF:
        return "only half precision has a kernel"
    if not item.head_size:
        return "its head size is unknown"
    if not item.is_plain:
        return "a softcap, a window, padded keys or another output than the result has no importer"
    if item.output(1) or item.output(2):
        return "a cache inside the node has no importer"
    if item.causal and item.input(3):
        return "a mask beside is_causal has no importer"
    if item.heads == 1 and item.input(3):
        return "a single head with a mask has no kernel"
    if item.input(3) and item.dtypes[3] == onnx.TensorProto.BOOL and item.head_size % 8:
        return f"a boolean mask with head size {item.head_size}, no multiple of 8, has no kernel"
    if item.value_size != item.head_size:
        return f"values of size {item.value_size} beside keys of {item.head_size} have no importer"
    if not _SMALLEST <= item.head_size <= _LARGEST:
        return f"head size {item.head_size} is outside of {_SMALLEST} to {_LARGEST}"
    return ""
