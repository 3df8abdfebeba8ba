"""The TensorRT backend on a driver and a TensorRT that are played: see fake_driver/. Each test here is a child process,
so that no worker ever loads the fake; the files that it runs are there, and can be run by hand as `command` does."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekit.errors import TargetError
from edgekit.runtime import trt_engine
from edgekit.runtime.cuda import open_device
from edgekit.runtime.trt import load_plugins
from tests.runtime.fake_driver import stand_in
from tests.runtime.fake_driver.building import CannotBuild, build_driver, pycuda_folder

ROOT = Path(__file__).parents[2]
HERE = ROOT / "tests" / "runtime"
FILES = [*sorted((HERE / "fake_driver").glob("check_*.py")), HERE / "cuda" / "test_host_device.py"]
APIS = ("pycuda", "cuda-bindings")
COVERED = ("edgekit/runtime/trt*.py", "edgekit/runtime/cuda/*.py", "edgekit/plugins/gpu.py")


@pytest.fixture(scope="session")
def library(shared) -> Path:
    """The fake libcuda.so.1, compiled once a run."""

    def make(folder: Path) -> None:
        try:
            build_driver(folder)
        except CannotBuild as error:
            (folder / "reason").write_text(str(error))

    folder = shared("fake-driver", make)
    if (folder / "reason").exists():
        pytest.skip(f"needs a fake driver: {(folder / 'reason').read_text()}")
    return folder / "libcuda.so.1"


@pytest.fixture(scope="session")
def found_pycuda(shared, library) -> str:
    """Where pycuda is, or why it is nowhere: asked once a run, since trying takes a minute."""

    def make(folder: Path) -> None:
        try:
            (folder / "path").write_text(str(pycuda_folder(library)))
        except CannotBuild as error:
            (folder / "reason").write_text(str(error))

    folder = shared("pycuda", make)
    if (folder / "reason").exists():
        pytest.skip(f"needs pycuda: {(folder / 'reason').read_text()}")
    return (folder / "path").read_text()


@pytest.fixture
def child(shared, library, request):
    """`child(api, file)` runs a file in a process of its own, once for all workers: its output, empty when all passed,
    and what it covered."""

    def run(api: str, file: Path) -> tuple[str, Path]:
        paths = [str(ROOT)]
        if api == "pycuda":
            paths.append(request.getfixturevalue("found_pycuda"))
        else:
            pytest.importorskip("cuda.bindings")

        def make(folder: Path) -> None:
            options = {"cwd": ROOT, "env": environment(api, library, paths), "timeout": 300}
            done = subprocess.run(command(file, folder), capture_output=True, text=True, **options)
            said = "" if done.returncode == 0 else f"{done.stdout[-8000:]}\n{done.stderr[-4000:]}\nrc {done.returncode}"
            (folder / "said").write_text(said)

        folder = shared(f"child-{api}-{file.stem}", make)
        return (folder / "said").read_text(), folder / "coverage"

    return run


def command(file: Path, folder: Path) -> list[str]:
    """What runs a file of scenarios, all that they cover being written down."""
    plugins = ["-p", "tests.runtime.fake_driver.harness", "-p", "no:cacheprovider", "-p", "no:xdist", "--noconftest"]
    options = ["-o", "python_files=*.py", f"--basetemp={folder}/temp", "-q", "--no-header", str(file)]
    measure = ["-m", "coverage", "run", f"--data-file={folder}/coverage", f"--include={','.join(COVERED)}"]
    try:
        import coverage  # noqa: F401
    except ImportError:
        measure = []
    return [sys.executable, *measure, "-m", "pytest", *plugins, *options]


def environment(api: str, library: Path, paths: list[str]) -> dict[str, str]:
    """A process that finds the fake driver and one way to it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    return {
        **kept,
        "EDGEKIT_CUDA": api,
        "LD_LIBRARY_PATH": str(library.parent),
        "PYTHONPATH": os.pathsep.join(paths),
    }


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("api", APIS)
def test_on_the_fake_driver(child, api, file):
    said, _ = child(api, file)
    assert said == "", said


@pytest.mark.slow
def test_those_scenarios_reach_every_line_of_what_talks_to_a_gpu(child, tmp_path):
    """Nothing is left for a real GPU to run first."""
    coverage = pytest.importorskip("coverage")
    measured = coverage.Coverage(data_file=str(tmp_path / "all"), include=list(COVERED))
    measured.combine([str(child(api, file)[1]) for api in APIS for file in FILES], keep=True)
    files = sorted(file for pattern in COVERED for file in ROOT.glob(pattern))
    assert len(files) >= 10
    missing = []
    for file in files:
        with contextlib.redirect_stdout(io.StringIO()):
            _, _, _, lines, _ = measured.analysis2(str(file))
        text = file.read_text().splitlines()
        missing += [f"{file.relative_to(ROOT)}:{line} {text[line - 1].strip()}" for line in lines]
    assert missing == [], "\n".join(missing)


