"""The text of `edgekit doctor`: facts, targets with reasons, advice, and the command that comes next."""

from __future__ import annotations

from edgekit.device.advice import advice
from edgekit.device.board import Board
from edgekit.device.board_text import board_rows, memory_rows, or_unknown
from edgekit.device.jetson import Jetson
from edgekit.device.preflight import Preflight
from edgekit.device.readiness import Ability


def summary_lines(found: Preflight) -> list[str]:
    """Every line of the text; a machine that is no Jetson has none of a Jetson's."""
    advised = [f"advice: {line}" for line in advice(found)]
    return [*_fact_lines(found), "", *_target_lines(found.targets), "", *advised, f"next: {_next(found)}"]


def _fact_lines(found: Preflight) -> list[str]:
    present = [f"{name} {version}" for name, version in found.packages.items() if version]
    absent = [name for name, version in found.packages.items() if not version]
    rows = [
        ("edgekit", found.edgekit),
        ("system", f"{found.system}, {found.machine}, Python {found.python}"),
        ("CPUs", or_unknown(found.cpus)),
        ("memory", f"{or_unknown(found.memory_mib, ' MiB')}, "
                   f"{or_unknown(found.available_mib, ' MiB')} available"),
        *_jetson_rows(found, found.board),
        ("CUDA", f"the driver serves CUDA {found.gpu.driver}" if found.gpu.driver else "no driver"),
    ]  # fmt: skip
    for index, gpu in enumerate(found.gpu.gpus):
        memory = or_unknown(gpu.memory_mib, " MiB") + (", shared with the CPU" if gpu.integrated else "")
        rows.append((f"GPU {index}", f"{or_unknown(gpu.name)}, SM {or_unknown(gpu.compute_capability)}, {memory}"))
    if found.gpu.reason:
        rows.append(("GPU", f"{'partly read' if found.gpu.gpus else 'none'}: {found.gpu.reason}"))
    rows += [("packages", ", ".join(present)), ("absent", ", ".join(absent) or "none")]
    return [f"{name:<9} {value}".rstrip() for name, value in rows]


def _jetson_rows(found: Preflight, board: Board | None) -> list[tuple[str, str]]:
    jetson = ("Jetson", _jetson_text(found.jetson))
    return [jetson] if board is None else [*memory_rows(found.memory), jetson, *board_rows(board)]


def _jetson_text(jetson: Jetson | None) -> str:
    if jetson is None:
        return "no"
    name = jetson.model or f"unknown model, {jetson.chip or 'unknown chip'}"
    return f"{name}, JetPack {or_unknown(jetson.jetpack)}, Jetson Linux {or_unknown(jetson.l4t)}"


def _target_lines(targets: tuple[Ability, ...]) -> list[str]:
    lines = [f"{'target':<10} {'build':<5} {'run':<4} why"]
    for item in targets:
        same = item.build_reason == item.run_reason
        why = item.run_reason if same else f"build: {item.build_reason}; run: {item.run_reason}"
        lines.append(f"{item.target:<10} {_yes(item.build):<5} {_yes(item.run):<4} {why}")
    return lines


def _next(found: Preflight) -> str:
    """The command for the best target: an engine that runs here, else one that builds here, else the CPU."""
    engines = [item for item in found.targets if item.target != "cpu" and item.build]
    ranked = [*(item for item in engines if item.run), *engines]
    runnable = any(item.target == "cpu" and item.run for item in found.targets)
    if not ranked and not runnable:
        return "pip install . in edgekit's checkout"
    return f"edgekit deploy MODEL OUT_DIR --target {ranked[0].target if ranked else 'cpu'}"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
