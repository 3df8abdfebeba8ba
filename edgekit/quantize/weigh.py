"""Weigh the inputs of a recurrent node by how large they are, before its weights are rounded.

Row by row, W [GH,I] has one scale for all inputs: where inputs differ in size by orders of magnitude, as the bands of a
spectrogram do, the error of the weights that meet the loudest ones is all that counts. So x is divided by c, and the
columns of W are multiplied by it: the result is the same. c_i = r_i^power, with r_i the root of the mean square of
input i, then scaled to a geometric mean of 1. Activations stay in floating point.

Source: Lin et al., "AWQ: Activation-aware Weight Quantization", arXiv 2306.00978, section 3.2, with the root of the
mean square in the place of the mean size.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx

from edgekit.quantize.observers import Channels, Statistics
from edgekit.quantize.weights import add_constant
from edgekit.rewrite.names import Names

# Of the largest: a channel that never speaks must not make a weight explode.
_LEAST = 1e-4


def weigh(model: onnx.ModelProto, nodes: Collection[str], statistics: Statistics, power: float) -> None:
    """Put a Mul by 1 / c before each of the named recurrent nodes, and c into its W [D,GH,I]; in place.

    A node whose input was not seen by its last axis, or whose W is no constant, stays.
    """
    names = Names(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.name in nodes]:
        seen = statistics.tensors.get(node.input[0])
        if seen is None or seen.channels is None or seen.channels.axis != -1 or node.input[1] not in constants:
            continue
        factors = factors_of(seen.channels, power)
        weight = onnx.numpy_helper.to_array(constants[node.input[1]]) * factors
        inverse = add_constant(model.graph, names(f"{node.input[0]}_weigh_by"), 1 / factors)
        out = names(f"{node.input[0]}_weighed")
        model.graph.node.append(onnx.helper.make_node("Mul", [node.input[0], inverse], [out], name=out))
        node.input[0] = out
        node.input[1] = add_constant(model.graph, names(f"{node.input[1]}_weighed"), weight)


def factors_of(channels: Channels, power: float) -> npt.NDArray[np.float32]:
    """c [I]."""
    roots = np.sqrt(channels.squares / max(channels.count, 1))
    bounded = np.maximum(roots, _LEAST * max(float(roots.max()), np.finfo(np.float32).tiny)) ** power
    factors: npt.NDArray[np.float32] = (bounded / np.exp(np.log(bounded).mean())).astype(np.float32)
    return factors
