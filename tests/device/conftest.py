"""A CUDA driver of a few lines of C, and the file trees of Jetsons: machines that the tests can take along."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# Written for these tests from the signatures in the CUDA driver API's documentation. Values come from -D; INIT_STATUS,
# MEMORY_STATUS and ATTRIBUTE_STATUS are what those functions return. Attributes: 75.76 is 8.7, 18 is INTEGRATED.
DRIVER = r"""
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return flags ? 1 : INIT_STATUS; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetCount(int *count) { *count = GPUS; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return ordinal < GPUS ? 0 : 101; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device == 40 ? "First" : "Other", size);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)7620 << 20; return MEMORY_STATUS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (device < 40 || device >= 40 + GPUS) return 101;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18;
    return ATTRIBUTE_STATUS;
}
int cuGetErrorName(int status, const char **name) {
    *name = status == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return status == 100 ? 0 : 1;
}
"""
DEFAULTS = {"GPUS": 1, "INIT_STATUS": 0, "MEMORY_STATUS": 0, "ATTRIBUTE_STATUS": 0}

ORIN = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64, DATE: now\n# x\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "proc/meminfo": "MemTotal:        7802880 kB\nMemAvailable:    5242880 kB\nHugePages_Total: 0\n",
}
THOR = {
    "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 1, BOARD: generic, EABI: aarch64, DATE: today\n",
    "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0",
}


@pytest.fixture
def fake_libcuda(tmp_path: Path) -> Callable[..., str]:
    """`fake_libcuda(GPUS=2, INIT_STATUS=100)` compiles that driver and returns its path."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("needs gcc or g++ to compile the fake CUDA driver")

    def build(**values: int) -> str:
        settings = DEFAULTS | values
        source = tmp_path / "driver.c"
        source.write_text(DRIVER)
        # A name of its own each time: the dynamic linker would hand out the one that it already has.
        library = tmp_path / f"libcuda-{'-'.join(map(str, settings.values()))}.so"
        defines = [f"-D{name}={value}" for name, value in settings.items()]
        subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", *defines, source, "-o", library], check=True)
        return str(library)

    return build


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """`tree(files)` writes them under a root of its own and returns it."""

    def plant(files: dict[str, str]) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return plant


@pytest.fixture
def orin(tree: Callable[[dict[str, str]], Path]) -> Path:
    """The files of a Jetson Orin Nano with JetPack 6.2."""
    return tree(ORIN)


@pytest.fixture
def thor(tree: Callable[[dict[str, str]], Path]) -> Path:
    """The files of a Jetson AGX Thor with JetPack 7.0, without /proc/meminfo."""
    return tree(THOR)


@pytest.fixture
def only_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`only_packages(tensorrt="10.3.0")` makes these distributions all that is installed."""

    def install(**versions: str) -> None:
        site = tmp_path / "site"
        site.mkdir()
        for name, version in versions.items():
            folder = site / f"{name}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.setattr("sys.path", [str(site)])

    return install
