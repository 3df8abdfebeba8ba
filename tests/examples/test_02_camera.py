"""The commands of examples/02_camera: a clip as a camera, with a page."""

from __future__ import annotations

import re

import pytest

from tests.reading import commands, run

pytestmark = pytest.mark.slow  # exports EfficientNet-Lite0
pytest.importorskip("torch", reason="the example starts from a torch module")
pytest.importorskip("av", reason="the example writes and reads a clip")


def test_its_commands(checkout):
    printed = [run(command, checkout) for command in commands("examples/02_camera/README.md")]
    _, _, _, seen, shown = printed
    names = re.findall(r"^(.+) \(\d+%\), \d+ ms after the camera saw it$", seen, re.MULTILINE)
    assert [name for name in names if name in ("espresso", "tripod")] == ["espresso", "tripod"], (
        "cats are told in between"
    )
    captured, processed, dropped = account(seen)
    assert captured == 270 == processed + dropped
    assert re.match(r"page at http://127\.0\.0\.1:8080/", seen)
    assert "ended: seconds" in shown
    assert account(shown)[0] == sum(account(shown)[1:])


def account(printed: str) -> tuple[int, ...]:
    """Captured, processed and dropped."""
    return tuple(map(int, re.search(r"(\d+) captured = (\d+) processed \+ (\d+) dropped", printed).groups()))
