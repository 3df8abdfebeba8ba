"""docs/engines.md says what is built today: some rows are made again, in all their precisions."""

from __future__ import annotations

import importlib.metadata

import pytest

pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engines of these tests")

from edgekit.models import ARCHITECTURES
from tests.engines.matrix import (
    PAGE,
    PRECISIONS,
    Cell,
    line_of,
    make_row,
    precisions_of,
    rows_of,
    versions,
    with_rows,
)

# Small ones of each family: a recurrence in four precisions, and among the slow ones attention, a convolution and
# both directions with lengths.
QUICK = ("rnn_language_model",)
SLOW = ("gpt2", "mtcnn_pnet", "birnn_tagger")


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_has_every_architecture_in_every_precision(page):
    rows = rows_of(page)
    assert list(rows) == list(ARCHITECTURES)
    assert {name: tuple(row) for name, row in rows.items()} == {name: precisions_of(name) for name in ARCHITECTURES}
    assert sum("int4" in row for row in rows.values()) >= 5


def test_a_refusal_on_the_page_has_a_remedy(page):
    refused = [cell.refused for row in rows_of(page).values() for cell in row.values() if cell.refused]
    assert [line for line in refused if "; next: " not in line] == []


def test_the_page_says_what_made_it(page):
    made = next(line for line in page.splitlines() if line.startswith("- Made with "))
    assert [item.rpartition(" ")[0] for item in made.removeprefix("- Made with ").split(", ")] == [
        item.rpartition(" ")[0] for item in versions()
    ]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_row_is_what_is_built(page, name):
    builder = importlib.metadata.version("tensorrt-rtx-cu13")
    if f"tensorrt-rtx-cu13 {builder}" not in page:
        pytest.skip(f"TensorRT-RTX {builder} did not make the page: python -m tests.engines.matrix")
    wanted = rows_of(page)[name]
    found = make_row(name)
    assert list(found) == list(wanted)
    for precision, cell in found.items():
        want = wanted[precision]
        assert (cell.refused, cell.layers) == (want.refused, want.layers), precision
        assert cell.mb == pytest.approx(want.mb, rel=0.02, abs=0.005), precision


@pytest.mark.parametrize("cell", [Cell(1.25, 7), Cell(refused="node 'a' \\| b: reason; next: a remedy")])
def test_a_cell_is_read_as_it_is_written(cell):
    assert Cell.parse(str(cell)) == cell
    row = dict.fromkeys(PRECISIONS[:3], cell)
    assert rows_of(line_of("gpt2", row)) == {"gpt2": row}


def test_a_row_takes_the_place_of_its_own_alone(page):
    made = rows_of(with_rows(page, {"gpt2": {"fp32": Cell(refused=r"a \1 backslash")}}))
    assert made.pop("gpt2") == {"fp32": Cell(refused=r"a \1 backslash")}
    wanted = rows_of(page)
    del wanted["gpt2"]
    assert made == wanted


def test_a_cell_of_another_form_is_refused():
    with pytest.raises(ValueError, match="expected 'builds"):
        Cell.parse("builds")
