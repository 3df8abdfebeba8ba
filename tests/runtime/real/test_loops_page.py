"""docs/loops.md: its programs are run as a reader would; its commands, links and names hold."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgekit.cli import root
from edgekit.runtime.loop import StreamLoop
from tests.reading import program

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/loops.md"


@pytest.fixture(scope="module")
def clip(shared, photos) -> Path:
    """Five seconds of a cat, ten frames a second."""
    pytest.importorskip("av")
    from edgekit.data import read_picture
    from tests.runtime.sources.clips import write_video

    def make(folder: Path) -> None:
        cat = read_picture(photos / "cat.png")[:256, :256]
        write_video(folder / "clip.mp4", [cat] * 50, base=Fraction(1, 10))

    return shared("loops-page", make) / "clip.mp4"


def printed(name: str, folder: Path, *arguments: object) -> str:
    (folder / name).write_text(program("docs/loops.md", name))
    done = subprocess.run([sys.executable, name, *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_it_swaps_a_bundle_for_itself(lite0, clip, tmp_path):
    found = printed("swap.py", tmp_path, lite0 / "bundle", lite0 / "bundle", clip)
    assert "kept {'swapped': 1, 'swap kept': 1} True" in found


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_it_supervises(lite0, clip, tmp_path):
    found = printed("robot.py", tmp_path, lite0 / "bundle", clip)
    assert re.search(r"^tasks ended ended 0 restarts \d+ processed", found, re.MULTILINE)
    assert (tmp_path / "state.json").is_file()


def test_its_options_are_there():
    text = CliRunner().invoke(root, ["run", "--help"]).output
    named = set(re.findall(r"`?(--[a-z][a-z-]+)", PAGE.read_text()))
    assert {"--show", "--live", "--answers", "--seconds", "--frames", "--deadline-ms", "--source"} <= named
    assert [option for option in named if option not in text] == []


def test_its_links_lead_somewhere():
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text())]
    assert len(links) >= 4
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_the_events_that_it_names_are_said_somewhere():
    said = "".join(file.read_text() for file in (ROOT / "edgekit/runtime/loop").glob("*.py"))
    for kind in ("degraded", "good again", "gap", "silent", "hung", "recovered", "fallback", "sink error"):
        assert f"`{kind}`" in PAGE.read_text()
        assert f'"{kind}"' in said
    assert callable(StreamLoop.swap)
