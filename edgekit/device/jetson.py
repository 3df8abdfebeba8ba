"""Is this a Jetson, which one, and which JetPack: read from files that every Jetson Linux writes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.device.jetpack import jetpack_of
from edgekit.device.packages import read_installed
from edgekit.device.reading import text

# The chip's name in the device tree, what people call the family, and its GPU's compute capability
# (https://developer.nvidia.com/cuda-gpus). Xavier and older are no targets, and so not named.
_FAMILIES = {"tegra234": ("Orin", "8.7"), "tegra264": ("Thor", "11.0")}

_RELEASE = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_CORE_PACKAGE = re.compile(r"^Package: nvidia-l4t-core$.*?^Version: (\d+(?:\.\d+)+)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Jetson:
    """A Jetson, as far as its files tell; what they do not tell is None.

    `chip` is the family, Orin or Thor, else the device tree's name such as "tegra194". `l4t` is the version of Jetson
    Linux, such as "36.4.3", and `release` the first line of /etc/nv_tegra_release. `jetpack` follows from `l4t`, else
    it is the version of the package nvidia-jetpack.
    """

    model: str | None
    chip: str | None
    compute_capability: str | None
    l4t: str | None
    jetpack: str | None = None
    release: str | None = None


def find_jetson(root: Path = Path("/")) -> Jetson | None:
    """Read what Jetson the file system under `root` belongs to; None when it is no Jetson. Never raises.

    Any one of /etc/nv_tegra_release, the package nvidia-l4t-core and a Tegra in the device tree is enough: a
    container has the device tree of its host and often nothing else.
    """
    release = (text(root / "etc/nv_tegra_release") or "").partition("\n")[0].strip() or None
    l4t = _l4t(release, root / "var/lib/dpkg/status")
    compatible = _texts(root / "proc/device-tree/compatible")
    chip = next((name.removeprefix("nvidia,") for name in compatible if name.startswith("nvidia,tegra")), None)
    if release is None and l4t is None and chip is None:
        return None
    family, capability = _FAMILIES.get(chip or "", (chip, None))
    model = next(iter(_texts(root / "proc/device-tree/model")), None)
    return Jetson(model, family, capability, l4t, jetpack_of(l4t) or read_installed(root).jetpack, release)


def _l4t(release: str | None, dpkg_status: Path) -> str | None:
    """The Jetson Linux version from `# R36 (release), REVISION: 4.3, …`, else from the installed nvidia-l4t-core."""
    if release and (found := _RELEASE.match(release)):
        return ".".join(found.groups())
    for paragraph in (text(dpkg_status) or "").split("\n\n"):
        if package := _CORE_PACKAGE.search(paragraph):
            return package[1]
    return None


def _texts(file: Path) -> list[str]:
    """The strings of a device tree property: each ends with a NUL."""
    return [name for item in (text(file) or "").split("\0") if (name := " ".join(item.split()))]
