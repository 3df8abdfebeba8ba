"""A linter for models with Q/DQ: which of TensorRT's rules a model breaks, node by node.

The rules, their remedies and their sources are data in rules.toml; what TensorRT-RTX does where one is broken was
measured and stands there too. It is at times less strict than the rule: a pair in the wrong place builds, and costs.
"""

from __future__ import annotations

import onnx

from edgekit.quantize.legal.breach import Breach
from edgekit.quantize.legal.graph import QdqGraph, label
from edgekit.quantize.legal.numbers import is_qoperator, number_breaches
from edgekit.quantize.legal.placing import placing_breaches
from edgekit.quantize.legal.rules import ERROR, NOTE, Rule, rules

__all__ = ["ERROR", "NOTE", "Breach", "Rule", "breaches", "is_quantized", "rules"]


def breaches(model: onnx.ModelProto) -> list[Breach]:
    """All breaches, in the order of the nodes; none for a model without Q, DQ and QOperator nodes.

    The main graph is looked at, its nodes sorted; what stands inside of If, Loop and Scan is not.
    """
    graph = QdqGraph(model)
    if not is_quantized(model):
        return []
    place = {label(node): at for at, node in enumerate(graph.nodes)}
    return sorted([*number_breaches(graph), *placing_breaches(graph)], key=lambda item: place[item.node])


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether there is a node that quantizes, dequantizes, or computes on integers."""
    return next(QdqGraph(model).quantizers(), None) is not None or any(map(is_qoperator, model.graph.node))
