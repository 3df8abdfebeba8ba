"""docs/operators.md says who takes which node: recurrent cases are asked anew, and all of them among the slow tests."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")
builder = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is asked")

from tests.engines.node_cases import PAGE, Row, cases, row_of  # noqa: E402

CASES = {name: (operator, model) for name, operator, model in cases()}
RECURRENT = [name for name, (operator, _) in CASES.items() if operator != "Attention"]


def lines() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    if f"tensorrt-rtx-cu13 {builder.__version__}" not in text:
        pytest.skip(f"TensorRT-RTX {builder.__version__} did not make the page: python -m tests.engines.node_cases")
    return text.splitlines()


def test_the_page_has_every_case():
    named = [line.split("`")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert named == list(CASES)
    assert len(RECURRENT) == 18


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_row_is_what_is_found_now(name):
    assert str(row_of(name, *CASES[name])) in lines()


@pytest.mark.slow
def test_every_attention_row_is_what_is_found_now():
    """Ninety-three builds: half a minute."""
    page = lines()
    made: list[Row] = [row_of(name, *CASES[name]) for name in CASES if name not in RECURRENT]
    assert [str(row) for row in made if str(row) not in page] == []
