"""The wheel carries recipes and plugin sources, and the core installs and answers without torch or onnx."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow  # builds a wheel and installs it with its dependencies


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_what_the_package_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "edgekit/build/__init__.py",  # an unanchored `build/` in .gitignore would drop it
        "edgekit/targets/targets.toml",
        "edgekit/py.typed",
        "edgekit/_resources/calibration/recipes/efficientnet_lite0.toml",
        "edgekit/_resources/plugins/README.md",
    ):
        assert name in names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_wheel_installs_in_an_empty_environment(wheel, tmp_path, small_bundle, small_data):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True)

    def answer(*arguments: str) -> str:
        edgekit = tmp_path / "env" / "bin" / "edgekit"
        return subprocess.run([edgekit, *arguments], check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    assert "build-engine" in answer("--help")
    assert "logits[1, 5]" in answer("run", str(small_bundle), "--source", str(small_data))
    assert "all match" in answer("inspect", str(small_bundle))
    script = "from edgekit.recipe import recipe_names; print(recipe_names())"
    named = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "efficientnet_lite0" in named
    packages = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert not [name for name in ("torch", "onnx ", "tensorrt") if f"\n{name}" in packages]
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    # What goes onto a robot, without the tools that installed it.
    ours = [path for path in site.iterdir() if not path.name.startswith(("pip", "setuptools", "_distutils"))]
    files = [file for path in ours for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 250e6