@pytest.mark.slow
def test_no_worker_loads_the_fake(library):
    assert str(library) not in Path("/proc/self/maps").read_text()


PLAYED = {
    stand_in.Engine: "ICudaEngine",
    stand_in.RtxEngine: "ICudaEngine",
    stand_in.Context: "IExecutionContext",
    stand_in.Runtime: "Runtime",
    stand_in.RuntimeConfig: "IRuntimeConfig",
    stand_in.RuntimeCache: "IRuntimeCache",
    stand_in.CudaGraphStrategy: "CudaGraphStrategy",
    stand_in.TensorLocation: "TensorLocation",
    stand_in.TensorIOMode: "TensorIOMode",
    stand_in.Severity: "ILogger.Severity",
}
OWN = {"ILogger.Severity": {"name", "value"}, "ICudaEngine": {"compiled", "strategies"}, "IRuntimeConfig": {"cache"}}


def calls_of(played: type) -> set[str]:
    """The public names of a class that plays one of TensorRT's."""
    return {name for name in vars(played) if not name.startswith("_")}


def test_the_stand_in_has_only_what_tensorrt_rtx_has():
    """And the engine's code uses only what the stand-in has, so that it calls nothing which there is not."""
    rtx = pytest.importorskip("tensorrt_rtx")
    for played, name in PLAYED.items():
        real = functools.reduce(getattr, name.split("."), rtx)
        assert calls_of(played) - OWN.get(name, set()) - {"VERSION", "memory"} <= set(dir(real)), name
    used = set(re.findall(r"self\._(?:engine|context|runtime_cache)\.(\w+)", inspect.getsource(trt_engine)))
    used |= set(re.findall(r"\bconfig\.(\w+)", inspect.getsource(trt_engine)))
    assert {"set_tensor_address", "set_runtime_cache", "num_io_tensors"} <= used
    instances = {"num_io_tensors", "num_optimization_profiles"}
    assert used - instances <= set().union(*map(calls_of, PLAYED))


@pytest.mark.parametrize("name", ["ICudaEngine", "IExecutionContext", "Runtime", "ILogger"])
def test_standard_tensorrt_has_what_is_used_of_it(name):
    """By the stubs of 10.13: its library is on no machine without a GPU."""
    spec = importlib.util.find_spec("tensorrt_stubs") or pytest.skip("needs tensorrt-stubs")
    texts = "".join(
        path.read_text() for path in Path(spec.submodule_search_locations[0]).parent.glob("tensorrt*/*.pyi")
    )
    body = re.search(rf"^class {name}\b.*?(?=^class |\Z)", texts, re.DOTALL | re.MULTILINE)
    assert body, name
    played = {known: item for item, known in PLAYED.items() if item is not stand_in.RtxEngine}
    names = calls_of(played.get(name, stand_in.ILogger)) - {"memory"}
    assert [item for item in names if not re.search(rf"\b{item}\b", body.group())] == []


@pytest.mark.parametrize("api", ["", *APIS])
def test_without_a_driver_it_is_one_line_that_says_what_to_do(monkeypatch, api):
    monkeypatch.setenv("EDGEKIT_CUDA", api)
    with contextlib.suppress(TargetError):
        device, _ = open_device()
        device.close()
        pytest.skip("there is a driver here")
    with pytest.raises(TargetError) as error:
        open_device()
    assert error.value.exit_code == 6
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("--backend ort")


def test_the_plugins_of_a_bundle_are_loaded_from_the_bytes_that_were_verified():
    """A file of this process alone, gone afterwards; TensorRT itself is a stand-in."""
    seen = []

    def load_library(path):
        seen.append((path, Path(path).read_bytes(), Path(path).parent.stat().st_mode & 0o077))
        return None if b"bad" in seen[-1][1] else object()

    registry = SimpleNamespace(load_library=load_library)
    trt = SimpleNamespace(get_plugin_registry=lambda: registry, __version__="10.3.0")
    load_plugins(trt, b"")
    assert seen == []
    load_plugins(trt, b"a library")
    path, content, others = seen[0]
    assert (content, others, Path(path).exists()) == (b"a library", 0, False)
    with pytest.raises(TargetError, match=r"expected TensorRT 10\.3\.0 to load the bundle's plugins"):
        load_plugins(trt, b"bad")
