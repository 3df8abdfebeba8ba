"""Edgekit's own kernels in an engine: which nodes they take, with which library, and why the others stay.

`--plugins auto` takes a recurrence wherever the launch plan says that its weights fit on the GPU, since TensorRT would
make a loop of it, and an attention with a cache, key lengths, a window, a softcap or values of another size than keys,
for which TensorRT has no kernel. `off` takes none; a library's path takes what `auto` does, with that library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgekit.build.flavour import Flavour
from edgekit.configs import BuildConfig
from edgekit.errors import BuildError, EdgekitError, TargetError
from edgekit.plugins.abi import Library
from edgekit.plugins.building import find_library, read_report
from edgekit.plugins.coverage import AttentionSize, Coverage, Place, Size, attention_reason, recurrent_coverage
from edgekit.plugins.operators import DOMAIN, NAMESPACE, PLUGIN_VERSION
from edgekit.rewrite import PassResult
from edgekit.rewrite.attention_to_plugin import Candidate, attention_to_plugin
from edgekit.rewrite.bare import without_weights
from edgekit.rewrite.element_types import PRECISIONS
from edgekit.rewrite.names import graphs_of
from edgekit.rewrite.recurrent_node import KINDS, RecurrentNode
from edgekit.rewrite.recurrent_to_plugin import FP16, KEEP, recurrent_to_plugin
from edgekit.rewrite.shapes_at import Known, shapes_at
from edgekit.shapes import Profile
from edgekit.targets import target

AUTO, OFF = "auto", "off"


@dataclass(frozen=True)
class Plugins:
    """A library of edgekit's kernels, and the GPU that an engine with them is for."""

    path: Path
    place: Place


def find_plugins(config: BuildConfig) -> tuple[Plugins | None, tuple[str, ...]]:
    """The library to use, or None, and a note on why there is none where one might help.

    Raises TargetError where a library was named for a target that takes no plugins, BuildError for a file that is none,
    or where this machine has no GPU to plan for.
    """
    kind = target(config.target)
    if config.plugins == OFF:
        return None, ()
    if kind.plugins in ("", "none"):
        if config.plugins != AUTO:
            raise TargetError(f"expected no plugins for target {kind.name}, found {config.plugins}", "--plugins off")
        return None, ()
    named = find_library("plugins") if config.plugins == AUTO else Path(config.plugins)
    if named is None:
        return None, ("edgekit's kernels are not built and take no node; next: edgekit plugins build",)
    if config.plugins == AUTO and not read_report(named).get("tensorrt"):
        return None, (f"edgekit's kernels take no node: {named} was built without TensorRT's headers (TENSORRT_ROOT)",)
    library = Library(named)
    try:
        device = library.current_device()
    except EdgekitError as error:
        raise BuildError(
            f"expected a GPU for the kernels of {named}, found: {error.problem}", "--plugins off"
        ) from error
    return Plugins(named, Place(library, device.sm, device.multiprocessors)), ()


def with_plugins(model: onnx.ModelProto, profile: Profile, plugins: Plugins | None) -> PassResult:
    """Put edgekit's operators in the place of the nodes that its kernels take, in place; without a library none.

    The recurrent weights of a model that computes in FP16 are FP16; the others stay as they are.
    """
    if plugins is None:
        return PassResult(model, False)
    known = shapes_at(model, {item.name: item.max for item in profile})
    weights = FP16 if is_half(model) else KEEP
    first = recurrent_to_plugin(model, lambda item: why_not_recurrent(item, plugins.place, weights), weights, known)
    then = attention_to_plugin(first.model, lambda item: why_not_attention(item, plugins.place), known)
    return PassResult(then.model, first.modified or then.modified, (*first.notes, *then.notes))


def plugin_creators(model: onnx.ModelProto) -> tuple[str, ...]:
    """What the nodes of a model ask TensorRT's registry for, each as "name version namespace"."""
    names = {node.op_type for graph in graphs_of(model.graph) for node in graph.node if node.domain == DOMAIN}
    return tuple(f"{name} {PLUGIN_VERSION} {NAMESPACE}" for name in sorted(names))


def is_half(model: onnx.ModelProto) -> bool:
    """Whether a model holds weights in FP16: its recurrences may be FP32 only because importers refuse them in FP16."""
    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)


def why_not_recurrent(item: RecurrentNode, place: Place, weights: str = KEEP) -> str:
    """Why a recurrence stays with TensorRT; empty where edgekit's kernel takes it."""
    if item.uncovered:
        return item.uncovered
    return "its number of hidden units is not known" if not item.hidden else coverage_of(item, place, weights).reason


def would_help(model: onnx.ModelProto) -> bool:
    """Whether the kernels would take something of a model, as far as its form tells."""
    if any(node.op_type in KINDS for graph in graphs_of(model.graph) for node in graph.node):
        return True
    return any(not why_not_attention(item, None) for item in attention_candidates(model, {}))


def attention_candidates(model: onnx.ModelProto, known: Mapping[str, Known]) -> tuple[Candidate, ...]:
    """The attentions that edgekit's operator computes; the model stays as it is."""
    found: list[Candidate] = []

    def noted(item: Candidate) -> str:
        found.append(item)
        return "only asked"

    attention_to_plugin(without_weights(model), noted, known)
    return tuple(found)


def why_not_attention(item: Candidate, place: Place | None) -> str:
    """Why an attention stays with TensorRT; empty where edgekit's kernel takes it. Without a place its size is not
    judged, only its form."""
    if not (item.has_cache or item.has_rest or item.value_size != item.head_size):
        return "TensorRT computes it itself"
    if place is None:
        return ""
    # Behind a Reshape the heads of q alone may not be known: they do not decide whether it fits.
    kv_heads = item.kv_heads or item.heads or 1
    size = AttentionSize(
        dtype=PRECISIONS.get(item.dtype, "another type"),
        batch=1,
        heads=item.heads or kv_heads,
        kv_heads=kv_heads,
        queries=max(item.queries, 1),
        keys=max(item.queries, 1) if item.has_cache else max(item.keys, 1),
        past=max(item.keys - item.queries, 1) if item.has_cache else 0,
        head_size=item.head_size,
        value_size=item.value_size,
        causal=item.causal,
        has_cache=item.has_cache,
    )
    return attention_reason(size, place)


def coverage_of(item: RecurrentNode, place: Place, weights: str = KEEP) -> Coverage:
    """What the launch plan says of a recurrence whose hidden units are known."""
    half = weights == FP16 or item.dtype in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    size = Size(
        op=item.node.op_type,
        steps=max(item.steps, 1),
        batch=max(item.batch, 1),
        hidden=item.hidden,
        directions=item.directions,
        weights="int8" if item.int8 else "fp16" if half else "fp32",
        linear_before_reset=item.linear_before_reset,
    )
    return recurrent_coverage(size, place)


def load_plugins(flavour: Flavour, plugins: Plugins | None) -> None:
    """Make TensorRT's parser know the operators of the library. Raises BuildError where it does not load."""
    if plugins is None:
        return
    registry: Any = flavour.trt.get_plugin_registry()
    if registry.load_library(str(plugins.path)) is None:
        raise BuildError(
            f"expected {flavour.name} {flavour.version} to load the plugins of {plugins.path}, which it did not",
            "edgekit plugins build, where TensorRT's headers are: without them the library has no plugins in it",
        )
