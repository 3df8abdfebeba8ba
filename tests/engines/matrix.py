"""docs/engines.md: which engines TensorRT-RTX builds of which architectures; `python -m tests.engines.matrix` makes it.

With names it makes those rows of the page again. One process, no GPU; `nice` it where others work too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.build import BuildReport, build
from edgekit.configs import CALIBRATED, BuildConfig, ExportConfig, QuantizeConfig
from edgekit.errors import EdgekitError
from edgekit.export import examples_file, export
from edgekit.models import ARCHITECTURES
from edgekit.quantize import quantize
from edgekit.recipe import load_recipe, recipe_of
from tests.export.cases import CASES

PAGE = Path(__file__).parents[2] / "docs/engines.md"
CAPABILITY = "8.6"
PRECISIONS = ("fp32", "fp16", "int8+fp16", "int4")
# What writes language: its weights are products, which INT4 is for.
IN_INT4 = tuple(name for name, entry in ARCHITECTURES.items() if entry.task == "language modelling")
# INT4 shares a scale among 64 inputs of a product; the tiny sizes have fewer.
_WIDE = "hidden_size=64"
_PACKAGES = ("tensorrt-rtx-cu13", "onnx", "onnxruntime", "torch", "torchvision", "transformers")
_CELL = re.compile(r"builds, (?P<mb>\d+\.\d\d) MB, (?P<layers>\d+) fused layers")


@dataclass(frozen=True)
class Cell:
    """What became of one architecture in one precision; `refused` is empty where it was built."""

    mb: float = 0.0
    layers: int = 0
    refused: str = ""

    def __str__(self) -> str:
        return f"refused: {self.refused}" if self.refused else f"builds, {self.mb:.2f} MB, {self.layers} fused layers"

    @classmethod
    def parse(cls, text: str) -> Cell:
        """Read back what `str` writes; ValueError for anything else."""
        if text.startswith("refused: "):
            return cls(refused=text.removeprefix("refused: "))
        found = _CELL.fullmatch(text)
        if found is None:
            raise ValueError(f"expected 'builds, …' or 'refused: …', found {text!r}")
        return cls(float(found["mb"]), int(found["layers"]))


Row = dict[str, Cell]


def precisions_of(name: str) -> tuple[str, ...]:
    """INT4 is tried where most weights are products of tokens."""
    return PRECISIONS if name in IN_INT4 else PRECISIONS[:-1]


def make_row(name: str, precisions: Iterable[str] = PRECISIONS) -> Row:
    """Export, quantize and build `name` in each precision; an error that is none of edgekit's is let through."""
    row = {}
    for precision in precisions:
        if precision in precisions_of(name):
            with tempfile.TemporaryDirectory(prefix="edgekit-matrix-") as folder:
                row[precision] = _cell(name, precision, Path(folder))
    return row


def _cell(name: str, precision: str, folder: Path) -> Cell:
    try:
        report = _built(name, precision, folder)
    except EdgekitError as error:
        return Cell(refused=str(error).replace("|", "\\|").replace(str(folder) + "/", ""))
    return Cell(report.bytes / 1e6, len(report.layers))


def _built(name: str, precision: str, folder: Path) -> BuildReport:
    settings = (*CASES[name].settings, *((_WIDE,) if precision == "int4" else ()))
    asked = ExportConfig(target="rtx", precision=precision, set=settings, save_examples=True)
    model = export(name, folder / "model.onnx", asked).path
    if precision != "fp32":
        data = _examples(name, model) if precision in (*CALIBRATED, "int4") else None
        method = "max" if precision in CALIBRATED else "auto"
        model = quantize(model, folder / "quantized.onnx", QuantizeConfig(precision, data=data, method=method)).path
    return build(model, folder / "model.engine", BuildConfig("rtx", (CAPABILITY,)))


def _examples(name: str, model: Path) -> str:
    """The export's inputs; those of a picture are cut to the numbers that the recipe's preprocessing can make."""
    file, recipe = examples_file(model), recipe_of(name)
    made = load_recipe(recipe).preprocess if recipe else None
    if made:
        ends = [(end - mean) / std for mean, std in zip(made.mean, made.std, strict=True) for end in (0, 255)]
        with np.load(file) as stored:
            inputs = {name: stored[name] for name in stored.files}
        inputs[made.input] = inputs[made.input].clip(min(ends), max(ends)).astype(np.float32)
        np.savez(file, **inputs)
    return str(file)


