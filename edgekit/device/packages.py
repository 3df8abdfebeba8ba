"""What JetPack installed: its Debian packages that matter for building and running engines, and nvcc."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.device.reading import text

_FIELD = re.compile(r"^(Package|Status|Version): (.*)$", re.MULTILINE)
# libnvinfer8 and libnvinfer10 are TensorRT 8 and 10: the library's name carries its major version.
_LIBRARY = re.compile(r"libnvinfer[0-9]+")
_TOOLKIT = re.compile(r"cuda-toolkit-([0-9]+)-([0-9]+)")
# The C++ headers: TensorRT 10 has them in packages of their own, 8 in libnvinfer-dev.
_HEADERS = ("libnvinfer-headers-dev", "libnvinfer-dev")


@dataclass(frozen=True)
class Installed:
    """Versions of Debian packages, "10.3.0.30" for 10.3.0.30-1+cuda12.5; None for one that is not installed.

    Where dpkg's list cannot be read, as in a container without one, `known` is False and nothing is said to be absent.
    """

    known: bool
    jetpack: str | None
    tensorrt: str | None
    tensorrt_python: str | None
    tensorrt_headers: str | None
    cuda_toolkit: str | None
    nvcc: bool


def read_installed(root: Path = Path("/")) -> Installed:
    """Read /var/lib/dpkg/status (deb822(5), dpkg(1)) and look for nvcc where JetPack puts it. Never raises."""
    content = text(root / "var/lib/dpkg/status")
    versions = _versions(content or "")
    toolkits = [found.groups() for name in versions if (found := _TOOLKIT.fullmatch(name))]
    newest = max(toolkits, key=lambda pair: [(len(part), part) for part in pair], default=None)
    return Installed(
        known=content is not None,
        jetpack=versions.get("nvidia-jetpack"),
        tensorrt=next((versions[name] for name in versions if _LIBRARY.fullmatch(name)), None),
        tensorrt_python=versions.get("python3-libnvinfer"),
        tensorrt_headers=next((versions[name] for name in _HEADERS if name in versions), None),
        cuda_toolkit=".".join(newest) if newest else None,
        nvcc=_is_file(root / "usr/local/cuda/bin/nvcc"),
    )


def _versions(content: str) -> dict[str, str]:
    """Name to version, without Debian's revision, of each package that is wholly installed; the first of a name."""
    versions: dict[str, str] = {}
    for paragraph in content.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        name, version = fields.get("Package"), fields.get("Version")
        if name and version and fields.get("Status", "").split()[-1:] == ["installed"]:
            versions.setdefault(name.strip(), re.split(r"[-+]", version.strip())[0])
    return versions


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False
