"""What dpkg says is installed, and what is only said to have been."""

from __future__ import annotations

from edgekit.device.packages import read_installed
from tests.device import trees


def test_debian_packages_and_nvcc(tree):
    root = tree({**trees.ORIN_NANO_JETPACK_62})
    found = read_installed(root)
    assert (found.jetpack, found.cuda_toolkit, found.nvcc) == ("6.2", "12.6", True)
    assert (found.tensorrt, found.tensorrt_python, found.tensorrt_headers) == ("10.3.0.30",) * 3


def test_removed_packages_are_not_installed_and_the_newest_toolkit_counts(tree):
    status = trees.dpkg(cuda_toolkit_12_6="1", cuda_toolkit_12_10="1", libnvinfer_dev="8.6.2.3-1+cuda12.2")
    found = read_installed(tree(status))
    assert (found.known, found.tensorrt, found.tensorrt_python, found.nvcc) == (True, None, None, False)
    assert (found.cuda_toolkit, found.tensorrt_headers) == ("12.10", "8.6.2.3")


def test_without_dpkgs_list_nothing_is_said_to_be_absent(tree):
    found = read_installed(tree({}))
    assert (found.known, found.jetpack, found.tensorrt, found.nvcc) == (False, None, None, False)
