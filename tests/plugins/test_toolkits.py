"""Which nvcc, CMake and make are taken, and what is said where one is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgekit.errors import TargetError
from edgekit.plugins import toolkits
from edgekit.plugins.toolkits import Toolkit, check_parts, find_cmake, find_toolkit, of_wheel


def nvcc_that_says(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / "nvcc"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "release {version[:4]}, V{version}" || echo compute_87 compute_86\n'
    )
    path.chmod(0o755)
    return path


def test_nvcc_is_looked_for_in_this_order(tmp_path, monkeypatch):
    named = nvcc_that_says(tmp_path / "named", "12.6.85")
    on_path = nvcc_that_says(tmp_path / "path", "12.9.1")
    in_root = nvcc_that_says(tmp_path / "root/bin", "13.0.2")
    monkeypatch.setenv("CUDACXX", str(named))
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    assert find_toolkit(tmp_path / "root") == Toolkit(named, "12.6.85", (86, 87))
    monkeypatch.delenv("CUDACXX")
    assert find_toolkit(tmp_path / "root").nvcc == on_path
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_toolkit(tmp_path / "root").nvcc == in_root
    monkeypatch.setattr(toolkits, "of_wheel", lambda *_: None)
    with pytest.raises(TargetError, match=r"expected nvcc in CUDACXX, PATH, .* found none; next: pip install"):
        find_toolkit(tmp_path / "nowhere")
    monkeypatch.setenv("CUDACXX", "/no/nvcc")
    with pytest.raises(TargetError, match="expected CUDACXX to name nvcc, found '/no/nvcc'"):
        find_toolkit()


def test_pypis_nvcc_is_found_when_there_is_no_other(tmp_path, monkeypatch):
    if of_wheel("nvidia-cuda-nvcc", "bin/nvcc") is None:
        pytest.skip("needs nvcc of PyPI: pip install 'edgekit[cuda-build]'")
    monkeypatch.delenv("CUDACXX", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = find_toolkit(tmp_path)
    assert found.version.startswith("13.0.")
    assert 87 in found.archs


def test_a_mix_of_pypis_packages_is_refused():
    parts = {"nvidia-cuda-nvcc": "13.0.88", "nvidia-nvvm": "13.0.88", "nvidia-cuda-runtime": "13.0.96"}
    check_parts(parts)
    with pytest.raises(TargetError, match=r"of one version, found .*nvidia-nvvm 13\.5\.34"):
        check_parts({**parts, "nvidia-nvvm": "13.5.34"})
    with pytest.raises(TargetError, match="found no nvidia-nvvm; next: pip install"):
        check_parts({**parts, "nvidia-nvvm": None})


@pytest.mark.parametrize(("gone", "says"), [("cmake", "expected cmake"), ("make", "expected ninja or make")])
def test_a_missing_tool_is_named(monkeypatch, gone, says):
    monkeypatch.setattr(toolkits, "find_tool", lambda name: Path("/c") if name == "cmake" != gone else None)
    which = shutil.which
    monkeypatch.setattr(toolkits.shutil, "which", lambda name, **more: None if name == gone else which(name, **more))
    with pytest.raises(TargetError, match=says):
        find_cmake()
