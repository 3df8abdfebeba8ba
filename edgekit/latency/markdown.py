"""Parts of a short summary in Markdown, as a pull request shows it: GitHub's, which is CommonMark with tables.

Whatever comes from outside, such as the name of a file, a device or a class, is text, and nothing but text: every
character that Markdown, HTML or GitHub's links would read becomes a numeric reference, and what cannot be printed a
space. References hold inside tables too, where a backslash before a bar means one thing to one parser and another to
the next.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Finding
from edgekit.configs import Config
from edgekit.latency.conditions import Machine
from edgekit.latency.stats import Interval, LatencySummary

_SIGNS = {PASS: "✅", FAIL: "❌", INCONCLUSIVE: "⚠️"}
_MEASURED = "📏"
# Of a promise each end holds with 95 %; of a quantile both together do.
_BOUNDS = "at least .. at most, 95 % each"
_READ = re.compile(r"[&<>`*_\[\]|\\~$@#]|:(?=\S)|(?<=[wW]{3})\.")
_LONGEST = 300


def text(value: object) -> str:
    """`value` on one line, at most 300 characters of it, as nothing but text; not to begin a line with, or an item."""
    plain = "".join(char if char.isprintable() else " " for char in str(value))
    short = plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
    return _READ.sub(lambda match: f"&#{ord(match.group())};", short)


def name(value: object) -> str:
    """The same in the letters of code, where GitHub looks for no people and no issues."""
    return f"<code>{text(value)}</code>"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; cells are Markdown, such as `text` makes."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def verdict_line(verdict: str) -> str:
    """A heading that one sees from afar; `verdict` begins with its word."""
    return f"### {_SIGNS.get(verdict.split(' ')[0], _MEASURED)} {text(verdict)}"


def promises(findings: Sequence[Finding]) -> list[str]:
    """The budget as a table; nothing without one."""
    if not findings:
        return []
    rows = [
        [
            text(finding.limit),
            f"{finding.value:.4g}" + (f" in {text(finding.where)}" if finding.where else ""),
            f"{finding.low:.4g} .. {finding.high:.4g}" if finding.limit.gate == "latency" else "",
            f"{_SIGNS[finding.outcome]} {finding.outcome}{_why(finding)}",
        ]
        for finding in findings
    ]
    return ["", *table(["promise", "found", _BOUNDS, "outcome"], rows)]


def _why(finding: Finding) -> str:
    if finding.doubts:
        return f", in doubt: {text(', '.join(finding.doubts))}"
    return f", about {finding.missing} samples missing" if finding.missing else ""


def quantiles(summary: LatencySummary, deadline_ms: float | None) -> list[str]:
    """Latencies with their intervals as a table, and how often a deadline was missed."""
    found = {"p50": summary.p50_ms, "p90": summary.p90_ms, "p99": summary.p99_ms, "p99.9": summary.p999_ms}
    rows = [[f"{key} in ms", f"{item.value:.4g}", item.ends] for key, item in found.items()]
    if summary.deadline_miss is not None:
        rows.append([f"later than {deadline_ms:.4g} ms", *_shares(summary.deadline_miss)])
    return ["", *table([f"{summary.n} requests", "found", "95 % interval"], rows)]


def _shares(found: Interval) -> tuple[str, str]:
    return f"{found.value:.2%}", f"{found.low:.2%} .. {found.high:.2%}"


def machine_line(machine: Machine) -> str:
    """On what it was measured."""
    environment = machine.environment
    parts = [environment.cpu or environment.machine, f"{environment.cores} cores" if environment.cores else None]
    parts += [machine.jetson, machine.power_mode, *machine.gpus, machine.system]
    parts += [f"onnxruntime {version}" for key, version in machine.packages.items() if key == "onnxruntime"]
    return f"Machine: {text(', '.join(part for part in (*parts, f'edgekit {machine.edgekit}') if part))}"


def remarks(lines: Iterable[str]) -> list[str]:
    """A list of warnings; nothing for none."""
    items = [f"- {_SIGNS[INCONCLUSIVE]} {text(line)}" for line in lines]
    return ["", *items] if items else []


def command_block(command: str) -> list[str]:
    """How to do it again: one line, which begins with a word, so that no fence in it ends the block."""
    return ["", "To repeat it:", "", "```sh", command, "```"]


def command_line(command: str, source: Path, config: Config, without: Iterable[str]) -> str:
    """The command line that asks for `config`; `without` names the fields that only say where to write something."""
    words = ["edgekit", command, str(source)]
    for field in fields(config):
        value, left_out = getattr(config, field.name), set(without)
        if value == field.default or field.name in left_out:
            continue
        flag = "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
            continue
        for item in value if isinstance(value, tuple) else (value,):
            words += [flag, str(item)]
    quoted = " ".join(map(shlex.quote, words))
    return "".join(char if char.isprintable() else " " for char in quoted)


def page(*parts: Iterable[str]) -> str:
    """The whole of it."""
    return "\n".join(line for part in parts for line in part) + "\n"
