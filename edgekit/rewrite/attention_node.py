"""What an ONNX Attention node says of itself, with the sizes that shape inference knows.

Source: ONNX operator specification, Attention-23 and Attention-24.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from edgekit.rewrite.bare import without_weights

# Later opsets have more, such as the window of opset 26.
_PLAIN_ATTRIBUTES = {"is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale"}
_PLAIN_ATTRIBUTES |= {"softcap", "softmax_precision"}
Dims = tuple[int | str | None, ...]


@dataclass(frozen=True)
class AttentionNode:
    """The node at `index` in the graph; `axes` is the rank of q, k and v; `dtypes` and `shapes` are the inputs'.

    A rank, head count, size or element type of 0 is unknown. A shape has an int, a name or None an axis, and is None
    where nothing is known.
    """

    index: int
    node: onnx.NodeProto
    opset: int
    dtypes: tuple[int, ...]
    shapes: tuple[Dims | None, ...]
    axes: int
    heads: int
    kv_heads: int
    head_size: int
    value_size: int

    @property
    def dtype(self) -> int:
        """Element type of q, k, v and the output."""
        return self.dtypes[0]

    @property
    def types(self) -> tuple[onnx.TypeProto, ...]:
        """Those of the inputs, as ONNX writes them; empty for one that is left out or unknown."""
        return tuple(
            onnx.helper.make_tensor_type_proto(dtype, shape) if dtype else onnx.TypeProto()
            for dtype, shape in zip(self.dtypes[: len(self.node.input)], self.shapes, strict=False)
        )

    def input(self, at: int) -> str:
        """The name of an optional input, or nothing."""
        return self.node.input[at] if at < len(self.node.input) else ""

    def output(self, at: int) -> str:
        """The name of an optional output, or nothing."""
        return self.node.output[at] if at < len(self.node.output) else ""

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute's value."""
        found = next((item for item in self.node.attribute if item.name == name), None)
        return default if found is None else onnx.helper.get_attribute_value(found)

    @property
    def causal(self) -> bool:
        """Whether a query sees no later key."""
        return bool(self.attribute("is_causal", 0))

    @property
    def scale(self) -> float:
        """What q k^T is multiplied by; it needs a known head size."""
        scale: float | None = self.attribute("scale", None)
        return self.head_size**-0.5 if scale is None else scale

    @property
    def is_plain(self) -> bool:
        """Whether it is no more than products, a mask, a softmax and a cache, with sizes that are known."""
        rare = self.attribute("softcap", 0.0) or self.output(3) or self.input(6)
        rare = rare or {item.name for item in self.node.attribute} - _PLAIN_ATTRIBUTES
        other_precision = self.attribute("softmax_precision", self.dtype) != self.dtype
        grouped = self.heads != self.kv_heads
        known = self.axes and self.head_size and (not grouped or (self.heads and self.kv_heads))
        behind_past = self.causal and self.input(4)
        return bool(known and not (rare or other_precision or behind_past) and self._mask_is_whole())

    def _mask_is_whole(self) -> bool:
        """From opset 24 on a mask may end before the keys do."""
        mask = self.shapes[3] if self.input(3) else ()
        if mask is None:
            return False
        if self.opset < 24 or not self.input(3):
            return True
        keys = self.shapes[1]
        step = keys[-2] if keys else None
        return not self.input(4) and step is not None and mask[-1] == step


def attention_nodes(model: onnx.ModelProto) -> list[AttentionNode]:
    """All Attention nodes of the main graph."""
    nodes = {at: node for at, node in enumerate(model.graph.node) if node.op_type == "Attention" and not node.domain}
    if not nodes:
        return []
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    known = _known_values(model)
    return [_read(at, node, opset, known) for at, node in nodes.items()]


def _read(at: int, node: onnx.NodeProto, opset: int, known: Callable[[str], tuple[int, Dims | None]]) -> AttentionNode:
    found = [known(name) for name in node.input] + [(0, None)] * (7 - len(node.input))
    shapes = tuple(shape for _, shape in found)
    counts = {item.name: item.i for item in node.attribute if item.name.endswith("_num_heads")}
    ranks = {len(shape) for shape in shapes[:3] if shape is not None}
    axes = 3 if counts else ranks.pop() if len(ranks) == 1 else 0
    if axes == 3:
        heads, kv_heads = (max(counts.get(name, 0), 0) for name in ("q_num_heads", "kv_num_heads"))
        sizes = [_size(shapes[at], 2) // n if n else 0 for at, n in ((0, heads), (2, kv_heads))]
    else:
        heads, kv_heads = _size(shapes[0], 1), _size(shapes[1], 1)
        sizes = [_size(shapes[0], 3), _size(shapes[2], 3)]
    dtypes = tuple(dtype for dtype, _ in found)
    return AttentionNode(at, node, opset, dtypes, shapes, axes, heads, kv_heads, *sizes)


def _size(shape: Dims | None, axis: int) -> int:
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return size if isinstance(size, int) else 0


def _known_values(model: onnx.ModelProto) -> Callable[[str], tuple[int, Dims | None]]:
    """Element type and shape by name, as shape inference finds them.

    On a copy without the weights, which may be gigabytes, and without the types that the file notes for inner values:
    after a cast to FP16 they may be stale, and inference fails.
    """
    graph = onnx.shape_inference.infer_shapes(without_weights(model), data_prop=True).graph
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output, *graph.value_info)}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    told = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}

    def known(name: str) -> tuple[int, Dims | None]:
        if name in tensors:
            return tensors[name].data_type, tuple(tensors[name].dims)
        kind = values.get(name)
        if kind is None:
            return 0, None
        if not kind.HasField("shape"):
            return kind.elem_type, None
        inferred = tuple(_dim(dim) for dim in kind.shape.dim)
        sizes = told.get(name, kind.shape.dim)
        if len(sizes) == len(inferred):  # a size that the exporter knew, behind a Reshape that hides it
            inferred = tuple(dim.dim_value or size for size, dim in zip(inferred, sizes, strict=True))
        return kind.elem_type, inferred

    return known


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    return dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
