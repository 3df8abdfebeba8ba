"""Which targets a machine is ready for: the judgement, on facts that no one machine has, and the advice."""

from __future__ import annotations

import pytest

from edgekit.configs import TARGETS
from edgekit.device import Gpu, GpuSearch, Jetson, find_gpus, find_jetson, preflight, summary_lines
from edgekit.device.readiness import Facts, judge
from edgekit.targets import target

NO_GPU = GpuSearch((), "no driver")
ALL = {"onnxruntime": "1.23.2", "tensorrt_rtx": "1.7.1", "tensorrt": "10.3.0", "pycuda": "2026.1"}
ORIN = Jetson("Orin", "Orin", "8.7", "36.4.3")
THOR = Jetson("Thor", "Thor", "11.0", "38.2.0")
MISSING = "libcuda-that-is-not-there.so.1"


def gpu(*capabilities: str | None) -> GpuSearch:
    return GpuSearch(tuple(Gpu("GPU", item, 8192, False) for item in capabilities), "", "13.0")


def ready(search: GpuSearch, jetson: Jetson | None = None, **packages: str | None) -> dict[str, str]:
    """Per target `-`, `b` (builds), or `br` (builds and runs)."""
    facts = Facts("aarch64" if jetson else "x86_64", ALL | packages, search, jetson)
    found = {name: judge(target(name), facts) for name in TARGETS}
    assert all(item.build_reason and item.run_reason for item in found.values())
    return {name: ("b" if item.build else "") + ("r" if item.run else "") or "-" for name, item in found.items()}


def why(name: str, search: GpuSearch, jetson: Jetson | None = None, **packages: str | None) -> str:
    return judge(target(name), Facts("x86_64", ALL | packages, search, jetson)).run_reason


def test_a_desktop_is_ready_for_no_jetson_even_with_a_jetsons_tensorrt():
    assert ready(gpu("8.6")) == dict(zip(TARGETS, ["br", "br", "br", "-", "-", "-"], strict=True))
    assert ready(NO_GPU) == dict(zip(TARGETS, ["br", "b", "-", "-", "-", "-"], strict=True))
    assert why("jetpack6", gpu("8.7")) == "this is no Jetson"


@pytest.mark.parametrize(
    ("jetson", "tensorrt", "expected"),
    [
        (ORIN, "10.3.0", "jetpack6"),
        (THOR, "10.13.3.9", "jetpack7.0"),
        (THOR, "11.4.1", "jetpack7.2"),
        (ORIN, "11.4.1", "jetpack7.2"),
        (ORIN, "10.13.0", None),  # only Thor has JetPack 7.0
        (THOR, "10.3.0", None),
        (ORIN, "10.30.0", None),
        (ORIN, None, None),
    ],
)
def test_a_jetson_is_ready_for_the_jetpack_of_its_chip_and_tensorrt(jetson, tensorrt, expected):
    found = ready(gpu(jetson.compute_capability), jetson, tensorrt=tensorrt, tensorrt_rtx=None)
    assert [name for name in TARGETS[1:] if found[name] != "-"] == ([expected] if expected else [])
    assert found["cpu"] == "br"


def test_a_jetson_without_its_driver_is_not_ready():
    assert ready(NO_GPU, ORIN, tensorrt_rtx=None)["jetpack6"] == "-"


def test_a_jetson_of_unknown_chip_is_judged_by_its_gpu():
    unknown = Jetson(None, None, None, "36.4.3")
    assert ready(gpu("8.7"), unknown)["jetpack6"] == "br"
    assert ready(gpu("7.2"), unknown)["jetpack6"] == "-"


@pytest.mark.parametrize(("version", "expected"), [("10.3.0", "br"), ("11.4.1", "br"), ("8.6.2", "-"), (None, "-")])
def test_the_desktop_takes_tensorrt_10_and_11(version, expected):
    assert ready(gpu("8.6"), tensorrt=version)["desktop"] == expected


@pytest.mark.parametrize(("search", "said"), [(gpu("9.0"), "is 9.0, not 7.5"), (gpu(None), "unknown")])
def test_rtx_runs_on_its_compute_capabilities_alone(search, said):
    assert ready(search)["rtx"] == "b"
    assert said in why("rtx", search)
    assert ready(gpu("9.0", "8.9"))["rtx"] == "br"


def test_running_an_engine_needs_pycuda_and_building_does_not():
    found = ready(gpu("8.6"), pycuda=None)
    assert (found["rtx"], found["desktop"]) == ("b", "b")
    assert "pycuda is not installed" in why("rtx", gpu("8.6"), pycuda=None)


def test_cuda_bindings_run_an_engine_as_pycuda_does():
    found = ready(gpu("8.6"), **{"pycuda": None, "cuda-bindings": "13.0.1"})
    assert (found["rtx"], found["desktop"]) == ("br", "br")
    assert "nor is cuda-bindings" in why("rtx", gpu("8.6"), **{"pycuda": None, "cuda-bindings": None})


