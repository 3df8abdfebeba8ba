"""Which JetPack a Jetson Linux is, and what a person wants to know of that JetPack: its CUDA, TensorRT and Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.configs import TARGETS
from edgekit.targets import target


@dataclass(frozen=True)
class JetPack:
    """A JetPack and the Jetson Linux releases that it is; versions as far as engines and packages care.

    An engine is for one major and minor version of TensorRT, so no more of it stands here.
    """

    version: str
    l4t: tuple[str, ...]
    cuda: str
    tensorrt: str
    python: str


# Releases and Jetson Linux: https://developer.nvidia.com/embedded/jetpack-archive. Components: the release's own page,
# https://developer.nvidia.com/embedded/jetpack/downloads and, for older ones, https://docs.nvidia.com/jetson/archives/.
# The numbers of 36.5, 39.2 and 39.2.1 were read where others quote those pages or print what a device says.
# Python is that of Ubuntu 22.04 (36.x) and 24.04 (38.x, 39.x). No source seen names the Jetson Linux of 7.2.2: it is
# known by its package nvidia-jetpack.
JETPACKS = (
    JetPack("6.0", ("36.3",), "12.2", "8.6", "3.10"),
    JetPack("6.1", ("36.4",), "12.6", "10.3", "3.10"),
    JetPack("6.2", ("36.4.3",), "12.6", "10.3", "3.10"),
    JetPack("6.2.1", ("36.4.4",), "12.6", "10.3", "3.10"),
    JetPack("6.2.2", ("36.5",), "12.6", "10.3", "3.10"),
    JetPack("7.0", ("38.2", "38.2.1"), "13.0", "10.13", "3.12"),
    JetPack("7.1", ("38.4",), "13.0", "10.13", "3.12"),
    JetPack("7.2", ("39.2",), "13.2", "10.16", "3.12"),
    JetPack("7.2.1", ("39.2.1",), "13.2", "10.16", "3.12"),
    JetPack("7.2.2", (), "13.2", "11.4", "3.12"),
)


def jetpack_of(l4t: str | None) -> str | None:
    """The JetPack of a Jetson Linux such as 36.4.3; None for one that is not listed. 36.3.0 is 36.3."""
    plain = re.sub(r"(\.0)+$", "", l4t or "")
    return next((item.version for item in JETPACKS if plain in item.l4t), None)


def jetpack(version: str | None) -> JetPack | None:
    """What is known of a JetPack by its version; None for one that is not listed."""
    return next((item for item in JETPACKS if item.version == version), None)


def target_for(tensorrt: str | None, compute_capability: str | None) -> str | None:
    """The `--target` whose engines a Jetson's TensorRT builds; None where there is none. 10.3.0.30 counts as 10.3."""
    wanted = ".".join((tensorrt or "").split(".")[:2])
    for kind in map(target, TARGETS):
        fits = compute_capability is None or compute_capability in kind.compute_capabilities
        if kind.name.startswith("jetpack") and fits and kind.tensorrt == wanted:
            return kind.name
    return None
