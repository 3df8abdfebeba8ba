"""Finds attention written as a product, a softmax and a second product.

1. MatMul(q, k^T), Softmax over the last axis, MatMul(., v), of four axes. Between the first two may stand, in this
   order: Mul and Div by a constant; Tanh with such around it (softcap); Add of anything, and Where that leaves scores
   or puts a lowest number, -10000 or less, in their place. Casts too, and behind the softmax a Dropout that is idle.
2. Constant factors of q and of k are part of the scale; what else makes them stays, also a scale computed at run time.
3. k is what is transposed to k^T, also by way of [N h,S,D], or k^T transposed.
4. Nobody else reads the scores, the weights or what lies between; no tensor of a block grows by a mask; N and heads
   of q, k and v agree (k and v may have fewer heads, as the operator has it). What cannot be known is left.
5. A Where behind it, with zeros where its mask lets a query see nothing, becomes part of it; so does 0 for NaN.
"""

from __future__ import annotations

import onnx

from edgekit.rewrite.attention_behind import NotAttentionError, second_product, with_zeros
from edgekit.rewrite.attention_graph import AttentionGraph, attribute
from edgekit.rewrite.attention_parts import (
    NUMBERS,
    Attending,
    Head,
    Masked,
    Scoring,
    Sizes,
    cache_of,
    causal_instead,
    is_lowest,
    unexpanded,
    ungrouped,
)

_MOST_STEPS = 12
_SWAPPED = (0, 1, 3, 2)
_BOOL = onnx.TensorProto.BOOL


def attending_of(graph: AttentionGraph, softmax: onnx.NodeProto) -> Attending:
    """The attention around a Softmax node; raises NotAttentionError."""
    _check_axis(graph, softmax)
    product, steps = _to_product(graph, softmax.input[0], _MOST_STEPS)
    second = second_product(graph, softmax)
    shape = graph.shape(product.output[0])
    if shape is None:
        raise NotAttentionError("the sizes of its scores are unknown")
    if len(shape) != 4:
        raise NotAttentionError(f"its products have {len(shape)} axes, not 4")
    for name in (node.output[0] for node in (*steps, softmax)):
        if graph.shape(name) != shape:
            raise NotAttentionError("a mask makes its scores larger, or has unknown sizes")
    q, q_factor = _without_factors(graph, product.input[0])
    k, k_factor = _key(graph, product.input[1])
    scoring = _scoring(graph, product, steps, q_factor * k_factor)
    others = [q, *(mask.tensor for mask in scoring.masks)]
    q_head, v = Head(q), second.input[1]
    _check_float(graph, v)
    cache = None
    if not k.perm:
        key, v = ungrouped(graph, k.tensor, v)
        k, found = Head(key), cache_of(graph, key, v, others)
        if found is not None:
            k, v, cache = Head(found[0]), found[1], found[2]
    sizes = _agreeing(graph, q, product.input[1], second.input[1], graph.shape(v))
    scoring = causal_instead(graph, scoring, q_head, k, cache)
    last, scoring = with_zeros(graph, second, steps, scoring)
    return Attending(softmax, last, q_head, k, Head(v), scoring, sizes, cache, last.output[0])


def _check_axis(graph: AttentionGraph, softmax: onnx.NodeProto) -> None:
    """A Softmax over another axis is no attention; before opset 13 axis 3 and what is behind were one."""
    axis = attribute(softmax, "axis", -1 if graph.opset >= 13 else 1)
    if axis not in (-1, 3):
        raise NotAttentionError(f"its softmax is over axis {axis}, not the last")


def _to_product(graph: AttentionGraph, name: str, left: int) -> tuple[onnx.NodeProto, list[onnx.NodeProto]]:
    """The product that a tensor follows from by itself, and the nodes between, first ones first."""
    node = graph.maker(name)
    if node is None or left == 0:
        raise NotAttentionError("no product leads to its softmax")
    if graph.only_reader(name) is None:
        raise NotAttentionError("its scores are read elsewhere too")
    if node.op_type == "MatMul":
        return node, []
    if node.op_type in ("Where", "Add", "Mul", "Div", "Cast", "Identity", "Tanh"):
        problem = None
        for item in node.input[1:] if node.op_type == "Where" else node.input:
            try:
                product, steps = _to_product(graph, item, left - 1)
                return product, [*steps, node]
            except NotAttentionError as error:
                problem = problem or error
        raise problem or NotAttentionError("no product leads to its softmax")
    raise NotAttentionError(f"{node.op_type} stands before its softmax")


def _without_factors(graph: AttentionGraph, name: str) -> tuple[str, float]:
    """What is multiplied by constants, and their product."""
    factor = 1.0
    while (node := graph.maker(name, "Mul", "Div", "Identity")) is not None:
        if node.op_type == "Identity":
            name = node.input[0]
            continue
        found = _factor(graph, node, name)
        if found is None:
            break
        name, factor = found[0], factor * found[1]
    _check_float(graph, name)
    return name, factor


def _check_float(graph: AttentionGraph, name: str) -> None:
    """With Q and DQ around it an attention is one for TensorRT's own INT8 kernels."""
    if graph.maker(name, "DequantizeLinear") is not None:
        raise NotAttentionError("its operands are quantized")


