"""Builds the fake libcuda.so.1, and against it the real pycuda, which comes as source: for child processes alone."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
PYCUDA = "2026.1"
_SITECONF = """\
BOOST_INC_DIR = BOOST_LIB_DIR = BOOST_PYTHON_LIBNAME = BOOST_THREAD_LIBNAME = LDFLAGS = []
BOOST_COMPILER = "gcc"
USE_SHIPPED_BOOST = True
CUDA_TRACE = CUDA_ENABLE_GL = CUDA_ENABLE_CURAND = False
CUDA_ROOT = {root!r}
CUDA_INC_DIR = {include!r}
CUDADRV_LIB_DIR = [{stub!r}]
CUDADRV_LIBNAME = ["cuda"]
CXXFLAGS = ["-O0", "-g0", "-w"]
"""


# Which PyPI's headers lack, and pycuda includes.
_PROFILER = """\
#pragma once
#include <cuda.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef enum CUoutput_mode_enum { CU_OUT_KEY_VALUE_PAIR = 0, CU_OUT_CSV = 1 } CUoutput_mode;
CUresult cuProfilerInitialize(const char *, const char *, CUoutput_mode);
CUresult cuProfilerStart(void);
CUresult cuProfilerStop(void);
#ifdef __cplusplus
}
#endif
"""


class CannotBuild(Exception):
    """What is missing on this machine."""


def headers() -> Path:
    """The folder with cuda.h: the toolkit's, or PyPI's nvidia-cuda-runtime."""
    roots = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    nvidia = importlib.util.find_spec("nvidia")
    for place in nvidia.submodule_search_locations or () if nvidia else ():
        roots += sorted(Path(place).iterdir())
    for root in [*roots, Path("/usr/local/cuda")]:
        if (root / "include" / "cuda.h").is_file():
            return root / "include"
    raise CannotBuild("there is no cuda.h: pip install nvidia-cuda-runtime")


def build_driver(folder: Path) -> Path:
    """libcuda.so.1 in `folder`; whatever cuda.h declares and the fake lacks answers that it is not supported."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise CannotBuild("there is no gcc")
    include = ["-I", str(headers())]
    shown = _run([compiler, "-E", "-P", *include, "-"], text="#define __CUDA_API_VERSION_INTERNAL\n#include <cuda.h>\n")
    names = sorted(set(re.findall(r"\bCUresult\s+(cu[A-Z]\w*)\s*\(", shown + _PROFILER)))
    stubs = folder / "stubs.c"
    stubs.write_text("".join(f"__attribute__((weak)) int {name}(void) {{ return 801; }}\n" for name in names))
    library = folder / "libcuda.so.1"
    sources = [str(HERE / "fake_cuda.c"), str(HERE / "fake_streams.c"), str(stubs)]
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    _run([compiler, *flags, *include, *sources, "-o", str(library), "-lpthread", "-ldl"])
    (folder / "libcuda.so").symlink_to(library.name)
    return library


def pycuda_folder(driver: Path) -> Path:
    """Where pycuda is, for PYTHONPATH: built once a machine, against the fake, which has all names that it needs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit-tests"
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"pycuda-{PYCUDA}-{sysconfig.get_config_var('SOABI')}-{_cuda_version()}"
    with Path(f"{made}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            partial = Path(f"{made}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _build_pycuda(partial, driver)
            (partial / "site").rename(made)
            shutil.rmtree(partial)
    return made


def _build_pycuda(folder: Path, driver: Path) -> None:
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise CannotBuild("there is no Python.h")
    folder.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "download", "-q", "--no-deps", "--no-binary", "pycuda", "-d", str(folder), f"pycuda=={PYCUDA}"])
    with tarfile.open(next(folder.glob("pycuda-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = folder / f"pycuda-{PYCUDA}"
    (folder / "include").mkdir()
    (folder / "include" / "cudaProfiler.h").write_text(_PROFILER)
    places = {"root": str(headers().parent), "include": [str(headers()), str(folder / "include")]}
    (source / "siteconf.py").write_text(_SITECONF.format(**places, stub=str(driver.parent)))
    _run([*pip, "install", "-q", "--no-deps", "--target", str(folder / "site"), str(source)])


def _cuda_version() -> str:
    found = re.search(r"#define CUDA_VERSION (\d+)", (headers() / "cuda.h").read_text())
    return found.group(1) if found else "unknown"


def _run(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        cause = next((line.strip() for line in said if " error: " in line.lower()), said[-1])
        raise CannotBuild(f"{' '.join(command[:4])} failed: {cause}")
    return done.stdout


def versions() -> dict[str, str]:
    """What of the two ways to the driver is on this machine."""
    try:
        return {"cuda-bindings": importlib.metadata.version("cuda-bindings")}
    except importlib.metadata.PackageNotFoundError:
        return {}
