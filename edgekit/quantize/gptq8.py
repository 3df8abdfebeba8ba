"""INT8 weights by GPTQ: each is rounded so that what is lost so far is made up for by those still to come.

The scales are those of plain rounding, one an output. See `edgekit.quantize.gptq` for the method and its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.data import Samples
from edgekit.quantize.gptq import Floats, factor_of, rounded_in_turn
from edgekit.quantize.moments import Moments, second_moments
from edgekit.quantize.scales import LEVELS, scale_of
from edgekit.quantize.weights import Levels
from edgekit.rewrite.sort_nodes import sort_nodes

_LAZY = 128
# The moments of one pass over the data, and the widest input that is worth an inverse.
_BYTES_A_PASS, _WIDEST = 256 << 20, 4096


@dataclass(frozen=True)
class Product:
    """A weight [I,O] (its transpose, where `transposed`) that meets `tensor` [...,I]; `index` is the input of `node`.

    `direction` is set for a recurrent node: then the weight is one slice [GH,I] of a stack.
    """

    node: str
    index: int
    weight: str
    tensor: str
    transposed: bool
    direction: int | None = None


def gptq_int8(
    model: onnx.ModelProto,
    products: Iterable[Product],
    stream: Callable[[], Iterator[Samples]],
    progress: Callable[[str, int, int], None],
    *,
    half: bool,
) -> dict[tuple[str, int], Levels]:
    """INT8 values and scales by node and number of its input, in the layout of the weight.

    `stream` gives the calibration data anew: it is read once for each 256 MiB of second moments. Products of more than
    4096 inputs are left out.
    """
    observed = sort_nodes(model).model
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    parts: dict[tuple[str, int], list[Levels]] = {}
    wanted = [item for item in products if _inputs(weights[item.weight], item) <= _WIDEST]
    for group in _passes(wanted, weights):
        moments = second_moments(observed, [item.tensor for item in group], stream(), progress)
        for item in group:
            progress("rounding weights by GPTQ", sum(map(len, parts.values())), len(wanted))
            levels = _rounded(onnx.numpy_helper.to_array(weights[item.weight]), moments[item.tensor], item, half)
            parts.setdefault((item.node, item.index), []).append(levels)
    return {key: found[0] if found[0][0].ndim == 2 else _stacked(found) for key, found in parts.items()}


def gptq_levels(weight: Floats, moments: Moments, scale: Floats) -> npt.NDArray[np.int8]:
    """Round `weight` [I,O] with one `scale` an output [O], for inputs of second moments E[xT x] [I,I]."""
    order = np.argsort(-np.diag(moments), kind="stable")
    factor = factor_of(moments, order)
    left = weight[order]
    levels = np.empty(weight.shape, np.int8)
    for start in range(0, len(left), _LAZY):
        end = min(start + _LAZY, len(left))
        inner = factor[start:end, start:end]
        rounded, errors = rounded_in_turn(left[start:end].copy(), inner, scale, (-LEVELS, LEVELS))
        left[end:] -= factor[start:end, end:].T @ errors
        levels[order[start:end]] = rounded
    return levels


def _inputs(weight: onnx.TensorProto, item: Product) -> int:
    return int(weight.dims[-1] if item.transposed else weight.dims[0])


def _passes(wanted: list[Product], weights: Mapping[str, onnx.TensorProto]) -> Iterator[list[Product]]:
    """Products in groups whose moments fit into memory together."""
    group: list[Product] = []
    sizes: dict[str, int] = {}
    for item in wanted:
        size = 8 * _inputs(weights[item.weight], item) ** 2
        if group and item.tensor not in sizes and sum(sizes.values()) + size > _BYTES_A_PASS:
            yield group
            group, sizes = [], {}
        group.append(item)
        sizes[item.tensor] = size
    if group:
        yield group


def _rounded(weight: Floats, moments: Moments, item: Product, half: bool) -> Levels:
    part = weight if item.direction is None else weight[item.direction]
    inputs_first = part.T if item.transposed else part
    scale = scale_of(np.abs(inputs_first).max(axis=0), half=half and item.direction is None)
    levels = gptq_levels(np.ascontiguousarray(inputs_first), moments, scale)
    levels = np.ascontiguousarray(levels.T) if item.transposed else levels
    return (levels, scale) if item.direction is None else (levels[None], scale[None, :, None])


def _stacked(found: list[Levels]) -> Levels:
    """The directions of a recurrent node, in their order: [D,GH,I] and [D,GH,1]."""
    return np.concatenate([levels for levels, _ in found]), np.concatenate([scale for _, scale in found])
