"""JetPack 6 has Python 3.10: runtime, build, quantize and recipes run there too, without torch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow  # installs an environment of its own and runs a second pytest in it
ROOMS = [
    "runtime",
    "build",
    "check",
    "targets",
    "device",
    "quantize",
    "bundle",
    "install",
    "rewrite",
    "test_recipe.py",
    "test_specs.py",
    "preprocess",
    "postprocess",
    "specs",
]


def python310() -> str | None:
    """A Python 3.10 that starts: on the path, or among pyenv's versions."""
    candidates = ["python3.10", *map(str, sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python")))]
    for candidate in candidates:
        try:
            done = subprocess.run([candidate, "-c", "import ensurepip, ssl"], capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    return None


def test_on_python_310(tmp_path):
    python = python310()
    if python is None:
        pytest.skip("there is no Python 3.10 on this machine")
    environment = ROOT / ".venv-3.10"
    made = environment / ".installed"
    if not made.exists() or made.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
        subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
        # What a Jetson installs, TensorRT-RTX in place of the TensorRT that JetPack brings, and the test tools.
        wanted = [f"{ROOT}[rtx,text,metrics,video,sign]", "pytest>=9", "hypothesis>=6.150", "scikit-image>=0.25"]
        subprocess.run([environment / "bin/python", "-m", "pip", "install", "--quiet", *wanted], check=True)
        made.touch()
    command = [environment / "bin/python", "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    command += [f"--basetemp={tmp_path / 'runs'}", *(f"tests/{room}" for room in ROOMS)]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
