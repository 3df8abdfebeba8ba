"""Findings of the Q/DQ linter, and the refusal of a model as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.quantize.legal import ERROR, Breach


@dataclass(frozen=True)
class Finding:
    """One thing about one node: `text` is what was found, `measured` what TensorRT does with it, `remedy` what helps.

    `severity` is error or note, `rule` the rule's id in legal/rules.toml, or `parser`; `source` says who says so, and
    `refused` whether TensorRT-RTX does not take it at all.
    """

    severity: str
    rule: str
    node: str
    tensor: str
    text: str
    measured: str
    remedy: str
    source: str
    refused: bool

    def __str__(self) -> str:
        said = "; ".join(filter(None, (self.text, self.measured)))
        return f"{self.severity} {self.node} ({self.rule}): {said}; remedy: {self.remedy}"


def finding_of(item: Breach) -> Finding:
    """A breach of a rule for Q/DQ."""
    rule = item.rule
    return Finding(
        severity=rule.severity,
        rule=rule.id,
        node=item.node,
        tensor=item.tensor,
        text=item.message,
        measured=rule.measured,
        remedy=rule.remedy,
        source=rule.source,
        refused=rule.refused,
    )


def refusal_finding(reason: str, broken: bool) -> Finding:
    """What stopped the build; where Q/DQ rules are `broken` too, those come first."""
    who = "parser" if "parser refused" in reason else "builder" if "could not build" in reason else "reader"
    remedies = {
        "parser": "leave that node out, or write it in operators that are imported",
        "builder": "see the reason; the same model in FP32 tells whether its precision is at fault",
        "reader": "see the reason",
    }
    remedy = "mend the errors above" if broken else remedies[who]
    source = "edgekit" if who == "reader" else f"the {who} on this machine"
    return Finding(ERROR, who, "the model", "", reason, "", remedy, source, True)
