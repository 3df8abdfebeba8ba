"""A model with Q/DQ as the rules look at it: who makes and who reads a tensor, what a pair rounds, what is constant.

"Q" is QuantizeLinear, "DQ" is DequantizeLinear, of ONNX or of onnxruntime's own domain, a "pair" is a DQ with the Q in
front of it. Only the main graph is looked at.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.rewrite.names import ONNX_DOMAINS
from edgekit.rewrite.sort_nodes import names_used

Q, DQ = "QuantizeLinear", "DequantizeLinear"
MICROSOFT = "com.microsoft"
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_KEEP_CONSTANT = (Q, DQ, "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast")


@dataclass(frozen=True)
class Scheme:
    """How a Q or DQ node quantizes. `dtype` is ONNX's number for the narrow type, 0 where it is unknown; a scale or
    zero point that is computed in the graph is None, and so is a zero point that is left out; `block` is 0 without."""

    dtype: int
    scale: npt.NDArray[Any] | None
    zero: npt.NDArray[Any] | None
    axis: int
    block: int

    @property
    def shifted(self) -> bool:
        """Whether a zero point is known to be another than 0."""
        return self.zero is not None and bool(np.any(self.zero.astype(np.float32) != 0))

    @property
    def scalar(self) -> bool:
        """Whether there is one scale, written as a scalar, or none that is known."""
        return self.scale is None or self.scale.ndim == 0

    def __str__(self) -> str:
        parts = [onnx.TensorProto.DataType.Name(self.dtype).lower() if self.dtype else "a type unknown"]
        parts.append("a computed scale" if self.scale is None else _told("scale", self.scale))
        parts += [] if self.zero is None else [_told("zero point", self.zero)]
        return ", ".join(parts)


@dataclass(frozen=True)
class Edge:
    """Input `at` of `reader` comes out of the DQ `dq`."""

    reader: onnx.NodeProto
    at: int
    dq: onnx.NodeProto

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from other edges of the same graph."""
        return id(self.reader), self.at


@dataclass(frozen=True)
class Weight:
    """The second input of `layer` comes out of `dq`, maybe through a Transpose; `axis` is the one of its output
    channels in the stored tensor, `rank` the number of its axes."""

    layer: onnx.NodeProto
    dq: onnx.NodeProto
    axis: int
    rank: int


