"""The state of a Jetson beyond what any machine has: module, JetPack, packages, power mode, clocks, heat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.device.clocks import Clocks, read_clocks
from edgekit.device.jetpack import JetPack, jetpack, target_for
from edgekit.device.jetson import Jetson
from edgekit.device.modules import Module, find_module
from edgekit.device.packages import Installed, read_installed
from edgekit.device.power import Power, read_power
from edgekit.device.thermal import Thermal, read_thermal


@dataclass(frozen=True)
class Board:
    """What `doctor` knows of a Jetson; what its files do not tell is None.

    `tensorrt` is the version that Debian's packages say, else that of the JetPack, and `target` the `--target` whose
    engines it builds.
    """

    module: Module | None
    jetpack: JetPack | None
    installed: Installed
    tensorrt: str | None
    target: str | None
    power: Power | None
    clocks: Clocks
    thermal: Thermal


def read_board(jetson: Jetson, root: Path = Path("/")) -> Board:
    """Read all of it under `root`; never raises, and nothing is changed."""
    facts, installed = jetpack(jetson.jetpack), read_installed(root)
    tensorrt = installed.tensorrt_python or installed.tensorrt or (facts.tensorrt if facts else None)
    return Board(
        module=find_module(root),
        jetpack=facts,
        installed=installed,
        tensorrt=tensorrt,
        target=target_for(tensorrt, jetson.compute_capability),
        power=read_power(root),
        clocks=read_clocks(root),
        thermal=read_thermal(root),
    )
