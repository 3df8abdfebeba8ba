"""What a target does with one node, and the rules that the words come from."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgekit.recipe import read_toml
from edgekit.rewrite.names import named_subgraphs
from edgekit.specs import from_table

# From the best to the worst: nothing left to run, one layer for several nodes, a layer of its own, one of edgekit's
# kernels, imported by what the documentation says, taken apart, run as a loop over steps, not known, refused.
OUTCOMES = ("folded", "fuses", "kernel", "plugin", "parses", "decomposed", "loop", "unknown", "refused")


@dataclass(frozen=True)
class NodeVerdict:
    """What happens to the node `node`: one of OUTCOMES, at `precision` (empty where that means nothing).

    `layer` is the engine's layer that computes it, where one was built; `reason` and `remedy` are for a person, `rule`
    is the rule's id in rules.toml and `source` says who says so.
    """

    node: str
    op: str
    outcome: str
    precision: str
    reason: str
    remedy: str
    rule: str
    source: str
    layer: str = ""

    @property
    def refused(self) -> bool:
        """Whether the target does not take the model because of it."""
        return self.outcome == "refused"

    def __str__(self) -> str:
        at = f", {self.precision}" if self.precision else ""
        said = "; ".join(filter(None, (self.reason, f"remedy: {self.remedy}" if self.remedy else "")))
        return f"{self.outcome} {self.node} ({self.op}{at})" + (f": {said}" if said else "")


@dataclass(frozen=True)
class NodeRule:
    """What helps where a rule applies, and who says that it does."""

    id: str
    remedy: str
    source: str


@functools.cache
def node_rules() -> dict[str, NodeRule]:
    """All rules of rules.toml by their id."""
    tables = read_toml(Path(__file__).with_name("rules.toml"))
    return {
        name: from_table(NodeRule, {"id": name, **table}, f"rules.toml: [{name}]") for name, table in tables.items()
    }


def verdict(node: str, op: str, outcome: str, rule: str, reason: str = "", precision: str = "") -> NodeVerdict:
    """A verdict with the remedy and the source of a rule."""
    said = node_rules()[rule]
    return NodeVerdict(node, op, outcome, precision, reason, said.remedy, rule, said.source)


def walk(nodes: Iterable[onnx.NodeProto], path: str = "") -> Iterator[tuple[str, onnx.NodeProto]]:
    """All nodes, those inside of If, Loop and Scan too, each with the place that it stands in: `If.then_branch/`."""
    for node in nodes:
        yield path, node
        for where, inner in named_subgraphs(node):
            yield from walk(inner.node, path + where)