class QdqGraph:
    """Read only: make a new one after a change of the nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        # The references keep each node one Python object, so that id() tells nodes apart.
        self.nodes = list(model.graph.node)
        self._makers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[tuple[onnx.NodeProto, int]]] = collections.defaultdict(list)
        for node in self.nodes:
            for at, name in enumerate(node.input):
                self._readers[name].append((node, at))
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            stored = attribute(node, "value", None) if node.op_type == "Constant" else None
            if stored is not None:
                self._tensors[node.output[0]] = stored
        self.outputs = {value.name for value in model.graph.output}
        # What If, Loop and Scan read inside, of the graph around them too.
        self.captured = {name for node in self.nodes for name in list(names_used(node))[len(node.input) :]}
        self._inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}

    def maker(self, name: str, *op_types: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is of one of these types; any type where none is named."""
        node = self._makers.get(name)
        return node if node is not None and (not op_types or node.op_type in op_types) else None

    def readers(self, name: str) -> list[tuple[onnx.NodeProto, int]]:
        """The nodes that read a tensor, each with the number of the input."""
        return self._readers.get(name, [])

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The stored tensor behind a name, through Identity nodes."""
        maker = self.maker(name, "Identity")
        return self.tensor(maker.input[0]) if maker is not None else self._tensors.get(name)

    def value(self, name: str) -> npt.NDArray[Any] | None:
        """The numbers of a stored tensor."""
        found = self.tensor(name)
        return None if found is None else onnx.numpy_helper.to_array(found)

    def is_input(self, name: str) -> bool:
        """Whether the caller feeds it."""
        return name in self._inputs and name not in self._tensors

    def is_constant(self, name: str) -> bool:
        """Whether a tensor follows from stored ones alone, through Q, DQ and what moves numbers about."""
        if self.tensor(name) is not None:
            return True
        maker = self.maker(name, *_KEEP_CONSTANT)
        return maker is not None and self.is_constant(maker.input[0])

    def scheme(self, node: onnx.NodeProto) -> Scheme:
        """What a Q or DQ node says of itself; a Q without zero point makes uint8, as ONNX has it."""
        zero = node.input[2] if len(node.input) > 2 else ""
        dtype = self._dtype(zero) or attribute(node, "output_dtype", 0)
        if not dtype:
            dtype = onnx.TensorProto.UINT8 if node.op_type == Q else self._dtype(node.input[0])
        axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
        return Scheme(dtype, self.value(node.input[1]), self.value(zero) if zero else None, axis, block)

    def _dtype(self, name: str) -> int:
        """The narrow type of a tensor, where it is known: ONNX does not say it of what lies between two nodes."""
        stored, maker = self.tensor(name), self.maker(name)
        if stored is not None:
            return stored.data_type
        if maker is not None and maker.op_type == Q:
            return self.scheme(maker).dtype
        return self._inputs.get(name, 0)

    def before(self, dq: onnx.NodeProto) -> str:
        """What a pair rounds; nothing where the DQ reads integers that are stored or fed."""
        maker = self.maker(dq.input[0], Q)
        return "" if maker is None else str(maker.input[0])

    def edges(self, nodes: Iterable[onnx.NodeProto]) -> Iterator[Edge]:
        """All inputs of these nodes that come out of a DQ."""
        for node in nodes:
            for at, name in enumerate(node.input):
                dq = self.maker(name, DQ)
                if dq is not None:
                    yield Edge(node, at, dq)

    def quantizers(self) -> Iterator[onnx.NodeProto]:
        """All Q and DQ nodes."""
        return (node for node in self.nodes if node.op_type in (Q, DQ))

    def weights(self) -> Iterator[Weight]:
        """The quantized weights of all layers: stored integers with a DQ, or stored floats with a pair."""
        for node in self.nodes:
            if node.op_type not in LAYERS or node.domain not in ONNX_DOMAINS:
                continue
            name, moves = node.input[1], []
            while (turned := self.maker(name, "Transpose")) is not None:
                moves.append(turned)
                name = turned.input[0]
            dq = self.maker(name, DQ)
            stored = None if dq is None else self.tensor(self.before(dq) or dq.input[0])
            if dq is not None and stored is not None:
                rank = len(stored.dims)
                axis = _output_axis(node, rank)
                for turned in moves:
                    axis = attribute(turned, "perm", list(reversed(range(rank))))[axis]
                yield Weight(node, dq, axis, rank)

    def numbers(self, dq: onnx.NodeProto) -> npt.NDArray[Any] | None:
        """What comes out of a DQ that reads stored tensors, before its Q rounds them; None for any other.

        (q - zero point) * scale, in the scale's type (ONNX operator specification, DequantizeLinear).
        """
        before = self.before(dq)
        if before:
            return self.value(before)
        stored, scheme = self.value(dq.input[0]), self.scheme(dq)
        if stored is None or scheme.scale is None:
            return None
        # int32 holds a bias whole, which float32 does not; FP8 has fractions, which int32 does not.
        exact: Any = np.int32 if stored.dtype.kind in "iu" else np.float32
        zero = np.zeros_like(scheme.scale, exact) if scheme.zero is None else scheme.zero.astype(exact)
        shift, steps = (as_wide(part, scheme, stored.shape) for part in (zero, scheme.scale))
        with np.errstate(invalid="ignore"):  # an infinite scale, of a mask of -inf, makes NaN of 0 in ONNX too
            real: npt.NDArray[Any] = ((stored.astype(exact) - shift) * steps).astype(scheme.scale.dtype)
        return real


def as_wide(part: npt.NDArray[Any], scheme: Scheme, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Scales or zero points in a shape that meets a tensor of `shape`."""
    if scheme.block:
        return np.repeat(part, scheme.block, scheme.axis).take(range(shape[scheme.axis]), scheme.axis)
    if part.size == 1:
        return part.reshape(())
    axis = scheme.axis % len(shape)
    return part.reshape([-1 if other == axis else 1 for other in range(len(shape))])


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of an attribute of a node."""
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def label(node: onnx.NodeProto) -> str:
    """What a node is called, or how it is found where it has no name."""
    return node.name or f"{node.op_type} -> {next(iter(node.output), '')}"


def _output_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": rank - 1}[node.op_type]


def _told(what: str, values: npt.NDArray[Any]) -> str:
    flat = values.astype(np.float64).reshape(-1)
    if flat.size == 1:
        return f"{what} {flat[0]:.4g}" + ("" if values.ndim == 0 else f" of shape {list(values.shape)}")
    return f"{flat.size} {what}s {flat.min():.4g} .. {flat.max():.4g}"