def _factor(graph: AttentionGraph, node: onnx.NodeProto, name: str) -> tuple[str, float] | None:
    """What a Mul or Div multiplies, and by which number; None where that is no constant, or makes the tensor larger."""
    one, other = node.input
    number = graph.scalar(other)
    if number is None and node.op_type == "Mul":
        one, other, number = other, one, graph.scalar(one)
    if not isinstance(number, float) or number == 0 or graph.shape(one) != graph.shape(name):
        return None
    return one, number if node.op_type == "Mul" else 1 / number


def _key(graph: AttentionGraph, turned: str) -> tuple[Head, float]:
    """k as the node that transposes it to k^T has it, or k^T to be transposed; and its constant factors."""
    name, factor = _without_factors(graph, turned)
    if before := _before_flat_turn(graph, name):
        name, more = _without_factors(graph, before)
        return Head(name), factor * more
    node = graph.maker(name, "Transpose")
    perm = tuple(attribute(node, "perm", ())) if node is not None else ()
    if node is None or len(perm) != 4:
        return Head(name, _SWAPPED), factor
    name, more = _without_factors(graph, node.input[0])
    perm = (perm[0], perm[1], perm[3], perm[2])
    return Head(name, () if perm == (0, 1, 2, 3) else perm), factor * more


def _before_flat_turn(graph: AttentionGraph, turned: str) -> str:
    """k [N,h,S,D] that became k^T by way of [N h,S,D], as torch's exporter writes it; else nothing."""
    last = graph.maker(turned, "Reshape")
    node = graph.maker(last.input[0], "Transpose") if last is not None else None
    first = graph.maker(node.input[0], "Reshape") if node is not None else None
    if node is None or first is None or list(attribute(node, "perm", ())) != [0, 2, 1]:
        return ""
    k, flat, made = (graph.shape(name) for name in (first.input[0], first.output[0], turned))
    if k is None or len(k) != 4 or flat != (k[0] * k[1], *k[2:]) or made != (*k[:2], k[3], k[2]):
        return ""
    return first.input[0]


def _scoring(graph: AttentionGraph, product: onnx.NodeProto, steps: list[onnx.NodeProto], scale: float) -> Scoring:
    """The steps one after the other."""
    made, softcap, masks, capping = product.output[0], 0.0, list[Masked](), False
    for node in steps:
        if node.op_type in ("Mul", "Div"):
            found = _factor(graph, node, node.output[0])
            if found is None or masks or softcap:
                raise NotAttentionError("its scores are scaled by what is no constant, or behind a mask")
            scale, softcap, capping = scale * found[1], found[1] if capping else 0.0, False
        elif node.op_type == "Tanh" and not (masks or softcap or capping):
            capping = True
        elif node.op_type in ("Add", "Where") and not capping:
            masks.append(_mask(graph, node, made))
        elif node.op_type != "Identity" and attribute(node, "to") not in NUMBERS:
            raise NotAttentionError(f"{node.op_type} stands before its softmax")
        made = node.output[0]
    if capping or softcap < 0:
        raise NotAttentionError("Tanh stands before its softmax")
    return Scoring(scale, softcap, tuple(masks))


def _mask(graph: AttentionGraph, node: onnx.NodeProto, scores: str) -> Masked:
    if node.op_type == "Add":
        bias = node.input[1 if node.input[0] == scores else 0]
        if graph.dtype(bias) not in NUMBERS:
            raise NotAttentionError("its bias is of unknown or double type")
        return Masked(unexpanded(graph, bias), graph.dtype(bias))
    keeps = node.input[1] == scores
    lowest = graph.scalar(node.input[2 if keeps else 1])
    if lowest is None or not is_lowest(lowest):
        raise NotAttentionError("its masked scores become something else than a lowest number")
    return Masked(unexpanded(graph, node.input[0]), _BOOL, keeps, lowest)


def _agreeing(graph: AttentionGraph, q: str, turned: str, v: str, new_v: tuple[int, ...] | None) -> Sizes:
    """The sizes, if q [N,h,S_q,D], k^T [N,h_kv,D,S] and v [N,h_kv,S,D_v] agree; `new_v` may have fewer heads."""
    shapes = [graph.shape(name) for name in (q, turned, v)]
    if any(shape is None or len(shape) != 4 for shape in shapes):
        raise NotAttentionError("the sizes of its operands are unknown, or not of 4 axes")
    (batch, heads, _, size), (k_batch, k_heads, _, _), (v_batch, v_heads, _, value) = (
        (*shape,) for shape in shapes if shape is not None
    )
    if not batch == k_batch == v_batch or k_heads != v_heads or heads % max(k_heads, 1):
        raise NotAttentionError("batches or heads of its operands differ")
    dtypes = {graph.dtype(name) for name in (q, turned, v)}
    dtype = dtypes.pop()
    if dtypes or dtype not in NUMBERS:
        raise NotAttentionError("its operands are not all of FP32, FP16 or BF16")
    return Sizes(dtype, heads, new_v[1] if new_v else v_heads, size, value)
