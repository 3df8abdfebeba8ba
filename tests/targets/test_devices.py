"""Devices: names, consistency of their figures with the architecture, and the targets that they run."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from edgekit import targets
from edgekit.configs import TARGETS
from edgekit.device import modules
from edgekit.errors import TargetError
from edgekit.resources import resource
from edgekit.targets import DEVICES, device, target

# Dense FP16 operations a clock of one multiprocessor. 7.5 and 8.6: NVIDIA's whitepapers of Turing and GA102 (512 fused
# multiply-adds); 8.9 and 12.0 the same by their whitepapers. 8.7 and 11.0: 64 tensor cores of AGX Orin and 96 of Thor
# at the clocks of their data sheets (85 dense INT8 TOPS; 1035 sparse FP8 TFLOPS).
FLOP_A_CLOCK = {"7.5": 1024, "8.6": 1024, "8.7": 2048, "8.9": 1024, "11.0": 8192, "12.0": 1024}
JETSONS = [name for name in DEVICES if any(item.startswith("jetpack") for item in device(name).targets)]
ORINS = [name for name in JETSONS if "orin" in name]


def test_the_devices_that_doctor_recognises_are_the_jetsons_here():
    named = {name for _, name in modules._MODULES.values() if name}
    assert named == set(JETSONS)
    assert {name for sizes in modules._BY_MEMORY.values() for name in sizes.values()} == named


@pytest.mark.parametrize("name", DEVICES)
def test_a_capability_is_one_of_each_target(name):
    found = device(name)
    assert found.targets
    for item in found.targets:
        assert item in TARGETS
        target(item).check_compute_capabilities((found.compute_capability,))
        found.check_target(target(item))
        memory = target(item).memory
        assert memory == ("shared" if name in JETSONS else "own")


@pytest.mark.parametrize("name", [name for name in DEVICES if device(name).fp16_tflops])
def test_peaks_follow_from_multiprocessors_and_clock(name):
    found = device(name)
    flop = found.multiprocessors * FLOP_A_CLOCK[found.compute_capability] * found.clock_mhz * 1e6
    assert found.fp16_tflops == pytest.approx(flop / 1e12, rel=0.01)


@pytest.mark.parametrize("name", DEVICES)
def test_int8_is_twice_fp16_and_nothing_is_zero_that_cannot_be(name):
    found = device(name)
    assert (found.int8_tops is None) == (found.fp16_tflops is None)
    if found.int8_tops is not None:
        assert found.int8_tops == pytest.approx(2 * found.fp16_tflops, rel=0.01)
    for value in (found.multiprocessors, found.memory_gb, found.bandwidth_gb_s, found.clock_mhz, found.max_power_w):
        assert value is None or value > 0


@pytest.mark.parametrize(("bigger", "smaller"), list(combinations(ORINS, 2)))
def test_the_orins_are_listed_from_big_to_small(bigger, smaller):
    """NVIDIA's comparison orders them so, in everything that a module has more or less of."""
    for key in ("multiprocessors", "memory_gb", "bandwidth_gb_s", "fp16_tflops", "dla_cores", "max_power_w"):
        one, other = getattr(device(bigger), key), getattr(device(smaller), key)
        nx_against_nano = key == "memory_gb" and (bigger, smaller) == ("orin-nx-8", "orin-nano-8")
        assert one is None or other is None or one >= other or nx_against_nano, key


@pytest.mark.parametrize(
    ("name", "cores"),
    [("agx-orin-64", 2048), ("agx-orin-32", 1792), ("orin-nx-16", 1024), ("orin-nano-4", 512), ("agx-thor", 2560),
     ("thor-t4000", 1536), ("rtx-3060", 3584), ("rtx-3090", 10496), ("rtx-4060", 3072), ("rtx-4090", 16384),
     ("rtx-5090", 21760), ("l4", 7424)],
)  # fmt: skip
def test_multiprocessors_are_cores_by_128(name, cores):
    """CUDA cores by NVIDIA's data sheets; from 8.6 on a multiprocessor has 128 (CUDA Programming Guide)."""
    assert device(name).multiprocessors == cores // 128


def test_the_plugins_readme_has_the_same_multiprocessors():
    readme = (resource("plugins") / "README.md").read_text()
    rows = re.findall(r"\| Jetson ([\w ]+), ([\d.]+), (\d+) multiprocessors", readme)
    assert rows
    for title, capability, count in rows:
        fits = [
            d
            for d in map(device, JETSONS)
            if d.title.startswith(f"Jetson {title}") and d.compute_capability == capability
        ]
        assert int(count) in {d.multiprocessors for d in fits}, title


def test_a_device_of_another_target_is_refused_with_those_that_fit():
    with pytest.raises(TargetError) as error:
        device("agx-orin-64").check_target(target("jetpack7.0"))
    assert str(error.value) == (
        "expected a device of target jetpack7.0, found agx-orin-64; next: --device agx-thor or thor-t4000"
    )
    assert error.value.exit_code == 6
    with pytest.raises(TargetError, match="of target jetpack6, found thor-t4000; next: --device agx-orin-64 or "):
        device("thor-t4000").check_target(target("jetpack6"))
    with pytest.raises(TargetError, match="expected no device for target cpu, found l4; next: leave --device out"):
        device("l4").check_target(target("cpu"))


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(TargetError, match=r"expected a device, found 'orin-nano'; did you mean 'orin-nano-\d'"):
        device("orin-nano")
    with pytest.raises(TargetError, match="found 'cited'"):
        device("cited")


def test_what_has_no_source_is_unknown():
    assert device("l4").bandwidth_gb_s is None
    assert device("rtx-2080-ti").multiprocessors is None
    assert device("agx-orin-32").fp16_tflops is None
    assert device("agx-thor").dla_cores == 0
    with pytest.raises(AttributeError, match="NOTHING"):
        _ = targets.NOTHING


def test_the_readme_names_the_jetsons():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert [name for name in JETSONS if name not in readme and not name.startswith("thor-")] == []
