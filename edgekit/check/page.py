"""The verdicts as one page that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.check.verdict import OUTCOMES, NodeVerdict
from edgekit.pages import Cell, Html, Row, facts, notes, page, section, table

if TYPE_CHECKING:
    from edgekit.check import CheckReport

_MOST_OF_A_NAME = 48
_TONES = {"refused": "bad", "unknown": "unknown", "loop": "warn", "decomposed": "warn"}


def check_page(report: CheckReport) -> str:
    """The page of a report: its facts, what stands in the way, then every node, the worst first."""
    parts = [section("In short", facts(_facts(report)))]
    if report.findings:
        parts.append(section("Findings", _findings(report)))
    parts.append(section("Nodes", _nodes(report)))
    if report.notes:
        parts.append(section("Notes", notes(report.notes)))
    return page(f"{report.path.name} on {report.device or report.target}", parts, _verdict(report))


def _verdict(report: CheckReport) -> str:
    return "refused" if report.exit_code else "would be built"


def _facts(report: CheckReport) -> dict[str, str]:
    outcomes = ", ".join(f"{count} {name}" for name, count in report.outcomes.items())
    shares = ", ".join(f"{name} {share:.1%}" for name, share in report.shares.items())
    told = {
        "verdict": _verdict(report),
        "target": report.target,
        "device": report.device,
        "judged by": report.asked,
        "nodes": outcomes,
        "multiply-adds": shares,
        "attention": report.attention,
    }
    return {name: value for name, value in told.items() if value}


def _findings(report: CheckReport) -> Html:
    rows = [
        Row(
            (
                Cell(item.severity, tone="bad" if item.refused else "warn"),
                item.node,
                item.rule,
                "; ".join(filter(None, (item.text, item.measured))),
                item.remedy,
            )
        )
        for item in report.findings
    ]
    return table("What stands in the way", ("severity", "node", "rule", "found", "remedy"), rows)


def _nodes(report: CheckReport) -> Html:
    ordered = sorted(report.nodes, key=lambda item: -OUTCOMES.index(item.outcome))
    told = {
        "reason": any(item.reason for item in ordered),
        "remedy": any(item.remedy for item in ordered),
        "layer": any(item.layer for item in ordered),
    }
    extra = [name for name, shown in told.items() if shown]
    rows = [_row(item, extra) for item in ordered]
    heads = ("node", "operator", "outcome", "precision", *extra)
    return table(
        "Nodes of the model, the worst first; a pointer on an outcome shows who says so", heads, rows, wide=extra
    )


def _row(item: NodeVerdict, extra: list[str]) -> Row:
    outcome = Cell(item.outcome, tone=_TONES.get(item.outcome, "good"), title=item.source)
    layer = item.layer if len(item.layer) <= _MOST_OF_A_NAME else f"{item.layer[:_MOST_OF_A_NAME]}…"
    cells = {"reason": Cell(item.reason), "remedy": Cell(item.remedy), "layer": Cell(layer, title=item.layer)}
    return Row((item.node, item.op, outcome, item.precision, *(cells[name] for name in extra)))
