"""Bounds by hand, devices by the names that drivers and device trees give them, and what a broken clock leads to."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from edgekit.budget import INCONCLUSIVE, PASS, Finding, parse_budget
from edgekit.latency.doubts import settle
from edgekit.latency.nvidia_smi import GpuState
from edgekit.targets import DEVICES, device
from tests.device.trees import AGX_ORIN_JETPACK_721, ORIN_NANO_JETPACK_62, THOR_JETPACK_70

pytest.importorskip("onnx")

from edgekit.latency.floors import Floor, bound_of, floor_of, known_device
from edgekit.rewrite.traffic import ModelWork

# 100 GFLOP, of which 40 are certain; 500 MB of weights, 20 of inputs, 10 of outputs.
WORK = ModelWork({"fp16": 10**11}, 4 * 10**10, 500 * 10**6, 20 * 10**6, 10 * 10**6, "fp16", ())
ORIN, CARD = device("agx-orin-64"), device("rtx-4090")


def plant(root: Path, tree: dict[str, str]) -> Path:
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def gpu(name: str, largest: float | None) -> GpuState:
    return GpuState(name, "550", None, None, largest, ())


def floor(times: list[float], work: ModelWork = WORK) -> Floor:
    return floor_of(work, np.array(times), "trt", "Orin", ORIN, ())


@pytest.mark.parametrize(
    ("name", "tree", "wanted"),
    [
        ("Orin", ORIN_NANO_JETPACK_62, "orin-nano-8"),
        ("Orin (nvgpu)", AGX_ORIN_JETPACK_721, "agx-orin-64"),
        ("NVIDIA Thor", THOR_JETPACK_70, "agx-thor"),
        ("Orin", {}, None),
        ("Orin", {"proc/device-tree/compatible": "nvidia,p3701-0008\0nvidia,tegra234\0"}, None),
        ("NVIDIA GeForce RTX 4090", {}, "rtx-4090"),
        ("NVIDIA GeForce RTX 3060", {}, "rtx-3060"),
        ("GeForce RTX 2080 Ti", {}, "rtx-2080-ti"),
        ("Tesla T4", {}, "t4"),
        ("NVIDIA L4", {}, "l4"),
        ("NVIDIA L40", {}, None),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", {}, None),
        ("NVIDIA GeForce RTX 3090 Ti", {}, None),
        ("NVIDIA H200", {}, None),
        ("NVIDIA GeForce RTX 4090", AGX_ORIN_JETPACK_721, "rtx-4090"),
        ("NVIDIA RTX A2000", AGX_ORIN_JETPACK_721, None),
        ("edgekit fake device (compute capability 8.7)", AGX_ORIN_JETPACK_721, None),
        ("Orin fake device", AGX_ORIN_JETPACK_721, None),
    ],
)
def test_a_device_is_known_by_its_name_or_its_module(name, tree, wanted, tmp_path):
    found = known_device(name, plant(tmp_path, tree))
    assert (found.name if found else None) == wanted


def test_memory_on_an_orin_by_hand():
    """204.8 GB/s; 9 MB of what is read may lie in the caches before, and 9 of what is written may stay there."""
    bound = bound_of(WORK, ORIN)
    assert bound.memory_ms == pytest.approx((520 - 9 + 10 - 9) / 204.8)
    assert bound.compute_ms == pytest.approx(40 / 42.75)
    assert (bound.bound_ms, bound.by) == (bound.memory_ms, "memory")
    assert bound.source == f"204.8 GB/s, {ORIN.sources['bandwidth_gb_s']}"
    assert "https://" in bound.source


def test_compute_on_an_orin_by_hand():
    heavy = dataclasses.replace(WORK, least_flops=10**12)
    bound = bound_of(heavy, ORIN)
    assert (bound.by, bound.bound_ms) == ("compute", pytest.approx(1000 / 42.75))
    assert bound.source == f"42.75 TFLOP/s in fp16, {ORIN.sources['fp16_tflops']}"
    assert bound_of(dataclasses.replace(heavy, fastest="int8"), ORIN).compute_ms == pytest.approx(1000 / 85.5)
    assert bound_of(dataclasses.replace(heavy, fastest="fp4"), ORIN).compute_ms is None, "no rate is known"


def test_what_the_formulas_say_is_no_bound():
    """A Winograd convolution needs a quarter of the products that `flops` counts."""
    assert bound_of(dataclasses.replace(WORK, flops={"fp16": 10**15}), ORIN) == bound_of(WORK, ORIN)


def test_a_card_clocks_higher_than_its_data_sheet():
    heavy = dataclasses.replace(WORK, least_flops=10**13)
    others = (gpu("NVIDIA GeForce RTX 4060", 9000), gpu("NVIDIA GeForce RTX 4090", None))
    assert bound_of(heavy, CARD, others).compute_ms is None, "its clock is not known"
    same = bound_of(heavy, CARD, (*others, gpu("NVIDIA GeForce RTX 4090", 2520)))
    assert same.compute_ms == pytest.approx(10000 / 330.3)
    higher = bound_of(heavy, CARD, (gpu("NVIDIA GeForce RTX 4090", 3150),))
    assert higher.compute_ms == pytest.approx(10000 / 330.3 / 1.25)
    lower = bound_of(heavy, CARD, (gpu("NVIDIA GeForce RTX 4090", 1000),))
    assert lower.compute_ms == same.compute_ms, "someone has set it for now"


def test_a_large_cache_can_hold_a_small_model():
    small = dataclasses.replace(WORK, weight_bytes=60 * 10**6, input_bytes=10**6)
    bound = bound_of(small, CARD)
    assert (bound.memory_ms, bound.bound_ms) == (0, 0)
    assert bound.source == "none that is known: all that has to move fits into the caches of GeForce RTX 4090"
    found = floor_of(small, np.array([0.001]), "rtx", "NVIDIA GeForce RTX 4090", CARD, ())
    assert found.doubts() == ()
    assert found.lines()[1] == f"  bound: {bound.source}"


def test_without_values_there_is_no_bound():
    for name in ("rtx-2080-ti", "l4"):
        bound = bound_of(WORK, device(name))
        assert (bound.compute_ms, bound.memory_ms, bound.bound_ms, bound.by) == (None, None, None, None)
        assert bound.source.startswith(f"not known for {device(name).title}: ")
    half = bound_of(WORK, device("agx-orin-32"))
    assert (half.compute_ms, half.by) == (None, "memory")


@pytest.mark.parametrize("name", DEVICES)
def test_every_bound_of_every_device_has_its_source(name):
    for fastest in ("fp16", "int8"):
        work = dataclasses.replace(WORK, fastest=fastest)
        bound = bound_of(work, device(name), (gpu(device(name).title, 1.0),))
        assert (bound.bound_ms is None) == bound.source.startswith("not known")
        assert bound.bound_ms is None or any(text in bound.source for text in device(name).sources.values())


def test_the_caches_of_a_device_hold_its_second_level():
    """In 10^6 bytes, from MiB by NVIDIA's whitepapers and drivers: no figure may be below what the hardware has."""
    second = {"agx-orin-64": 4, "agx-thor": 32, "rtx-3060": 3, "rtx-3090": 6, "rtx-4060": 24, "rtx-4090": 72}
    second |= {"rtx-5090": 96, "t4": 4, "l4": 48}
    for name, mebibytes in second.items():
        found = device(name).cache_mb
        assert found is not None
        assert mebibytes * 2**20 / 1e6 <= found, name


