"""Drivers that are not whole: what cannot be asked is None with its reason, and nothing is raised."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.device import Gpu, find_gpus

# One GPU with nothing but what cuda.h of CUDA 13.0 needs to count it; NAME and MEMORY add the rest.
DRIVER = r"""
#include <stddef.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return COUNT_STATUS; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return DEVICE_STATUS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 12 : attribute == 76 ? 1 : 0;
    return 0;
}
#ifdef NAME
int cuDeviceGetName(char *name, int size, int device) {
    for (int at = 0; at < size; at++) name[at] = NAME;
    return 0;
}
#endif
#ifdef MEMORY
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)MEMORY << 30; return 0; }
#endif
"""


@pytest.fixture
def driver(tmp_path: Path) -> Callable[..., str]:
    """`driver("NAME=65", "MEMORY=141")` compiles it and returns its path."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("needs gcc or g++ to compile the fake CUDA driver")

    def build(*defines: str) -> str:
        library = tmp_path / "libfake.so"
        (tmp_path / "driver.c").write_text(DRIVER)
        given = {"COUNT_STATUS": "0", "DEVICE_STATUS": "0", **dict(item.split("=") for item in defines)}
        flags = [f"-D{name}={value}" for name, value in given.items()]
        command = [compiler, "-x", "c", "-shared", "-fPIC", *flags, tmp_path / "driver.c", "-o", library]
        subprocess.run(command, check=True)
        return str(library)

    return build


def test_more_than_four_gib_and_two_digits_of_major_version(driver):
    search = find_gpus(driver("MEMORY=141", "NAME=0"))
    assert search.gpus == (Gpu(name="", compute_capability="12.1", memory_mib=141 * 1024, integrated=False),)
    assert (search.driver, search.reason) == ("13.0", "")


def test_functions_that_an_old_driver_lacks_are_named(driver):
    search = find_gpus(driver())
    assert search.gpus == (Gpu(name=None, compute_capability="12.1", memory_mib=None, integrated=False),)
    assert search.reason == (
        "GPU 0: the CUDA driver has no cuDeviceGetName; GPU 0: the CUDA driver has no cuDeviceTotalMem_v2"
    )


def test_a_name_without_an_end_and_not_of_utf_8_is_cut_and_not_raised(driver):
    [gpu] = find_gpus(driver("MEMORY=1", "NAME=0xE9")).gpus
    assert gpu.name == "\N{REPLACEMENT CHARACTER}" * 256


def test_a_count_that_fails_gives_no_gpu_and_the_number_of_the_error(driver):
    search = find_gpus(driver("COUNT_STATUS=3"))
    assert (search.gpus, search.reason, search.driver) == ((), "cuDeviceGetCount failed: error 3", "13.0")


def test_a_gpu_that_cannot_be_opened_is_there_and_unknown(driver):
    search = find_gpus(driver("DEVICE_STATUS=101", "NAME=65", "MEMORY=1"))
    assert search.gpus == (Gpu(None, None, None, None),)
    assert search.reason == "GPU 0: cuDeviceGet failed: error 101"
    assert search.compute_capabilities == ()


@pytest.mark.parametrize("content", [b"", b"not a library\n", b"\x7fELF" + b"\0" * 60])
def test_a_file_that_is_no_library_says_so(tmp_path, content):
    (tmp_path / "libcuda.so.1").write_bytes(content)
    search = find_gpus(str(tmp_path / "libcuda.so.1"))
    assert (search.gpus, search.driver) == ((), None)
    assert search.reason.startswith("the CUDA driver cannot be loaded: ")
    assert "\n" not in search.reason
