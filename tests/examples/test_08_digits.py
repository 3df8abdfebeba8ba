"""The commands of examples/08_digits: digits read row by row."""

from __future__ import annotations

import pytest

from tests.reading import commands, run

pytestmark = pytest.mark.slow  # trains and exports
pytest.importorskip("torch", reason="the example starts from a torch module")


def test_its_commands(checkout):
    printed = [run(command, checkout) for command in commands("examples/08_digits/README.md")]
    named = printed[0].rsplit(" are ", 1)[1].strip()
    assert ", ".join(line.split(" ")[0] for line in printed[-1].splitlines()) == named
    assert "top1_drop<=0.01: PASS" in printed[1]
