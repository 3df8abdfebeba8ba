"""Jetsons known by their files: each source alone is enough, and no file can make the look-up fail."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.device import Jetson, find_jetson

RELEASE, STATUS = "etc/nv_tegra_release", "var/lib/dpkg/status"
MODEL, COMPATIBLE = "proc/device-tree/model", "proc/device-tree/compatible"


def test_a_container_has_the_device_tree_of_its_host_and_nothing_else(tree):
    root = tree({MODEL: "NVIDIA Jetson AGX Orin\0", COMPATIBLE: "nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0"})
    assert find_jetson(root) == Jetson("NVIDIA Jetson AGX Orin", "Orin", "8.7", None, None, None)


def test_a_model_is_one_line_whatever_the_device_tree_holds(tree):
    assert find_jetson(tree({MODEL: "A \n board\0", COMPATIBLE: "nvidia,tegra234\0"})).model == "A board"


def test_the_release_file_alone(tree):
    line = "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: x"
    assert find_jetson(tree({RELEASE: line + "\n"})) == Jetson(None, None, None, "36.4.3", "6.2", line)


@pytest.mark.parametrize(
    ("line", "l4t", "jetpack"),
    [
        ("# R36 (release), REVISION: 3.0, GCID: 1", "36.3.0", "6.0"),
        ("# R36 (release), REVISION: 4.0, GCID: 1", "36.4.0", "6.1"),
        ("# R36 (release), REVISION: 4.4, GCID: 1", "36.4.4", "6.2.1"),
        ("# R38 (release), REVISION: 2.1, GCID: 1", "38.2.1", "7.0"),
        ("#R36(release),REVISION:4.3", "36.4.3", "6.2"),
        ("# R36 (release),  REVISION:  4.3\r", "36.4.3", "6.2"),
        ("# R35 (release), REVISION: 6.1, GCID: 1", "35.6.1", None),
        ("R36.4.3", None, None),
    ],
)
def test_versions_that_are_not_known_stay_unknown(tree, line, l4t, jetpack):
    found = find_jetson(tree({RELEASE: line + "\n# KERNEL_VARIANT: oot\n"}))
    assert (found.l4t, found.jetpack) == (l4t, jetpack)
    assert found.release == line.strip()


def test_the_release_file_goes_before_the_package(tree):
    root = tree({RELEASE: "# R36 (release), REVISION: 4.3\n", STATUS: "Package: nvidia-l4t-core\nVersion: 36.4.4-1\n"})
    assert find_jetson(root).l4t == "36.4.3"


@pytest.mark.parametrize(
    "status",
    [
        "Package: nvidia-l4t-core-extra\nVersion: 36.4.3-1\n",
        "Package: nvidia-l4t-core\nStatus: deinstall\n\nPackage: bash\nVersion: 5.1\n",
        "Description: see\n Package: nvidia-l4t-core\nVersion: 36.4.3\n",
    ],
)
def test_another_packages_version_is_not_taken(tree, status):
    assert find_jetson(tree({STATUS: status})) is None


@pytest.mark.parametrize("compatible", ["", "\0\0", "nvidia\0", "qcom,tegra234\0", "acme,nvidia,tegra234\0"])
def test_a_device_tree_of_another_maker_is_no_jetson(tree, compatible):
    assert find_jetson(tree({COMPATIBLE: compatible, MODEL: "Some Board\0"})) is None


def test_folders_and_pipes_in_the_place_of_files_are_no_jetson(tree):
    root = tree({})
    for name in (RELEASE, STATUS, COMPATIBLE, MODEL):
        (root / name).mkdir(parents=True)
    assert find_jetson(root) is None
    assert find_jetson(root / "missing") is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from([RELEASE, STATUS, COMPATIBLE, MODEL]),
    start=st.sampled_from(
        [b"", b"# R36 (release), REVISION: ", b"nvidia,tegra", b"Package: nvidia-l4t-core\nVersion: "]
    ),
    rest=st.binary(max_size=40),
)
def test_no_content_makes_it_fail(tree, where, start, rest):
    root = tree(dict.fromkeys([RELEASE, STATUS, COMPATIBLE, MODEL], ""))
    (root / where).write_bytes(start + rest)
    found = find_jetson(root)
    assert found is None or found.compute_capability in (None, "8.7", "11.0")
