"""Finds what builds the plugins: nvcc of the CUDA toolkit, of JetPack or of PyPI; CMake; make or ninja; cuobjdump."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import TargetError

# The parts of nvcc on PyPI. They are one program: a mix of versions compiles, if at all, to something nobody tried.
_PARTS = ("nvidia-cuda-nvcc", "nvidia-nvvm", "nvidia-cuda-crt", "nvidia-cuda-cccl", "nvidia-cuda-runtime")
_TOOLKIT = Path("/usr/local/cuda")
_INSTALL = "pip install 'edgekit[cuda-build]'"


@dataclass(frozen=True)
class Toolkit:
    """An nvcc: its `version` such as "13.0.88", and the compute capabilities times ten that it knows."""

    nvcc: Path
    version: str
    archs: tuple[int, ...]


def find_toolkit(root: Path = _TOOLKIT) -> Toolkit:
    """The first nvcc of $CUDACXX, PATH, the toolkit under `root`, and PyPI's packages.

    Raises TargetError where there is none, where $CUDACXX names none, and where PyPI's packages do not fit together.
    """
    named = os.environ.get("CUDACXX")
    if named:
        path = shutil.which(named)
        if path is None:
            raise TargetError(f"expected CUDACXX to name nvcc, found {named!r}", "unset CUDACXX")
        return _toolkit(Path(path))
    found = shutil.which("nvcc") or shutil.which(root / "bin/nvcc")
    if found:
        return _toolkit(Path(found))
    nvcc = of_wheel("nvidia-cuda-nvcc", "bin/nvcc")
    if nvcc is None:
        raise TargetError(f"expected nvcc in CUDACXX, PATH, {root} or PyPI's packages, found none", _INSTALL)
    check_parts({name: _version_of(name) for name in _PARTS})
    return _toolkit(nvcc)


def check_parts(versions: dict[str, str | None]) -> None:
    """Raise TargetError unless all of PyPI's packages that make up nvcc are there, of one major.minor."""
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        raise TargetError(f"expected the packages {', '.join(versions)}, found no {', '.join(missing)}", _INSTALL)
    minors = {".".join(str(version).split(".")[:2]) for version in versions.values()}
    if len(minors) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in versions.items())
        raise TargetError(f"expected nvcc's packages to be of one version, found {listed}", _INSTALL)


def find_cmake() -> list[str]:
    """CMake and the generator's options: `[cmake, "-G", …]`. PyPI's wheels, if there, go before the machine's.

    Raises TargetError where CMake, or both ninja and make, or the C++ compiler are missing.
    """
    cmake = find_tool("cmake")
    if cmake is None:
        raise TargetError("expected cmake, found none", "pip install 'edgekit[plugins]'")
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise TargetError("expected the C++ compiler g++, found none", "apt install g++, or CXX=COMPILER")
    ninja = find_tool("ninja")
    if ninja:
        return [str(cmake), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    if shutil.which("make") is None:
        raise TargetError("expected ninja or make, found neither", "pip install ninja")
    return [str(cmake), "-G", "Unix Makefiles"]


def find_tool(name: str) -> Path | None:
    """A program that a wheel put beside this Python, else one of PATH."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    return Path(found) if found else None


def find_cuobjdump() -> Path | None:
    """NVIDIA's tool that looks into compiled kernels: of PATH, of PyPI's package, or the toolkit's."""
    found = shutil.which("cuobjdump") or shutil.which(_TOOLKIT / "bin/cuobjdump")
    return Path(found) if found else of_wheel("nvidia-cuda-cuobjdump", "bin/cuobjdump")


def of_wheel(distribution: str, ending: str) -> Path | None:
    """The file of an installed distribution whose path ends so; None when either is not there."""
    try:
        files = importlib.metadata.distribution(distribution).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if f"/{file}".endswith(f"/{ending}"))
    return next((path for path in paths if path.is_file()), None)


def compiler_name() -> str:
    """What the C++ compiler calls itself, version included."""
    return _output([os.environ.get("CXX", "g++"), "--version"]).partition("\n")[0]


def _toolkit(nvcc: Path) -> Toolkit:
    release = re.search(r"release [\d.]+, V([\d.]+)", _output([str(nvcc), "--version"]))
    archs = re.findall(r"compute_(\d+)", _output([str(nvcc), "--list-gpu-arch"]))
    if release is None or not archs:
        raise TargetError(f"expected {nvcc} to say its version and its architectures, found neither", "CUDACXX=NVCC")
    return Toolkit(nvcc, release[1], tuple(sorted(set(map(int, archs)))))


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
