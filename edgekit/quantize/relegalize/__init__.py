"""Mend the Q/DQ of a model that another tool quantized, without data.

1. QLinear operators become their float operators between pairs; a DQ comes before what only moves numbers.
2. Where a zero point stood for a Relu, the Relu comes back.
3. Biases, and what is inside attention or on a normalization, lose their pairs; so does what has an asymmetric one that
   no INT8 kernel reads.
4. Activations become symmetric int8 over the same range, with one scale; weights are requantized where they must be.
5. The inputs of a Concat share the largest of their scales.

What cannot be mended stays as it is, and the notes say so. Source of the rules: edgekit/quantize/legal/rules.toml.
"""

from __future__ import annotations

import collections

import onnx

from edgekit.quantize.legal import breaches, is_quantized
from edgekit.quantize.legal.graph import MICROSOFT
from edgekit.quantize.relegalize.activations import symmetric_activations
from edgekit.quantize.relegalize.concats import share_concat_scales
from edgekit.quantize.relegalize.floats import bypass_misplaced, float_biases
from edgekit.quantize.relegalize.moves import dequantize_first
from edgekit.quantize.relegalize.needless import drop_needless
from edgekit.quantize.relegalize.qoperators import qoperators_to_qdq
from edgekit.quantize.relegalize.relus import restore_relus
from edgekit.quantize.relegalize.weights import symmetric_weights
from edgekit.rewrite import PassResult
from edgekit.rewrite.constants import constants_to_initializers
from edgekit.rewrite.names import ONNX_DOMAINS
from edgekit.rewrite.opset import raise_opset
from edgekit.rewrite.sort_nodes import sort_nodes
from edgekit.rewrite.unread import drop_unread

__all__ = ["relegalize"]

# One scale a channel came with opset 13.
_OPSET = 13
_STEPS = (
    qoperators_to_qdq,
    dequantize_first,
    restore_relus,
    float_biases,
    bypass_misplaced,
    drop_needless,
    symmetric_activations,
    symmetric_weights,
    share_concat_scales,
)
_NARROW = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT16, onnx.TensorProto.UINT16)


def relegalize(model: onnx.ModelProto) -> PassResult:
    """Mend in place, nodes sorted; the notes say what was mended, and what could not be. Inputs and outputs stay.

    Raises QuantizeError for weights that are not finite, or an opset that onnx cannot raise to 13.
    """
    if not is_quantized(model):
        return PassResult(model, False, ("the model has neither Q/DQ nor QLinear operators: nothing to mend",))
    if not any(item.is_error or item.rule.id == "float-weight" for item in breaches(model)):
        return PassResult(model, False, ("the model breaks no rule of TensorRT's: nothing to mend",))
    model = constants_to_initializers(model).model
    if next(entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAINS) < _OPSET:
        model = raise_opset(model, _OPSET).model
    notes: list[str] = []
    modified = False
    for step in _STEPS:
        done = step(model)
        modified |= done.modified
        model = drop_unread(sort_nodes(done.model).model).model if done.modified else done.model
        notes += done.notes
    _forget(model)
    return PassResult(model, modified, (*notes, *_left(model)))


def _forget(model: onnx.ModelProto) -> None:
    """What the file says and is true no longer: inner integers are int8 now, and onnxruntime refuses a wrong word on
    them; of onnxruntime's own operators there may be none left."""
    graph = model.graph
    for value in [value for value in graph.value_info if value.type.tensor_type.elem_type in _NARROW]:
        graph.value_info.remove(value)
    used = {node.domain for node in graph.node}
    for entry in [entry for entry in model.opset_import if entry.domain == MICROSOFT and MICROSOFT not in used]:
        model.opset_import.remove(entry)


def _left(model: onnx.ModelProto) -> list[str]:
    """One line for each rule that is still broken."""
    by_rule = collections.defaultdict(list)
    for item in breaches(model):
        if item.is_error:
            by_rule[item.rule.id].append(item)
    return [
        f"could not mend {len(items)} of {rule}: {items[0].node}: {items[0].message}; {items[0].rule.remedy}"
        for rule, items in by_rule.items()
    ]
