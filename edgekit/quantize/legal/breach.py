"""A breach: where a model breaks a rule, in words that name the numbers."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from edgekit.quantize.legal.graph import label
from edgekit.quantize.legal.rules import ERROR, Rule, rules


@dataclass(frozen=True)
class Breach:
    """`node` breaks `rule` at `tensor`; `message` says what was found there."""

    rule: Rule
    node: str
    tensor: str
    message: str

    @property
    def is_error(self) -> bool:
        """Whether it is more than worth knowing."""
        return self.rule.severity == ERROR


def breach(rule: str, node: onnx.NodeProto, tensor: str, message: str) -> Breach:
    """A breach of the rule with that id."""
    return Breach(rules()[rule], label(node), tensor, message)
