"""edgekit.device on machines made of files and a fake CUDA driver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.configs import TARGETS
from edgekit.device import Gpu, find_gpus, find_jetson, preflight, summary_lines
from edgekit.reports import plain

MISSING = "libcuda-that-is-not-there.so.1"


def ability(found, name):
    return next(item for item in found.targets if item.target == name)


def test_one_gpu(fake_libcuda):
    search = find_gpus(fake_libcuda())
    assert search.gpus == (Gpu(name="First", compute_capability="8.7", memory_mib=7620, integrated=True),)
    assert (search.reason, search.driver, search.compute_capabilities) == ("", "12.6", ("8.7",))


def test_two_gpus_are_told_apart_and_their_capability_is_named_once(fake_libcuda):
    search = find_gpus(fake_libcuda(GPUS=2))
    assert [gpu.name for gpu in search.gpus] == ["First", "Other"]
    assert search.compute_capabilities == ("8.7",)


def test_no_gpu_says_why(fake_libcuda):
    search = find_gpus(fake_libcuda(GPUS=0))
    assert search.gpus == ()
    assert "no GPU" in search.reason
    assert search.driver == "12.6"


def test_a_driver_that_does_not_start_says_so(fake_libcuda):
    search = find_gpus(fake_libcuda(INIT_STATUS=100))
    assert search.gpus == ()
    assert "cuInit" in search.reason
    assert "100" in search.reason


def test_memory_that_cannot_be_read_is_none_and_not_zero(fake_libcuda):
    [gpu] = find_gpus(fake_libcuda(MEMORY_STATUS=1)).gpus
    assert gpu.memory_mib is None
    assert gpu.name == "First"


def test_a_missing_library_says_so():
    search = find_gpus(MISSING)
    assert (search.gpus, search.driver) == ((), None)
    assert MISSING in search.reason


def test_a_library_that_is_no_cuda_driver_says_so():
    search = find_gpus("libm.so.6")
    assert search.gpus == ()
    assert "cuInit" in search.reason


def test_orin(orin):
    jetson = find_jetson(orin)
    assert jetson is not None
    assert (jetson.model, jetson.chip) == ("NVIDIA Jetson Orin Nano Developer Kit", "Orin")
    assert (jetson.compute_capability, jetson.l4t) == ("8.7", "36.4.3")


def test_thor(thor):
    jetson = find_jetson(thor)
    assert jetson is not None
    assert (jetson.model, jetson.chip) == ("NVIDIA Jetson AGX Thor Developer Kit", "Thor")
    assert (jetson.compute_capability, jetson.l4t) == ("11.0", "38.2.0")


def test_what_a_jetson_does_not_tell_is_none(orin, tree):
    (orin / "proc/device-tree/model").unlink()
    (orin / "proc/device-tree/compatible").unlink()
    jetson = find_jetson(orin)
    assert jetson is not None
    assert (jetson.model, jetson.chip, jetson.compute_capability, jetson.l4t) == (None, None, None, "36.4.3")


def test_no_jetson(tree):
    assert find_jetson(tree({})) is None
    assert find_jetson(tree({"proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"})) is None


def test_memory_is_read_under_root_and_unknown_is_none(orin, tmp_path):
    found = preflight(orin, MISSING)
    assert (found.memory_mib, found.available_mib) == (7620, 5120)
    found = preflight(tmp_path / "empty", MISSING)
    assert (found.memory_mib, found.available_mib, found.jetson) == (None, None, None)


def test_packages_are_found_by_their_metadata(only_packages):
    only_packages(tensorrt="10.3.0", tensorrt_rtx_cu13="1.7.1", onnxruntime_gpu="1.23.0")
    packages = preflight(Path("/"), MISSING).packages
    assert (packages["tensorrt"], packages["tensorrt_rtx"]) == ("10.3.0", "1.7.1")
    assert packages["onnxruntime"] == "1.23.0"
    assert packages["pycuda"] is None
    assert packages["torch"] is None


def test_no_package_is_imported():
    heavy = {"numpy", "torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "click", "rich"}
    code = "import sys; from edgekit.device import *; summary_lines(preflight()); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy.isdisjoint(loaded)


def test_every_target_is_judged_with_reasons(orin):
    found = preflight(orin, MISSING)
    assert tuple(item.target for item in found.targets) == TARGETS
    assert all(item.build_reason and item.run_reason for item in found.targets)


def test_tensorrt_rtx_builds_without_a_gpu_and_runs_on_none(only_packages, tree):
    only_packages(tensorrt_rtx_cu13="1.7.1", pycuda="2026.1")
    rtx = ability(preflight(tree({}), MISSING), "rtx")
    assert (rtx.build, rtx.run) == (True, False)
    assert "1.7.1" in rtx.build_reason


def test_jetpack_6_on_an_orin(only_packages, orin, fake_libcuda):
    only_packages(tensorrt="10.3.0", pycuda="2026.1")
    found = preflight(orin, fake_libcuda())
    here, other = ability(found, "jetpack6"), ability(found, "jetpack7.2")
    assert (here.build, here.run) == (True, True)
    assert (other.build, other.run) == (False, False)
    assert "10.3.0" in other.build_reason


def test_the_report_is_json(orin, fake_libcuda):
    found = preflight(orin, fake_libcuda())
    table = json.loads(json.dumps(plain(found)))
    assert table["gpu"]["gpus"][0]["compute_capability"] == "8.7"
    assert table["jetson"]["l4t"] == "36.4.3"
    assert {item["target"] for item in table["targets"]} == set(TARGETS)


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_text_names_what_is_there(orin, fake_libcuda, gpus):
    found = preflight(orin, fake_libcuda(GPUS=gpus))
    lines = summary_lines(found)
    assert all(line == line.rstrip() and "\n" not in line for line in lines)
    text = "\n".join(lines)
    for expected in ("Jetson Orin Nano", "36.4.3", "7620 MiB", "12.6", "First" if gpus else found.gpu.reason, *TARGETS):
        assert expected in text


def test_the_text_of_a_bare_machine_says_unknown(tmp_path, only_packages):
    only_packages()
    text = "\n".join(summary_lines(preflight(tmp_path / "empty", MISSING)))
    assert "unknown" in text
    assert "None" not in text
    assert MISSING in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal: 2048 kB\nMemAvailable: 1023 kB\n", (2, 0)),
        ("MemTotal: 2048 kB\n", (2, None)),
        ("MemTotal: 2048\nMemAvailable: 2048 MB\n", (None, None)),
        ("MemTotal: many kB\nMemAvailable: -4096 kB\n", (None, None)),
        ("", (None, None)),
        ("\ufffd\0\n:\n", (None, None)),
    ],
)
def test_only_lines_of_the_documented_form_are_read(tree, text, expected):
    found = preflight(tree({"proc/meminfo": text}), MISSING)
    assert (found.memory_mib, found.available_mib) == expected


def test_a_bare_machine_can_do_nothing_and_is_told_what_to_install(tmp_path, only_packages):
    only_packages()
    found = preflight(tmp_path / "empty", MISSING)
    assert not any(item.build or item.run for item in found.targets)
    assert summary_lines(found)[-1].startswith("next: pip install ")
