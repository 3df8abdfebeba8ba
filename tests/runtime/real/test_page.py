"""docs/runtime.md: its programs are run as a reader would, on real bundles; its links and its table of calls hold."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from edgekit.recipe import load_recipe
from edgekit.runtime import Session
from edgekit.specs import Classify, ImagePreprocess
from tests.export.real.recording import folder
from tests.reading import program
from tests.runtime.real.test_voice_activity import silero_bundle
from tests.runtime.real.test_writing import english_bundle

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/runtime.md"


def printed(name: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program("docs/runtime.md", name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_its_command_makes_a_bundle(tmp_path):
    (command,) = re.findall(r"^```sh\nedgekit (.*?)\n```", PAGE.read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *command.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/bundle/manifest.json").is_file()


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_it_looks_at_a_picture(lite0, photos):
    assert re.search(r"^espresso 0\.9\d$", printed("look.py", lite0 / "bundle", photos / "coffee.png"), re.MULTILINE)


def test_it_listens(shared):
    found = printed("listen.py", silero_bundle(shared), folder("pyannote.audio") / "sample/sample.wav")
    share, windows = map(int, re.fullmatch(r"(\d+)% of (\d+) windows are speech\n", found).groups())
    assert 60 < share < 90, "a person marked three quarters"
    assert windows == 30 * 16000 // 512


@pytest.mark.slow  # trains for some fifteen seconds
def test_it_writes(shared, english):
    found = printed("write.py", english_bundle(shared, english), "A class definition ")
    assert len(found.rstrip("\n")) > 40
    assert len(found.split()) > 4


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_it_looks_through_a_camera(lite0, photos, tmp_path):
    """Half a second of the cat and the coffee in turn, as a clip."""
    pytest.importorskip("av")
    from edgekit.data import read_picture
    from tests.runtime.sources.clips import write_video

    pictures = [read_picture(photos / f"{name}.png")[:256, :256] for name in ("cat", "coffee")]
    write_video(tmp_path / "clip.mp4", [pictures[number // 8 % 2] for number in range(16)], base=Fraction(1, 10))
    found = printed("camera.py", lite0 / "bundle", tmp_path / "clip.mp4")
    *answers, account = found.splitlines()
    captured, processed, dropped = map(
        int, re.match(r"(\d+) captured, (\d+) processed, (\d+) dropped", account).groups()
    )
    assert captured == 16 == processed + dropped
    assert account.endswith("ended: sources ended")
    assert len(answers) == processed >= 2


def test_it_watches(small_bundle):
    found = printed("watch.py", small_bundle)
    assert "'state': 'ready'" in found
    assert 'edgekit_runs_total{backend="ort",device="cpu",session="front"} 20.0' in found


def test_every_call_that_it_names_is_there():
    named = set(re.findall(r"session\.(\w+)\(", PAGE.read_text()))
    assert {"run", "execute", "submit", "step", "generate", "windows", "health", "metrics"} <= named
    assert [name for name in named if not callable(getattr(Session, name, None))] == []


def test_its_recipe_is_one(tmp_path):
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "r.toml").write_text(block)
    recipe = load_recipe(str(tmp_path / "r.toml"))
    assert isinstance(recipe.preprocess, ImagePreprocess)
    assert isinstance(recipe.postprocess, Classify)
    assert recipe.stream.pairs() == (("h", "h_out"), ("c", "c_out"))


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", PAGE.read_text())
    assert len(links) >= 5
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
