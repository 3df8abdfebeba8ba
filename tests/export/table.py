"""The README's table of architectures, as the tests cover them: `python -m tests.export.table` prints it."""

from __future__ import annotations

from collections.abc import Iterable

from edgekit.models import ARCHITECTURES
from tests.export.cases import CASES, Case, picture

HEAD = """| task | names | compared with PyTorch at batches 1 and 3, and | TensorRT-RTX, FP32 | FP16 |
|---|---|---|---|---|
"""


def table() -> str:
    """One row for the names of a task that are tried alike."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, entry in ARCHITECTURES.items():
        case = CASES[name]
        row = (entry.task, _sizes(case), _built(case, "fp32"), _built(case, "fp16"))
        rows.setdefault(row, []).append(f"`{name}`")
    lines = (f"| {task} | {', '.join(names)} | {' | '.join(rest)} |\n" for (task, *rest), names in rows.items())
    return HEAD + "".join(lines)


def _sizes(case: Case) -> str:
    sizes = _joined(map(str, case.sizes))
    return f"edges {sizes}" if case.inputs is picture else f"lengths {sizes}"


def _built(case: Case, precision: str) -> str:
    refused = case.refused.get(precision)
    return f"refused: {refused}" if refused else "builds"


def _joined(items: Iterable[str]) -> str:
    return " and ".join(items)


if __name__ == "__main__":
    print(table(), end="")
