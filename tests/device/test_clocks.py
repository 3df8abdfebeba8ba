"""Clocks in their units, and when they count as held."""

from __future__ import annotations

import pytest

from edgekit.device.clocks import read_clocks
from tests.device import trees


def test_units_are_hz_in_devfreq_and_khz_in_cpufreq(tree):
    found = read_clocks(tree({**trees.ORIN_NANO_JETPACK_62, "sys/kernel/debug/bpmp/debug/clk/emc/rate": "2133000000"}))
    [gpu] = found.gpus
    assert (gpu.name, gpu.current_mhz, gpu.min_mhz, gpu.max_mhz, gpu.largest_mhz) == (
        "17000000.gpu",
        306,
        306,
        918,
        1020,
    )
    assert (found.cpus[0].max_mhz, found.cpus[0].largest_mhz, found.memory_mhz) == (1344, 1728, 2133)
    assert (gpu.governor, found.held) == ("nvhost_podgov", False)


GPU_HELD = trees.devfreq("gpu-gpc-0", 1, 5000000, 5000000, [])
GPU_FREE = trees.devfreq("gpu-gpc-0", 1, 1000000, 5000000, [])
VIDEO_FREE = trees.devfreq("gpu-nvd-0", 1, 1000000, 5000000, [])
CPU_HELD, CPU_FREE = trees.cpus(2, 5, 5, 5, 5), trees.cpus(2, 1, 1, 5, 5)


@pytest.mark.parametrize(
    ("files", "held"),
    [
        ({}, None),
        ({**GPU_HELD, **CPU_HELD}, True),
        ({**GPU_HELD, **CPU_FREE}, False),
        ({**GPU_FREE, **CPU_HELD}, False),
        ({**GPU_HELD, **CPU_HELD, **VIDEO_FREE}, True),  # the video engines compute nothing
        (VIDEO_FREE, None),
        ({"sys/class/devfreq/17000000.gpu/max_freq": "5\n"}, None),
        ({**GPU_HELD, "sys/class/devfreq/other/min_freq": "1", "sys/class/devfreq/other/max_freq": "2"}, True),
    ],
)
def test_clocks_are_held_when_their_bounds_meet(tree, files, held):
    assert read_clocks(tree(files)).held is held


def test_a_core_that_is_off_has_no_clock_and_cores_keep_their_order(tree):
    found = read_clocks(tree({**trees.cpus(12, 1, 1, 2, 2), "sys/devices/system/cpu/cpufreq/policy0/x": "1",
                              "sys/devices/system/cpu/cpu99/online": "0\n"}))  # fmt: skip
    assert [clock.name for clock in found.cpus] == [f"cpu{core}" for core in range(12)]
