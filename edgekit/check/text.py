"""The verdicts as lines: nodes that fare alike share one, what is refused or costs speed has its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.check.verdict import OUTCOMES, NodeVerdict

if TYPE_CHECKING:
    from edgekit.check import CheckReport

_MOST_NAMED = 3


def lines(report: CheckReport) -> list[str]:
    """The text of `edgekit check`: the worst last, where a person looks first."""
    groups: dict[tuple[str, ...], list[NodeVerdict]] = {}
    for item in report.nodes:
        groups.setdefault((item.outcome, item.op, item.precision, item.reason, item.remedy), []).append(item)
    ordered = sorted(groups.values(), key=lambda items: (OUTCOMES.index(items[0].outcome), items[0].op))
    said = [_line(items) for items in ordered]
    said += [str(finding) for finding in report.findings]
    said += [f"note: {line}" for line in report.notes]
    return [*said, *_summary(report)]


def _line(items: list[NodeVerdict]) -> str:
    first = items[0]
    count = f" x {len(items)}" if len(items) > 1 else ""
    at = f" in {first.precision}" if first.precision else ""
    named = ", ".join(item.node or "(no name)" for item in items[:_MOST_NAMED]) + (", …" if len(items) > 3 else "")
    said = "; ".join(filter(None, (first.reason, f"remedy: {first.remedy}" if first.remedy else "")))
    return f"{first.outcome:<10} {first.op}{count}{at}: {named}" + (f"; {said}" if said else "")


def _summary(report: CheckReport) -> list[str]:
    where = f"{report.device}, target {report.target}" if report.device else f"target {report.target}"
    outcomes = ", ".join(f"{count} {name}" for name, count in report.outcomes.items())
    shares = ", ".join(f"{share:.1%} in {name}" for name, share in report.shares.items())
    told = [f"{report.path}: {outcomes} (judged by the {report.asked})"]
    told += [f"multiply-adds: {shares}"] if shares else []
    told += [report.attention] if report.attention else []
    others = len(report.findings) - report.errors
    verdict = "refused" if report.exit_code else "would be built"
    return [*told, f"{verdict}: {report.errors} errors and {others} notes for {where}"]
