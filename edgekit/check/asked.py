"""Verdicts of a TensorRT that is on this machine: the model is built, and its layers say what became of each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from edgekit.build import Accounts, Layer, check_required, layer_of_nodes, refused_nodes, trial
from edgekit.check.verdict import NodeVerdict, verdict, walk
from edgekit.configs import BuildConfig
from edgekit.errors import BuildError, TargetError
from edgekit.reports import Progress
from edgekit.rewrite.element_types import PRECISIONS
from edgekit.rewrite.reading import OnnxFile
from edgekit.rewrite.remedies import remedy_for
from edgekit.rewrite.shapes_at import Known

_NO_NUMBERS = ("bool", "int64", "int32")


@dataclass(frozen=True)
class Asked:
    """The verdicts in the order of the nodes, `accounts` of the engine where there was one, and what was said."""

    nodes: tuple[NodeVerdict, ...]
    accounts: Accounts | None
    notes: tuple[str, ...]
    refusal: str = ""


@dataclass(frozen=True)
class Before:
    """The model as it was read: building consumes it. `told` has what is known of a node by its name."""

    nodes: tuple[onnx.NodeProto, ...]
    known: Mapping[str, Known]
    told: Mapping[str, NodeVerdict]


def ask(source: Path, found: OnnxFile, before: Before, config: BuildConfig, progress: Progress) -> Asked:
    """Build the model and throw the engine away. Raises TargetError where this machine cannot build for the target."""
    try:
        made, accounts = trial(source, found, config, progress)
    except BuildError as error:
        again = OnnxFile(onnx.load_model_from_string(found.serialized), found.serialized)
        return _refused(again, before, config, error)
    layers = accounts.layers
    places = layer_of_nodes(layers)
    nodes = tuple(_built(path, node, before, layers, places.get(node.name)) for path, node in walk(before.nodes))
    return Asked(nodes, accounts, made.warnings, unproved(config, accounts))


def _built(path: str, node: onnx.NodeProto, before: Before, layers: tuple[Layer, ...], at: int | None) -> NodeVerdict:
    name = path + node.name
    told = before.told.get(name)
    if told is not None and told.outcome in ("decomposed", "loop"):
        return replace(told, precision=told.precision or precision_of(node, before.known))
    if at is None:
        return verdict(name, node.op_type, "folded" if layers else "parses", "layers")
    layer = layers[at]
    outcome = "fuses" if len(set(layer.nodes)) > 1 else "kernel"
    made = verdict(name, node.op_type, outcome, "layers", "", layer.computes or layer.dtype)
    if told is not None and told.reason:
        made = replace(made, reason=told.reason, remedy=told.remedy, rule=told.rule, source=told.source)
    return replace(made, layer=layer.name)


def witness(source: Path, found: OnnxFile, config: BuildConfig) -> list[str]:
    """What TensorRT-RTX says of the model where the target's own TensorRT is not here: a hint, no verdict."""
    stand_in = BuildConfig("rtx", shape=config.shape)
    copy = OnnxFile(onnx.ModelProto.FromString(found.serialized), found.serialized)
    try:
        trial(source, copy, stand_in)
    except BuildError as error:
        return [f"TensorRT-RTX on this machine refuses it, and another TensorRT may too: {error.problem}"]
    except TargetError:
        return []
    return ["TensorRT-RTX on this machine builds it"]


def unproved(config: BuildConfig, accounts: Accounts) -> str:
    """What falls short of `config.require_precision`; empty where nothing does."""
    try:
        check_required(config.require_precision, accounts)
    except BuildError as error:
        return error.problem
    return ""


def _refused(found: OnnxFile, before: Before, config: BuildConfig, error: BuildError) -> Asked:
    """The parser is asked for all the nodes that it refuses; where it takes them all, the builder was at fault."""
    refusals = refused_nodes(found, config) if config.target != "cpu" else ()
    reasons = {item.node: item.reason for item in refusals}
    nodes = []
    for path, node in walk(before.nodes):
        name = path + node.name
        precision = precision_of(node, before.known)
        told = before.told.get(name)
        if node.name in reasons:
            reason = told.reason if told is not None and told.refused else reasons[node.name]
            made = verdict(name, node.op_type, "refused", "parser", reason, precision)
            helps = told.remedy if told is not None and told.refused else remedy_for(node.op_type)
            nodes.append(replace(made, remedy=helps))
        elif told is not None and told.outcome in ("decomposed", "loop"):
            nodes.append(told)
        else:
            reason = "the parser takes it; nothing was built" if refusals else "nothing was built"
            made = verdict(name, node.op_type, "parses" if refusals else "unknown", "parser", reason, precision)
            nodes.append(replace(made, remedy=""))
    return Asked(tuple(nodes), None, (), error.problem)


def precision_of(node: onnx.NodeProto, known: Mapping[str, Known]) -> str:
    """What a strongly typed network computes in: the type of its first input, or output, that is a number to compute
    with, rather than an index or a truth value; empty where none is known."""
    types = [PRECISIONS.get(known[name].dtype, "") for name in (*node.input, *node.output) if name in known]
    return next((name for name in types if name not in ("", *_NO_NUMBERS)), next(filter(None, types), ""))