def test_without_onnxruntime_the_cpu_is_no_target():
    assert ready(NO_GPU, onnxruntime=None)["cpu"] == "-"


def test_aarch64_learns_that_there_is_no_tensorrt_rtx_for_it():
    found = judge(target("rtx"), Facts("aarch64", {}, NO_GPU, ORIN))
    assert found.build_reason == "TensorRT-RTX has no package for aarch64"


def test_a_question_that_the_driver_refuses_leaves_none_and_says_so(fake_libcuda):
    search = find_gpus(fake_libcuda(ATTRIBUTE_STATUS=100))
    [found] = search.gpus
    assert (found.name, found.compute_capability, found.integrated, found.memory_mib) == ("First", None, None, 7620)
    assert "GPU 0: cuDeviceGetAttribute failed: CUDA_ERROR_NO_DEVICE (100)" in search.reason
    assert search.compute_capabilities == ()


def test_a_driver_that_does_not_start_still_tells_its_version(fake_libcuda):
    search = find_gpus(fake_libcuda(INIT_STATUS=100))
    assert (search.driver, search.reason) == ("12.6", "cuInit failed: CUDA_ERROR_NO_DEVICE (100)")
    assert find_gpus(fake_libcuda(INIT_STATUS=802)).reason == "cuInit failed: error 802"


def test_jetpack_is_named_where_it_is_known(orin, tree):
    assert find_jetson(orin).jetpack == "6.2"
    for line, expected in [("R36 (release), REVISION: 4.0", "6.1"), ("R38 (release), REVISION: 4.0", "7.1"),
                           ("R36 (release), REVISION: 9.9", None), ("R99 (release), REVISION: 1.0", None)]:  # fmt: skip
        assert find_jetson(tree({"etc/nv_tegra_release": f"# {line}, GCID: 1\n"})).jetpack == expected


def test_jetson_linux_is_read_from_dpkg_where_the_release_file_is_missing(tree):
    status = "Package: bash\nVersion: 5.1\n\nPackage: nvidia-l4t-core\nStatus: installed\nVersion: 36.4.3-2025\n"
    found = find_jetson(tree({"var/lib/dpkg/status": status}))
    assert (found.l4t, found.jetpack, found.release) == ("36.4.3", "6.2", None)


def test_an_older_jetson_is_named_and_ready_for_nothing(tree):
    found = find_jetson(tree({"proc/device-tree/compatible": "nvidia,p2972-0000\0nvidia,tegra194\0"}))
    assert (found.chip, found.compute_capability) == ("tegra194", None)
    assert ready(gpu("7.2"), found, tensorrt="8.5.2", tensorrt_rtx=None)["jetpack6"] == "-"


def test_the_system_is_read_under_root(orin):
    assert preflight(orin, MISSING).system == "Ubuntu 22.04.5 LTS"


@pytest.mark.parametrize(
    ("packages", "said", "command"),
    [
        ({"onnxruntime": "1.23.0"}, "--system-site-packages", "--target cpu"),
        ({"onnxruntime": "1.23.0", "tensorrt": "10.3.0"}, "pip install pycuda", "--target jetpack6"),
        ({"onnxruntime": "1.23.0", "tensorrt": "10.3.0", "pycuda": "2026.1"}, "nvpmodel -q", "--target jetpack6"),
        ({}, "--system-site-packages", "pip install . in edgekit"),
    ],
)
def test_the_text_advises_and_names_the_next_command(orin, fake_libcuda, only_packages, packages, said, command):
    library = fake_libcuda()
    only_packages(**packages)
    *lines, last = summary_lines(preflight(orin, library))
    assert any(said in line for line in lines if line.startswith("advice: "))
    assert last.startswith("next: ")
    assert command in last


def test_who_has_cuda_bindings_is_not_told_to_install_pycuda(orin, fake_libcuda, only_packages):
    library = fake_libcuda()
    only_packages(onnxruntime="1.23.0", tensorrt="10.3.0", cuda_bindings="13.0.1")
    *lines, last = summary_lines(preflight(orin, library))
    assert not any("pycuda" in line for line in lines if line.startswith("advice: "))
    assert "--target jetpack6" in last


def test_the_next_command_prefers_an_engine_that_runs_here(tree, fake_libcuda, only_packages):
    library = fake_libcuda()  # SM 8.7, which TensorRT-RTX builds beside and does not run on
    only_packages(tensorrt_rtx_cu13="1.7.1", tensorrt="11.4.1", pycuda="2026.1", onnxruntime="1.23.0")
    assert summary_lines(preflight(tree({}), library))[-1].endswith("--target desktop")
