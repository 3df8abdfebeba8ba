"""Asks TensorRT's parser about every node of a model that it refuses, not only about the first."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from edgekit.build.attention import for_importer
from edgekit.build.engine import NO_IMPORTER, make_builder
from edgekit.build.flavour import load_flavour
from edgekit.build.watching import Watcher
from edgekit.configs import BuildConfig
from edgekit.quiet import native_stderr_aside
from edgekit.reports import no_progress
from edgekit.rewrite.reading import OnnxFile
from edgekit.targets import target


@dataclass(frozen=True)
class Refusal:
    """A node that the parser refuses, with its words."""

    node: str
    op_type: str
    reason: str


def refused_nodes(found: OnnxFile, config: BuildConfig) -> tuple[Refusal, ...]:
    """The nodes that the parser of the TensorRT on this machine refuses, in the order of the graph; nothing is built.

    `found.model` is consumed. Raises TargetError where this machine has no TensorRT for the target, BuildError where it
    does not start.
    """
    flavour = load_flavour(target(config.target), config.compute_capability)
    rewritten = for_importer(found.model, "" if flavour.imports_attention else NO_IMPORTER)
    model = rewritten.model.SerializeToString() if rewritten.modified else found.serialized
    watcher = Watcher(flavour.trt, no_progress)
    try:
        builder = make_builder(flavour, watcher)
        # A name of its own: the parser does not keep its network alive.
        network = flavour.create_network(builder)
        parser = flavour.trt.OnnxParser(network, watcher.logger)
        with native_stderr_aside():
            parser.supports_model_v2(model)
        errors = [parser.get_error(at) for at in range(parser.num_errors)]
        return tuple(
            Refusal(error.node_name(), error.node_operator(), " ".join(error.desc().split())[:300]) for error in errors
        )
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # see edgekit.build.engine: no builder may outlive its failure
        raise
