"""What a target would say of a model, without a GPU and without building it: for now of its Q/DQ.

A finding is an error where the target refuses the model, or takes it without the INT8 that its Q/DQ ask for. Only what
is refused makes the exit code: the rest costs speed or accuracy, and still builds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.build import refusal
from edgekit.configs import BuildConfig, CheckConfig
from edgekit.errors import TargetError
from edgekit.quantize.legal import ERROR, Breach, breaches, is_quantized
from edgekit.reports import plain
from edgekit.rewrite.reading import OnnxFile, read_onnx_file
from edgekit.targets import target


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


@dataclass(frozen=True)
class CheckReport:
    """The findings in the order of the nodes; `notes` say what was not looked at, and why."""

    path: Path
    target: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def errors(self) -> int:
        """How many findings stand in the way."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def mendable(self) -> bool:
        """Whether `quantize --relegalize` has something to do."""
        return any(finding.rule != "parser" and finding.severity == ERROR for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 where the target builds the model, however badly; else that of a TargetError."""
        return TargetError.exit_code if any(finding.refused for finding in self.findings) else 0

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"stage": "check", **plain(self), "errors": self.errors, "exit_code": self.exit_code}


def check(source: Path, config: CheckConfig = CheckConfig()) -> CheckReport:
    """Look at an ONNX file for `config.target`; nothing is written. Raises ModelError for what is no ONNX file."""
    kind = target(config.target)
    found = read_onnx_file(source)
    if kind.flavour == "ort":
        note = f"target {kind.name} has no rules for Q/DQ: onnxruntime runs it as it is"
        return CheckReport(source, kind.name, (), (note,))
    findings = [_finding(item) for item in breaches(found.model)]
    notes = [] if is_quantized(found.model) else ["the model has no Q/DQ"]
    parsed, unasked = _parsed(found, config, any(finding.severity == ERROR for finding in findings))
    return CheckReport(source, kind.name, (*findings, *parsed), (*notes, *unasked))


def _finding(item: Breach) -> Finding:
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


def _parsed(found: OnnxFile, config: CheckConfig, broken: bool) -> tuple[list[Finding], list[str]]:
    """What the parser says, where this machine has the target's TensorRT; else a note that it was not asked."""
    try:
        reason = refusal(found, BuildConfig(config.target))
    except TargetError as error:
        return [], [f"no parser was asked: {error.problem}"]
    if not reason:
        return [], ["TensorRT's parser takes the model; its builder was not asked"]
    remedy = "mend the errors above" if broken else "leave that node out, or write it in operators that are imported"
    return [Finding(ERROR, "parser", "the model", "", reason, "", remedy, "the parser on this machine", True)], []
