"""What a target would do with a model, node by node, without a GPU of that kind.

A TensorRT that is on this machine is asked itself: the model is built and the engine thrown away. Of another one only
what its documentation says, and what was measured of its importer, can be told. The Q/DQ linter is part of it: a
finding is an error where the target refuses the model, or takes it without the INT8 that its Q/DQ ask for.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.build import (
    account,
    attention_candidates,
    check_buildable,
    check_requirements,
    is_half,
    model_profiles,
    read_for,
    resolved,
)
from edgekit.check.asked import Asked, Before, ask, unproved, witness
from edgekit.check.attention import attention_verdicts, with_kernels
from edgekit.check.findings import Finding, finding_of, refusal_finding
from edgekit.check.page import check_page
from edgekit.check.recurrent import judge_recurrent, native_verdict, place_of
from edgekit.check.text import lines
from edgekit.check.told import tell
from edgekit.check.verdict import NodeVerdict
from edgekit.configs import BuildConfig, CheckConfig
from edgekit.errors import BuildError, TargetError
from edgekit.files import check_apart
from edgekit.pages import write_page
from edgekit.quantize.legal import ERROR, breaches, is_quantized
from edgekit.reports import Progress, no_progress, plain
from edgekit.rewrite.reading import OnnxFile, read_onnx_file
from edgekit.rewrite.recurrent_node import recurrent_nodes
from edgekit.rewrite.shapes_at import shapes_at
from edgekit.shapes import Profile
from edgekit.targets import Target, device, target

__all__ = ["CheckReport", "Finding", "NodeVerdict", "check", "lines", "write_check_page"]


@dataclass(frozen=True)
class CheckReport:
    """`nodes` has a verdict a node, in their order; `findings` are those of the Q/DQ linter and a refusal as a whole.

    `asked` says who judged the nodes, `shares` how the multiply-adds of the engine that was built divide by precision,
    `notes` what was not looked at, and why.
    """

    path: Path
    target: str
    device: str
    asked: str
    nodes: tuple[NodeVerdict, ...]
    findings: tuple[Finding, ...]
    shares: dict[str, float]
    attention: str
    notes: tuple[str, ...]

    @property
    def outcomes(self) -> dict[str, int]:
        """How many nodes have each outcome, the most frequent first."""
        return dict(collections.Counter(node.outcome for node in self.nodes).most_common())

    @property
    def errors(self) -> int:
        """How many findings stand in the way."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def mendable(self) -> bool:
        """Whether `quantize --relegalize` has something to do."""
        return any(
            finding.severity == ERROR and finding.rule not in ("parser", "builder", "reader")
            for finding in self.findings
        )

    @property
    def exit_code(self) -> int:
        """0 where `build-engine` on that target would succeed, however badly the result; else that of a TargetError."""
        refused = any(finding.refused for finding in self.findings) or any(node.refused for node in self.nodes)
        return TargetError.exit_code if refused else 0

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        more = {"errors": self.errors, "exit_code": self.exit_code, "outcomes": self.outcomes}
        return {"stage": "check", **plain(self), **more}


def check(source: Path, config: CheckConfig = CheckConfig(), progress: Progress = no_progress) -> CheckReport:
    """Look at an ONNX file for `config.target`; nothing is written.

    Raises ModelError for what is no ONNX file, ShapeError for an open axis without a range or a range that does not
    fit, TargetError for a device or compute capability that is none of the target's.
    """
    asked_for = resolved(_build_config(config))
    check_requirements(asked_for)
    subject = _read(source, asked_for)
    kind = target(config.target)
    findings = [] if kind.flavour == "ort" else [finding_of(item) for item in breaches(subject.found.model)]
    broken = any(finding.severity == ERROR for finding in findings)
    asked, who, notes = _judged(subject, config, asked_for, progress)
    if asked.refusal:
        findings.append(refusal_finding(asked.refusal, broken))
    return _report(source, config, who, asked, (findings, [*subject.notes, *notes, *asked.notes]))


