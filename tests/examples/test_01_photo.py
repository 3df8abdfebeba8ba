"""The commands of examples/01_photo, and its program, which is the README's."""

from __future__ import annotations

import re

import pytest

from tests.reading import ROOT, commands, run

pytestmark = pytest.mark.slow  # exports EfficientNet-Lite0
pytest.importorskip("torch", reason="the example starts from a torch module")


def test_its_program_is_the_readmes(photos, lite0, tmp_path):
    assert (ROOT / "examples/01_photo/main.py").read_text().split('"""\n', 1)[1].strip() in (
        ROOT / "README.md"
    ).read_text()
    printed = run(f"python {ROOT}/examples/01_photo/main.py {lite0}/bundle {photos}/coffee.png", tmp_path)
    assert re.fullmatch(r"espresso \(9\d%\) in \d+\.\d ms on ort\n", printed)


def test_its_commands(checkout):
    printed = [run(command, checkout) for command in commands("examples/01_photo/README.md")]
    assert printed[-1].startswith("espresso (9")