def rows_of(page: str) -> dict[str, Row]:
    """The table of a page, back as cells."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return dict(map(_row_of, lines))


def _row_of(line: str) -> tuple[str, Row]:
    name, *cells = (part.strip() for part in re.split(r"(?<!\\)\|", line.strip()[1:-1]))
    pairs = zip(PRECISIONS, cells, strict=True)
    return name.strip("`"), {precision: Cell.parse(text) for precision, text in pairs if text != "–"}


def line_of(name: str, row: Row) -> str:
    """A row of the table."""
    cells = (str(row[precision]) if precision in row else "–" for precision in PRECISIONS)
    return f"| `{name}` | {' | '.join(cells)} |"


HEAD = """# Engines: what builds

Made by `python -m tests.engines.matrix` from what was built, not by hand. Every architecture of `edgekit export --list`
was exported for target rtx in each precision, quantized, and built by TensorRT-RTX for compute capability {capability}
on a CPU. No engine here has run: the table says whether it builds, how large it is and into how many layers TensorRT
fused it, and nothing of its answers or its speed.

- Made with {versions}.
- Sizes are those of `tests/export/cases.py`: networks that have settings are tiny ones of the same shape (two layers,
  12 to 32 wide), vision networks have their full size. Their weights are seeded random numbers, except where a package
  brings trained ones.
- INT8 is calibrated on the export's own example inputs (`--save-examples`), one or a few samples, with `--method max`,
  cut to the range of the recipe's preprocessing where there is one. That is enough to see whether it builds, and too
  little for its numbers: calibrate yours on real data.
- INT4 is tried on what writes language, with `{wide}`: it shares a scale among 64 inputs of a product.
- "–" was not tried. MB are 10^6 bytes. A refusal is the one line that the command prints.

`tests/engines/test_matrix.py` makes some rows again in every run, and a few more among the slow tests, and compares
them with this page: the same verdict, the same number of fused layers, and a size within 2 %. The others are made by
the command alone: the whole table took {minutes}.

| architecture | {precisions} |
|---|{rules}|
"""


def page_of(rows: dict[str, Row], seconds: float) -> str:
    """The whole page; `seconds` is what making it took."""
    head = HEAD.format(
        capability=CAPABILITY,
        versions=", ".join(versions()),
        wide=_WIDE,
        minutes=f"{seconds / 60:.0f} minutes on two cores",
        precisions=" | ".join(PRECISIONS),
        rules="---|" * (len(PRECISIONS) - 1) + "---",
    )
    return head + "".join(line_of(name, row) + "\n" for name, row in rows.items())


def with_rows(page: str, rows: dict[str, Row]) -> str:
    """The same page with these rows in place of its own."""
    for name, row in rows.items():
        line = line_of(name, row)
        page = re.sub(rf"^\| `{name}` \|.*$", lambda _, line=line: line, page, flags=re.MULTILINE)
    return page


def versions() -> Iterator[str]:
    """Every package whose version can change the table."""
    yield f"Python {platform.python_version()}"
    yield from (f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)


def main(arguments: list[str]) -> None:
    """Write the page, or print the rows that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures; all when left out")
    names = parser.parse_args(arguments).names
    if unknown := set(names) - set(ARCHITECTURES):
        parser.error(f"expected names of edgekit export --list, found {', '.join(sorted(unknown))}")
    page = PAGE.read_text(encoding="utf-8") if names else ""
    if names and ", ".join(versions()) not in page:
        parser.error("expected the versions that made the page, found others: make all rows, without names")
    start, rows = time.monotonic(), {}
    for name in names or ARCHITECTURES:
        began = time.monotonic()
        rows[name] = make_row(name)
        print(f"{line_of(name, rows[name])} {time.monotonic() - began:.1f} s", flush=True)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(with_rows(page, rows) if names else page_of(rows, time.monotonic() - start), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
