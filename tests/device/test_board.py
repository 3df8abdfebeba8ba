"""`edgekit doctor` on three whole Jetsons: what it says, and how its advice follows one file that changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.device import Preflight, preflight, summary_lines
from edgekit.reports import plain
from tests.device import trees

MISSING = "libcuda-that-is-not-there.so.1"
PYTHON = {"36": "3.10.12", "38": "3.12.3", "39": "3.12.3"}
ALL = {"onnxruntime": "1.23.2", "tensorrt": "10.3.0", "pycuda": "2026.1"}
NANO, AGX, THOR = trees.ORIN_NANO_JETPACK_62, trees.AGX_ORIN_JETPACK_721, trees.THOR_JETPACK_70
STATUS = "var/lib/dpkg/status"

ORIN_NANO_ROWS = """\
memory    7620 MiB, 5120 MiB available
free      5120 MiB for a build, which CPU and GPU share
swap      3810 MiB of zram, which is memory itself
Jetson    NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super, JetPack 6.2, Jetson Linux 36.4.3
module    Jetson Orin Nano 8GB of the developer kit, P3767-0005: --device orin-nano-8
JetPack   6.2: CUDA 12.6, TensorRT 10.3, Python 3.10; --target jetpack6
installed TensorRT 10.3.0.30, its Python yes, its headers yes; CUDA toolkit 12.6, nvcc yes
power     25W (mode 1); modes: 15W (0), 25W (1), MAXN_SUPER (2)
clocks    17000000.gpu 306 MHz (306 to 918, hardware 1020), 6 CPUs 730 MHz (730 to 1344, hardware 1728); not held
heat      tj-thermal is the hottest at 48.5 C, 50.5 C below its passive limit of 99.0 C
throttled by over-current since the start: never"""
AGX_ORIN_ROWS = """\
memory    62818 MiB, 57344 MiB available
free      57344 MiB for a build, which CPU and GPU share
swap      none
Jetson    NVIDIA Jetson AGX Orin Developer Kit, JetPack 7.2.1, Jetson Linux 39.2.1
module    Jetson AGX Orin 64GB, P3701-0005: --device agx-orin-64
JetPack   7.2.1: CUDA 13.2, TensorRT 10.16, Python 3.12; no target of edgekit
installed TensorRT 10.16.2.10, its Python yes, its headers yes; CUDA toolkit 13.2, nvcc yes
power     MAXN (mode 0); modes: MAXN (0), MODE_15W (1), MODE_30W (2), MODE_50W (3)
clocks    17000000.gpu 1300 MHz, 12 CPUs 2202 MHz, memory 3199 MHz; held
heat      tj-thermal is the hottest at 53.0 C, 46.0 C below its passive limit of 99.0 C"""
THOR_ROWS = """\
memory    125772 MiB, 118784 MiB available
free      118784 MiB for a build, which CPU and GPU share
swap      32767 MiB on disk
Jetson    NVIDIA Jetson AGX Thor Developer Kit, JetPack 7.0, Jetson Linux 38.2.0
module    Jetson T5000, P3834-0008: --device agx-thor
JetPack   7.0: CUDA 13.0, TensorRT 10.13, Python 3.12; --target jetpack7.0
installed TensorRT 10.13.3.9, its Python yes, its headers yes; CUDA toolkit 13.0, nvcc yes
power     120W (mode 1); modes: MAXN (0), 120W (1), 90W (2), 70W (3), 40W (4)
clocks    gpu-gpc-0 315 MHz (315 to 1386, hardware 1575), gpu-nvd-0 1692 MHz, 14 CPUs 972 MHz (972 to 2601); not held
heat      gpu-thermal is the hottest at 38.9 C, 70.1 C below its passive limit of 109.0 C"""
HOLD = "clocks are not held: sudo jetson_clocks holds them at the power mode's largest, until the next restart"
SWAP = "zram is the only swap, and lies in the same memory: add a swap file, see docs/jetson.md"


@pytest.fixture
def seen(tree: Callable[[dict[str, str]], Path]) -> Callable[..., Preflight]:
    """`seen(files, packages)` looks at that tree as from the Python of its JetPack; a file of "" is not there."""

    def look(files: dict[str, str], packages: dict[str, str | None] = ALL, python: str = "") -> Preflight:
        shutil.rmtree(tree({}))
        root = tree({name: content for name, content in files.items() if content or name.endswith("nvcc")})
        found = preflight(root, MISSING)
        l4t = (found.jetson.l4t if found.jetson else None) or "36"
        python = python or PYTHON.get(l4t[:2], "3.10.12")
        return replace(found, packages=packages, python=python, machine="aarch64")

    return look


def rows(found: Preflight) -> list[str]:
    """From the memory to the last row of the Jetson."""
    lines = summary_lines(found)
    start = next(index for index, line in enumerate(lines) if line.startswith("memory"))
    return lines[start : next(index for index, line in enumerate(lines) if line.startswith("CUDA"))]


def row(found: Preflight, name: str) -> str:
    return next(line[10:] for line in rows(found) if line.startswith(f"{name:<9} "))


def advised(found: Preflight) -> list[str]:
    return [line.removeprefix("advice: ") for line in summary_lines(found) if line.startswith("advice: ")]


def zones(margin_c: float) -> dict[str, str]:
    return trees.zone(1, "gpu-thermal", round((99 - margin_c) * 1000), passive=99000, critical=104500)


@pytest.mark.parametrize(
    ("files", "expected", "advice"),
    [
        (NANO, ORIN_NANO_ROWS, [SWAP, "power mode 25W is below MAXN_SUPER: sudo nvpmodel -m 2", HOLD]),
        (
            AGX,
            AGX_ORIN_ROWS,
            ["JetPack 7.2.1 has TensorRT 10.16, which is no target: upgrade to JetPack 7.2.2 or later"],
        ),
        (THOR, THOR_ROWS, ["power mode 120W is below MAXN: sudo nvpmodel -m 0", HOLD]),
    ],
    ids=["orin-nano-6.2", "agx-orin-7.2.1", "thor-7.0"],
)
def test_what_doctor_says_on_a_jetson(seen, files, expected, advice):
    found = seen(files)
    assert rows(found) == expected.splitlines()
    assert advised(found) == advice


def test_a_jetson_at_its_best_is_told_nothing(seen):
    best = {
        **NANO,
        **trees.nvpmodel(2, 1, "15W", "25W", "MAXN_SUPER"),
        **trees.devfreq("17000000.gpu", 1020000000, 1020000000, 1020000000, [1020000000]),
        **trees.cpus(6, 1728000, 1728000, 1728000, 1728000),
        **trees.memory(7802880, 5242880, "/swapfile  file  8388604  0  -2"),
    }
    assert advised(seen(best)) == []


@pytest.mark.parametrize(
    ("change", "packages", "said"),
    [
        # TensorRT's Python: installed and hidden, for another Python, or not installed.
        ({}, {**ALL, "tensorrt": None}, "TensorRT's Python is installed and not visible here: make the virtual "),
        (
            {STATUS: trees.dpkg(nvidia_l4t_core="36.4.3", libnvinfer10="10.3.0.30-1")[STATUS]},
            {**ALL, "tensorrt": None},
            "comes with JetPack: sudo apt install python3-libnvinfer, then make the virtual environment with ",
        ),
        ({STATUS: ""}, {**ALL, "tensorrt": None}, "TensorRT's Python is not visible here, JetPack has it as "),
        # Memory: little of it, a container that has less, and no swap at all.
        (
            trees.memory(7802880, 2097152),
            ALL,
            "2048 MiB are little to build in: sudo systemctl isolate multi-user.target closes the desktop, "
            "edgekit build-engine --workspace-mib 512 asks for less",
        ),
        ({"sys/fs/cgroup/memory.max": f"{2 << 30}\n"}, ALL, "1348 MiB are little to build in"),
        (trees.memory(7802880, 5242880), ALL, "there is no swap: add a swap file, see docs/jetson.md"),
        # Heat: close to the limit, and beyond it.
        (zones(9.5), ALL, "gpu-thermal at 89.5 C is close to its passive limit of 99.0 C: cool it before measuring"),
        (zones(-1), ALL, "gpu-thermal at 100.0 C is close to its passive limit of 99.0 C: cool it before measuring"),
        ({"sys/class/hwmon/hwmon3/oc3_event_cnt": "27\n"}, ALL, "over-current has throttled this device since"),
        # Power and clocks.
        ({"var/lib/nvpmodel/status": ""}, ALL, "before measuring: sudo nvpmodel -q shows the power mode"),
        (trees.cpus(6, 1344000, 1344000, 1344000, 1728000), ALL, HOLD),
        # What pycuda and the plugins are built with.
        (
            {STATUS: trees.dpkg(nvidia_l4t_core="36.4.3", python3_libnvinfer="10.3.0.30-1")[STATUS]},
            ALL,
            "the plugins are built with TensorRT's C++ headers, not found here: sudo apt install nvidia-jetpack",
        ),
        # Software that is no target.
        (trees.release(36, "3.0"), ALL, None),
        (
            {**trees.release(35, "6.1"), **trees.dpkg(nvidia_jetpack="5.1.5-b29", libnvinfer8="8.5.2-1")},
            ALL,
            "Jetson Linux 35.6.1 is older than JetPack 6 and no target: upgrade to JetPack 6.1 or later",
        ),
    ],
)  # fmt: skip
def test_the_advice_follows_a_file_that_changes(seen, change, packages, said):
    before, after = advised(seen(NANO)), advised(seen({**NANO, **change}, packages))
    if said is None:  # the packages of 6.2 are installed over Jetson Linux 36.3: TensorRT decides
        assert after == before
    else:
        assert any(said in line for line in after)
        assert said == HOLD or not any(said in line for line in before)


def test_a_python_of_another_version_cannot_see_tensorrt(seen):
    found = seen(NANO, {**ALL, "tensorrt": None}, python="3.12.3")
    assert advised(found)[0] == (
        "JetPack 6.2's TensorRT is for Python 3.10, this is 3.12.3: make the virtual environment with "
        "/usr/bin/python3 -m venv --system-site-packages"
    )


def test_jetpack_60_is_no_target_and_is_told_the_first_that_is(seen):
    old = trees.dpkg(nvidia_l4t_core="36.3.0-1", nvidia_jetpack="6.0+b87", libnvinfer8="8.6.2.3-1+cuda12.2")
    found = seen({**NANO, **trees.release(36, "3.0"), **old}, {**ALL, "tensorrt": None})
    assert row(found, "JetPack") == "6.0: CUDA 12.2, TensorRT 8.6, Python 3.10; no target of edgekit"
    assert advised(found)[0] == "JetPack 6.0 has TensorRT 8.6, which is no target: upgrade to JetPack 6.1 or later"
    assert not any("python3-libnvinfer" in line for line in advised(found))


def test_an_upgrade_is_to_something_newer(seen):
    """JetPack 7.0 is a target on a Thor, and no upgrade from 7.2.1."""
    newer = {**THOR, **trees.release(39, "2.1"), STATUS: AGX[STATUS]}
    assert advised(seen(newer))[0].endswith("which is no target: upgrade to JetPack 7.2.2 or later")


def test_jetpack_722_is_a_target_though_its_jetson_linux_is_not_known(seen):
    newer = trees.dpkg(
        nvidia_jetpack="7.2.2-b12",
        libnvinfer11="11.4.1.10-1+cuda13.2",
        python3_libnvinfer="11.4.1.10-1+cuda13.2",
        libnvinfer_headers_dev="11.4.1.10-1+cuda13.2",
    )
    found = seen({**AGX, **newer, "etc/nv_tegra_release": ""})
    assert (found.jetson.l4t, found.jetson.jetpack) == (None, "7.2.2")
    assert row(found, "JetPack").endswith("TensorRT 11.4, Python 3.12; --target jetpack7.2")
    assert advised(found) == []


def test_a_xavier_is_named_and_is_no_target(seen):
    xavier = {
        "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 1\n",
        "proc/device-tree/compatible": "nvidia,p2972-0000\0nvidia,tegra194\0",
    }
    found = seen(xavier)
    assert row(found, "module") == "unknown"
    assert advised(found)[0].startswith("Xavier (tegra194) is neither Orin nor Thor and no target")
    assert not any("upgrade" in line for line in advised(found))


def test_a_container_that_shows_the_device_tree_alone_is_told_no_falsehood(seen):
    tree_alone = {name: text for name, text in NANO.items() if name.startswith(("proc/device-tree", "proc/mem"))}
    found = seen(
        {**tree_alone, "sys/fs/cgroup/memory.max": f"{6 << 30}\n", "sys/fs/cgroup/memory.current": "1048576\n"}
    )
    assert row(found, "free").endswith("; this container may use 6144 MiB and uses 1 MiB")
    assert row(found, "JetPack") == row(found, "power") == row(found, "clocks") == row(found, "heat") == "unknown"
    assert row(found, "installed") == "unknown: dpkg's list cannot be read"
    assert row(found, "module").endswith("--device orin-nano-8")
    assert not any("are built with" in line or "are not held" in line for line in advised(found))


def test_without_packages_the_jetpack_tells_its_tensorrt(seen):
    found = seen({**trees.release(36, "4.3"), "proc/device-tree/compatible": "nvidia,tegra234\0"})
    assert (found.board.installed.known, found.board.tensorrt, found.board.target) == (False, "10.3", "jetpack6")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00garbage\n", b"-" * 70, b"9" * 5000])
def test_a_tree_of_folders_or_garbage_reads_as_unknown(tmp_path, content):
    for name in {**NANO, **THOR}:
        path = tmp_path / name
        if content is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    # One file still says that this is a Jetson.
    compatible = tmp_path / "proc/device-tree/compatible"
    compatible.rmdir() if content is None else compatible.unlink()
    compatible.write_text("nvidia,tegra234\0")
    found = preflight(tmp_path, MISSING)
    assert (found.board.jetpack, found.board.tensorrt, found.board.target, found.board.power) == (None,) * 4
    assert (found.memory_mib, found.memory.free_mib, found.memory.zram_mib) == (None, None, None)
    assert (found.board.clocks.held, found.board.clocks.gpus, found.board.clocks.cpus) == (None, (), ())
    assert (found.board.thermal.hottest, found.board.thermal.over_current) == (None, ())
    assert found.board.module.device is None
    text = "\n".join(summary_lines(found))
    assert "None" not in text
    assert "unknown" in text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(NANO)), keep=st.booleans(), rest=st.binary(max_size=60))
def test_no_content_of_one_file_makes_it_fail(tree, name, keep, rest):
    root = tree({} if (tree({}) / name).exists() else NANO)
    whole = (root / name).read_bytes()
    (root / name).write_bytes((whole if keep else b"") + rest)
    lines = summary_lines(preflight(root, MISSING))
    (root / name).write_bytes(whole)
    assert all(line == line.rstrip() and "\n" not in line for line in lines)


def test_json_has_all_of_it(seen):
    table = json.loads(json.dumps(plain(seen(NANO))))
    board = table["board"]
    assert board["module"]["device"] == "orin-nano-8"
    assert (board["target"], board["jetpack"]["cuda"], board["tensorrt"]) == ("jetpack6", "12.6", "10.3.0.30")
    assert (board["power"]["current"], board["power"]["is_largest"]) == ({"id": 1, "name": "25W"}, False)
    assert (board["clocks"]["held"], board["clocks"]["gpus"][0]["max_mhz"]) == (False, 918)
    assert board["thermal"]["nearest"]["margin_c"] == 50.5
    assert (table["memory"]["free_mib"], table["memory"]["zram_mib"], table["memory"]["limit_mib"]) == (
        5120,
        3810,
        None,
    )


def test_a_machine_that_is_no_jetson_has_no_row_of_one(seen):
    plain_machine = {name: text for name, text in NANO.items() if name.startswith(("proc/mem", "etc/os", "sys/"))}
    found = seen(plain_machine)
    assert found.board is None
    assert [line[:9].rstrip() for line in rows(found)] == ["memory", "Jetson"]
    assert advised(found) == []
