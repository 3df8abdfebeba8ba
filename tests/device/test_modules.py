"""Modules by their number in the device tree, and without one by name and memory."""

from __future__ import annotations

import pytest

from edgekit.device.modules import _BY_MEMORY, _MODULES, find_module
from edgekit.targets.devices import device_names

COMPATIBLE, MODEL = "proc/device-tree/compatible", "proc/device-tree/model"


@pytest.mark.parametrize(
    ("compatible", "device"),
    [
        ("nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0", "agx-orin-64"),
        ("nvidia,p3737-0000+p3701-0004\0nvidia,tegra234\0", "agx-orin-32"),
        ("nvidia,p3768-0000+p3767-0000-super\0nvidia,p3767-0000\0nvidia,tegra234\0", "orin-nx-16"),
        ("nvidia,p3767-0001\0nvidia,tegra234\0", "orin-nx-8"),
        ("nvidia,p3767-0002\0nvidia,tegra234\0", "orin-nx-16"),
        ("nvidia,p3767-0003\0nvidia,tegra234\0", "orin-nano-8"),
        ("nvidia,p3767-0004\0nvidia,tegra234\0", "orin-nano-4"),
        ("nvidia,p3767-0005\0nvidia,tegra234\0", "orin-nano-8"),
        ("nvidia,p4071-0000+p3834-0008\0nvidia,tegra264\0", "agx-thor"),
        ("nvidia,p4071-0000+p3834-0000\0nvidia,tegra264\0", "thor-t4000"),
        ("nvidia,p3701-0008\0nvidia,tegra234\0", None),  # industrial: clocks of its own
    ],
)
def test_the_module_number_decides_whatever_the_memory(tree, compatible, device):
    root = tree({COMPATIBLE: compatible, "proc/meminfo": "MemTotal: 4000000 kB\n"})
    assert find_module(root).device == device


@pytest.mark.parametrize(
    ("model", "compatible", "gibibytes", "device"),
    [
        ("NVIDIA Jetson AGX Orin", "nvidia,p3701-0000\0nvidia,tegra234\0", 30, "agx-orin-32"),
        ("", "nvidia,p3701-0000\0nvidia,tegra234\0", 61.3, "agx-orin-64"),
        ("NVIDIA Jetson Orin NX on a carrier of Acme", "acme,board\0nvidia,tegra234\0", 7.4, "orin-nx-8"),
        ("NVIDIA Jetson Orin Nano", "nvidia,tegra234\0", 7.4, "orin-nano-8"),
        ("A board", "acme,board\0nvidia,tegra234\0", 7.4, None),  # an Orin NX or an Orin Nano
        ("A board", "acme,board\0nvidia,tegra234\0", 3.6, "orin-nano-4"),
        ("A board", "acme,board\0nvidia,tegra234\0", 15.3, "orin-nx-16"),
        ("A board", "acme,board\0nvidia,tegra264\0", 122.8, "agx-thor"),
        ("A board", "nvidia,p3834-0005\0nvidia,tegra264\0", 61, "thor-t4000"),
        ("NVIDIA Jetson AGX Orin", "nvidia,tegra234\0", None, None),
        ("NVIDIA Jetson AGX Orin", "nvidia,tegra234\0", 45, None),
        ("NVIDIA Jetson AGX Orin", "nvidia,tegra234\0", 64.5, None),
    ],
)
def test_without_a_known_number_the_name_and_the_memory_decide(tree, model, compatible, gibibytes, device):
    files = {MODEL: f"{model}\0", COMPATIBLE: compatible}
    if gibibytes is not None:
        files["proc/meminfo"] = f"MemTotal: {round(gibibytes * 2**20)} kB\n"
    assert find_module(tree(files)).device == device


@pytest.mark.parametrize(
    "compatible", ["nvidia,p2972-0000\0nvidia,tegra194\0", "raspberrypi,5\0", "", "nvidia,p3767\0"]
)
def test_what_is_no_orin_and_no_thor_is_no_module(tree, compatible):
    assert find_module(tree({COMPATIBLE: compatible, MODEL: "Some Board\0"})) is None


def test_the_number_is_of_a_module_and_not_of_a_carrier(tree):
    assert find_module(tree({COMPATIBLE: "nvidia,p3701-00051\0nvidia,tegra234\0"})).number is None
    assert find_module(tree({COMPATIBLE: "nvidia,p3768-0000+p3767-0004\0"})).number == "p3767-0004"


def test_every_name_for_device_is_one_that_the_options_know():
    named = {device for _, device in _MODULES.values() if device}
    named |= {device for by_size in _BY_MEMORY.values() for device in by_size.values()}
    assert named <= set(device_names())
    assert {"agx-orin-64", "orin-nano-4", "thor-t4000"} <= named