def test_beside_the_bound_stands_what_was_measured():
    found = floor([4.0, 3.0, 5.0, 9.0])
    bound = (520 - 9 + 10 - 9) / 204.8
    assert (found.measured_ms, found.least_ms) == (4.0, 3.0)
    assert found.bound_ms == found.memory_ms == pytest.approx(bound)
    assert found.share == pytest.approx(bound / 4)
    assert found.achieved.gflops_per_s == pytest.approx(100 / 0.004)
    assert found.achieved.gb_per_s == pytest.approx(0.530 / 0.004)
    assert (found.device, found.doubts()) == ("Jetson AGX Orin 64GB", ())
    first, second = found.lines()
    assert first == "work: 1e+05 MFLOP, at least 530 MB; 2.5e+04 GFLOP/s, 132 GB/s"
    assert second.startswith("  bound 2.5 ms (memory: 204.8 GB/s, https://")
    assert second.endswith("); measured 4 ms, the bound is 62% of it")


def test_a_request_faster_than_its_bound_is_a_wrong_measurement():
    """As when a call returns before the device is done: the fastest request alone shows it."""
    bound = floor([9.0]).bound_ms
    assert bound is not None
    assert floor([bound * 0.995, 9, 9]).doubts() == (), "data sheets round"
    (doubt,) = floor([bound * 0.98, 9, 9]).doubts()
    assert doubt.name == "below-bound"
    assert doubt.text.startswith(
        "the measurement is wrong: a request was computed in 2.45 ms, and Jetson AGX Orin 64GB "
    )
    assert "cannot below 2.5 ms (memory: 204.8 GB/s, " in doubt.text


def test_such_a_measurement_does_not_pass():
    (limit,) = parse_budget("p50_ms<=1000")
    passed = [Finding(limit, PASS, 0.1, 0.1, 0.1)]
    doubts = floor([0.1]).doubts()
    (kept,) = settle(passed, doubts, ())
    assert (kept.outcome, kept.doubts) == (INCONCLUSIVE, ("below-bound",)), "however wide the margin is"
    assert settle(passed, doubts, ("below-bound",)) == tuple(passed)


def test_a_cpu_and_a_device_that_is_not_known_have_no_bound():
    cpu = floor_of(WORK, np.array([4.0, 5.0, 6.0]), "ort", "cpu", ORIN, ())
    other = floor_of(WORK, np.array([1e-6]), "trt", "NVIDIA H200", None, ())
    for found, source in ((cpu, "not known for a CPU"), (other, "not known for NVIDIA H200")):
        values = (found.compute_ms, found.memory_ms, found.bound_ms, found.by, found.device, found.share)
        assert values == (None,) * 6
        assert found.doubts() == ()
        assert found.lines()[1] == f"  bound: {source}"
    assert cpu.achieved.gflops_per_s == pytest.approx(100 / 0.005)


def test_work_of_unknown_size_is_told():
    found = floor([9.0], dataclasses.replace(WORK, unsized=("a", "b")))
    assert found.lines()[0].endswith("; not counted: a, b")
    assert math.isfinite(found.achieved.gflops_per_s)
