"""Lines of tegrastats in each shape that NVIDIA documents; the lines are written for these tests, not recorded.

The shapes: "Tegrastats Utility" in the Developer Guides r35.4.1 (Xavier), r36.4.3 (Orin), r38.4 (Thor), all under
https://docs.nvidia.com/jetson/archives/.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.device import Tegrastats, parse_tegrastats
from edgekit.device.tegrastats import Core, Rail

XAVIER = (
    "RAM 2212/31918MB (lfb 5991x4MB) SWAP 0/15959MB (cached 0MB) CPU [4%@1190,0%@1190,off,off] EMC_FREQ 1%@2133 "
    "GR3D_FREQ 37%@905 APE 150 MTS fg 0% bg 3% AO@35.5C GPU@37C PMIC@50C AUX@35.5C CPU@38.5C thermal@37.25C "
    "GPU 616/410 CPU 925/719 SOC 1849/1849 CV 0/0 VDDRQ 308/308 SYS5V 1905/1905"
)
ORIN_6 = (
    "01-15-2026 10:00:00 RAM 3140/7620MB (lfb 12x4MB) SWAP 14/3810MB (cached 2MB) CPU [41%@1510,33%@1510,off,off] "
    "EMC_FREQ 6%@2133 GR3D_FREQ 65%@624 NVDEC off NVJPG off VIC off OFA off APE 200 cpu@50.406C soc2@49.5C gpu@51.75C "
    "tj@51.75C cv0@-256C VDD_IN 7109mW/6900mW VDD_CPU_GPU_CV 2617mW/2336mW VDD_SOC 1478mW/1318mW NC 0mW/0mW"
)
ORIN_7 = (
    "06-20-2026 09:00:00 RAM 9500/62818MB (lfb 3x512kB) CPU [23%@2201,10%@2201,4%@2201] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDEC0 off PVA0_FREQ off APE 174 cpu@52.9C/52.9C gpu@47.625C/51.5C "
    "VDD_GPU_SOC 5139mW/4800mW/9000mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5400mW/6100mW"
)
THOR = (
    "RAM 10526/125772MB (lfb 34x4MB) CPU [0%@972,8%@972] EMC_FREQ @2750 GR3D_FREQ @[314,315,off] NVENC0_FREQ @314 "
    "VIC off OFA_FREQ @315 PVA0_FREQ off APE 300 cpu@37.343C tj@38.875C soc012@37.468C "
    "VDD_GPU 1962mW/1950mW VDD_CPU_SOC_MSS 5887mW/5887mW VIN 19780mW/19000mW"
)


def test_xavier():
    found = parse_tegrastats(XAVIER)
    assert (found.ram_used_mib, found.ram_total_mib) == (2212, 31918)
    assert (found.free_blocks, found.largest_free_kib) == (5991, 4096)
    assert (found.swap_used_mib, found.swap_total_mib, found.swap_cached_mib) == (0, 15959, 0)
    assert found.cores == (Core(4, 1190), Core(0, 1190), Core(None, None), Core(None, None))
    assert (found.emc_percent, found.emc_mhz, found.gpu_percent, found.gpu_mhz) == (1, 2133, 37, (905,))
    assert found.celsius == {"AO": 35.5, "GPU": 37.0, "PMIC": 50.0, "AUX": 35.5, "CPU": 38.5, "thermal": 37.25}
    assert found.rails["GPU"] == Rail(now_mw=616, mean_mw=410)
    assert set(found.rails) == {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}


def test_orin_with_jetpack_6():
    found = parse_tegrastats(ORIN_6)
    assert (found.swap_used_mib, found.swap_cached_mib, found.gpu_percent, found.gpu_mhz) == (14, 2, 65, (624,))
    assert found.cores == (Core(41, 1510), Core(33, 1510), Core(None, None), Core(None, None))
    assert found.celsius == {"cpu": 50.406, "soc2": 49.5, "gpu": 51.75, "tj": 51.75, "cv0": None}
    assert found.rails == {"VDD_IN": Rail(7109, 6900), "VDD_CPU_GPU_CV": Rail(2617, 2336), "VDD_SOC": Rail(1478, 1318)}


def test_orin_with_jetpack_7():
    found = parse_tegrastats(ORIN_7)
    assert (found.gpu_percent, found.gpu_mhz, found.emc_percent) == (12, (1300, 1300), 3)
    assert (found.free_blocks, found.largest_free_kib) == (3, 512)
    assert (found.swap_used_mib, found.swap_total_mib, found.swap_cached_mib) == (None, None, None)
    assert found.celsius == {"cpu": 52.9, "gpu": 47.625}
    assert found.rails["VDD_GPU_SOC"] == Rail(5139, 4800)


def test_thor_says_nothing_of_the_load_of_its_gpu():
    found = parse_tegrastats(THOR)
    assert (found.gpu_percent, found.gpu_mhz) == (None, (314, 315, None))
    assert (found.emc_percent, found.emc_mhz) == (None, 2750)
    assert found.cores == (Core(0, 972), Core(8, 972))
    assert set(found.rails) == {"VDD_GPU", "VDD_CPU_SOC_MSS", "VIN"}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("GR3D_FREQ 0%", {"gpu_percent": 0}),
        ("GR3D_FREQ 0%@0", {"gpu_percent": 0, "gpu_mhz": (0,)}),
        ("GR3D_FREQ 0%@[0, 300]", {"gpu_percent": 0, "gpu_mhz": (0, 300)}),
        ("GR3D_FREQ @[]", {}),
        ("GR3D_FREQ off", {}),
        ("GR3D2_FREQ 99%@917", {}),
        ("EMC_FREQ 0%", {"emc_percent": 0}),
        ("CPU [0%,5%,off]@2601", {"cores": (Core(0, 2601), Core(5, 2601), Core(None, None))}),
        ("CPU [3%]", {"cores": (Core(3, None),)}),
        ("CPU []", {}),
        ("RAM 5/10MB", {"ram_used_mib": 5, "ram_total_mib": 10}),
        ("IRAM 0/252kB(lfb 252kB)", {}),
        ("RAM 99999999999/10MB", {}),
        ("APE 150", {}),
        ("", {}),
    ],
)
def test_a_part_says_what_it_says_and_nothing_else(part, expected):
    assert parse_tegrastats(part) == Tegrastats(**expected)


@pytest.mark.parametrize("line", [XAVIER, ORIN_6, ORIN_7, THOR])
def test_each_part_is_read_for_itself(line):
    """Without a part its value is None or absent, and no other value changes."""
    whole = parse_tegrastats(line)
    without = parse_tegrastats(line.replace("GR3D_FREQ", "SOMETHING").replace("RAM ", "ROM "))
    assert (without.gpu_percent, without.gpu_mhz, without.ram_used_mib, without.ram_total_mib) == (None, (), None, None)
    assert (without.cores, without.celsius, without.rails) == (whole.cores, whole.celsius, whole.rails)
    assert (without.emc_percent, without.emc_mhz, without.swap_total_mib) == (
        whole.emc_percent,
        whole.emc_mhz,
        whole.swap_total_mib,
    )


PARTS = st.sampled_from(" ".join([XAVIER, ORIN_6, ORIN_7, THOR]).split(" "))
DIGITS = st.text("0123456789", min_size=1, max_size=6000)


@given(st.text(max_size=300) | st.lists(PARTS | DIGITS | st.text(max_size=5), max_size=40).map(" ".join))
@example("RAM " + "9" * 5000 + "/1MB")
@example("CPU [" + "9" * 5000 + "%@1]")
@example("a@" + "9" * 400 + "C")
@example("GR3D_FREQ 1%@[" + "," * 5000 + "]")
def test_no_text_makes_it_fail(line):
    found = parse_tegrastats(line)
    assert isinstance(found, Tegrastats)
    assert all(value is None or -200 < value < 10000 for value in found.celsius.values())