@dataclass(frozen=True)
class _Subject:
    """The model in the form that TensorRT reads, and the sizes at which it is looked at; `refusal` says why it has no
    such form."""

    path: Path
    found: OnnxFile
    profile: Profile
    notes: tuple[str, ...]
    refusal: str


def _read(source: Path, asked_for: BuildConfig) -> _Subject:
    try:
        found, changed = read_for(source, asked_for)
        refusal = ""
    except BuildError as error:
        found, changed = read_onnx_file(source), ()
        refusal = f"{error.problem}; {error.next_step}" if error.next_step else error.problem
    notes = (*changed, *_notes(found, target(asked_for.target)))
    return _Subject(source, found, model_profiles(found, asked_for)[0], notes, refusal)


def _judged(
    subject: _Subject, config: CheckConfig, asked_for: BuildConfig, progress: Progress
) -> tuple[Asked, str, list[str]]:
    """The verdicts, who gave them, and what was not asked."""
    found, kind = subject.found, target(config.target)
    known = shapes_at(found.model, {item.name: item.opt for item in subject.profile})
    recurrent = {item.path + item.node.name: item for item in recurrent_nodes(found.model, known)}
    told = attention_verdicts(found.model, kind)
    before = Before(tuple(found.model.graph.node), known, told)
    try:
        check_buildable(asked_for)
        unasked = subject.refusal
    except TargetError as error:
        unasked = error.problem
    if not unasked:
        if kind.flavour != "ort":
            told = told | {name: native_verdict(item) for name, item in recurrent.items()}
        asked = ask(subject.path, found, replace(before, told=told), asked_for, progress)
        return asked, f"{kind.flavour} on this machine", []
    board = device(config.device) if config.device else None
    weights = "" if config.plugins == "off" else "fp16" if is_half(found.model) else "keep"
    told = told | {name: judge_recurrent(item, kind, board, weights) for name, item in recurrent.items()}
    if weights and kind.plugins not in ("", "none"):
        candidates = attention_candidates(found.model, known)
        told = told | with_kernels(told, candidates, place_of(board) if candidates and board else None)
    nodes = tell(replace(before, told=told), kind, board)
    # A strongly typed network computes as the ONNX says: that much is known without an engine.
    accounts = account(found.model, subject.profile, ())
    asked = Asked(nodes, accounts, (), subject.refusal or unproved(asked_for, accounts))
    notes = [] if subject.refusal else [f"not asked of TensorRT itself: {unasked}"]
    if not subject.refusal and not any(node.outcome in ("plugin", "refused") for node in nodes):
        notes += witness(subject.path, subject.found, asked_for)
    return asked, f"documentation of TensorRT {kind.tensorrt or '10 and 11'}", notes


def _build_config(config: CheckConfig) -> BuildConfig:
    return BuildConfig(
        target=config.target,
        device=config.device,
        compute_capability=config.compute_capability,
        shape=config.shape,
        require_precision=config.require_precision,
        plugins=config.plugins,
    )


def _notes(found: OnnxFile, kind: Target) -> list[str]:
    if kind.flavour == "ort":
        return [f"target {kind.name} has no rules for Q/DQ: onnxruntime runs it as it is"]
    return [] if is_quantized(found.model) else ["the model has no Q/DQ"]


def _report(
    source: Path, config: CheckConfig, who: str, asked: Asked, said: tuple[list[Finding], list[str]]
) -> CheckReport:
    accounts = asked.accounts
    attention = ""
    if accounts is not None and accounts.attention.blocks and accounts.layers:
        attention = f"{accounts.attention.fused} of {accounts.attention.blocks} attention blocks are one fused kernel"
    return CheckReport(
        path=source,
        target=config.target,
        device=config.device or "",
        asked=who,
        nodes=asked.nodes,
        findings=tuple(said[0]),
        shares=dict((accounts.compute.shares or {}) if accounts is not None else {}),
        attention=attention,
        notes=tuple(said[1]),
    )


def write_check_page(report: CheckReport, out: Path) -> None:
    """Write the verdicts as one HTML page that needs no network. Raises OutputError, also where that is the model."""
    check_apart(report.path, out)
    write_page(out, check_page(report))
