"""Builds the plugin libraries with CMake, once: what is built stands in a cache, under the digest of its sources."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import __version__
from edgekit.errors import BuildError, TargetError, UsageError
from edgekit.files import folder_written_aside, json_bytes, written_aside
from edgekit.plugins.toolkits import Toolkit, compiler_name, find_cmake, find_toolkit
from edgekit.reports import report_file
from edgekit.resources import resource
from edgekit.texts import read_json

# Each kind of library, and its file.
LIBRARIES = {"emulator": "libedgekit_emu.so", "plugins": "libedgekit_plugins.so"}
SANITIZERS = ("thread", "address")
# What CMake takes when no architecture is named, as far as nvcc knows it.
DEFAULT_ARCHS = (75, 80, 86, 87, 89, 90, 110, 120)

_SOURCES = ("CMakeLists.txt", "cmake", "include", "kernels", "logic", "emu")
# These count too, where they are.
_WRAPPERS = "trt"
# Where TensorRT's headers are when TENSORRT_ROOT does not say: cmake/tensorrt.cmake looks there too.
_TENSORRT = ("/usr/include/aarch64-linux-gnu", "/usr/include/x86_64-linux-gnu", "/usr/local/tensorrt/include")
_VERSION = r"^#define (?:NV_TENSORRT|TRT)_{}(?:_ENTERPRISE)? (\d+)"
_ERROR = re.compile(r"^CMake Error|\berror\b\s*[:A-Z]|undefined reference|multiple definition|^nvcc fatal", re.M)


def default_cache() -> Path:
    """Where built libraries are kept: $EDGEKIT_CACHE, else ~/.cache/edgekit/plugins."""
    named = os.environ.get("EDGEKIT_CACHE")
    return Path(named) if named else Path("~/.cache/edgekit/plugins").expanduser()


@dataclass(frozen=True)
class Workshop:
    """Where the sources are read, and where what was built is kept."""

    sources: Path = field(default_factory=lambda: resource("plugins"))
    cache: Path = field(default_factory=default_cache)

    def digest(self) -> str:
        """SHA-256 of the names and bytes of all sources, as hexadecimal digits."""
        digest = hashlib.sha256()
        for file in sorted(file for name in (*_SOURCES, _WRAPPERS) for file in _files(self.sources / name)):
            digest.update(f"{file.relative_to(self.sources)}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
        return digest.hexdigest()


def build_emulator(sanitize: str = "", workshop: Workshop | None = None) -> Path:
    """Return libedgekit_emu.so, built with g++ when the cache lacks it.

    `sanitize` is "", "thread" or "address" (which includes undefined behaviour). Raises TargetError without CMake or
    a compiler, and BuildError with the compiler's first error.
    """
    check_sanitizer(sanitize)
    options = {"EDGEKIT_EMULATOR": "ON", "EDGEKIT_SANITIZE": sanitize}
    facts = {"compiler": compiler_name(), "sanitize": sanitize}
    return _built("emulator", options, facts, workshop or Workshop())


def build_plugins(
    archs: tuple[int, ...] = (), toolkit: Toolkit | None = None, workshop: Workshop | None = None
) -> Path:
    """Return libedgekit_plugins.so, built with nvcc when the cache lacks it; no GPU is needed.

    TensorRT can load it where TensorRT's headers were found: see `find_tensorrt`. `archs` are compute capabilities
    times ten, by default those of DEFAULT_ARCHS that nvcc knows. Raises TargetError without nvcc or CMake, UsageError
    for an architecture that nvcc does not know, BuildError with the first error.
    """
    toolkit = toolkit or find_toolkit()
    for arch in archs:
        if arch not in toolkit.archs:
            known = "--archs with some of " + ",".join(map(str, toolkit.archs))
            raise UsageError(f"expected architectures that nvcc {toolkit.version} knows, found {arch}", known)
    wanted = sorted(set(archs)) or [arch for arch in DEFAULT_ARCHS if arch in toolkit.archs]
    headers = find_tensorrt()
    options = {
        "EDGEKIT_EMULATOR": "OFF",
        "EDGEKIT_CUDA": "ON",
        "EDGEKIT_ARCHS": " ".join(map(str, wanted)),
        "CMAKE_CUDA_COMPILER": str(toolkit.nvcc),
        **({"TENSORRT_ROOT": str(headers)} if headers else {}),
    }
    facts = {
        "compiler": compiler_name(),
        "nvcc": toolkit.version,
        "archs": wanted,
        "ptx": wanted[-1],
        "tensorrt": tensorrt_version(headers) if headers else None,
    }
    return _built("plugins", options, facts, workshop or Workshop())


def find_tensorrt() -> Path | None:
    """The folder of TensorRT's headers: in TENSORRT_ROOT or its include/, else where its packages put them; or None.

    Raises TargetError for a TENSORRT_ROOT without them.
    """
    root = os.environ.get("TENSORRT_ROOT")
    places = [Path(root, "include"), Path(root)] if root else [Path(place) for place in _TENSORRT]
    found = next((place.resolve() for place in places if (place / "NvInferRuntime.h").is_file()), None)
    if root and not found:
        raise TargetError(f"expected TensorRT's headers in TENSORRT_ROOT, found no NvInferRuntime.h in {root}",
                          "TENSORRT_ROOT=TENSORRT")  # fmt: skip
    return found


def tensorrt_version(headers: Path) -> str:
    """The version that TensorRT's headers say, such as "10.3"; "unknown" when they do not."""
    try:
        text = (headers / "NvInferVersion.h").read_text()
    except OSError:
        return "unknown"
    parts = [re.search(_VERSION.format(part), text, re.MULTILINE) for part in ("MAJOR", "MINOR")]
    return ".".join(part[1] for part in parts if part) or "unknown"


def find_library(kind: str, workshop: Workshop | None = None) -> Path | None:
    """The newest library of a kind ("emulator" or "plugins") that was built from the sources as they are now."""
    workshop = workshop or Workshop()
    folders = workshop.cache.glob(f"{kind}-{workshop.digest()[:12]}-*/{LIBRARIES[kind]}")
    plain = [path for path in folders if not read_report(path).get("sanitize")]
    return max(plain, key=lambda path: path.stat().st_mtime, default=None)


def read_report(library: Path) -> dict[str, Any]:
    """What was written about a library when it was built; empty for one that we did not build."""
    try:
        report = read_json(report_file(library))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def parsed_archs(text: str) -> tuple[int, ...]:
    """`86,87` as numbers; raises UsageError for anything else."""
    words = text.replace(",", " ").split()
    for word in words:
        if not re.fullmatch(r"\d{2,3}", word):
            raise UsageError(f"expected compute capabilities times ten such as 86,87, found {word!r}", "--archs 86,87")
    return tuple(map(int, words))


def copied(library: Path, out: Path | None) -> Path:
    """A copy of a library and its report in the folder `out`, whole or not at all; without `out` the library itself."""
    if out is None:
        return library
    with contextlib.ExitStack() as files:
        for file in (library, report_file(library)):
            shutil.copyfile(file, files.enter_context(written_aside(out / file.name)))
    return out / library.name


def check_sanitizer(sanitize: str) -> None:
    """Raise UsageError for a sanitizer that the emulator has no build for."""
    if sanitize not in ("", *SANITIZERS):
        raise UsageError(f"expected the sanitizer to be {' or '.join(SANITIZERS)}, found {sanitize!r}")


def cmake_build(build: Path, sources: Path, options: dict[str, str], target: str, log: Path) -> str:
    """Configure and build one target in the folder `build`; returns what the tools said, which is also in `log`.

    Raises BuildError with the first line that tells of an error.
    """
    cmake, *generator = find_cmake()
    defined = [f"-D{name}={value}" for name, value in options.items()]
    said = ""
    for command in (
        [cmake, "-S", str(sources), "-B", str(build), *generator, *defined],
        [cmake, "--build", str(build), "--target", target, "--parallel", str(_cpus())],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        said += done.stdout
        log.write_text(said)
        if done.returncode:
            raise BuildError(f"building {target} failed: {first_error(said)}", f"read {log}")
    return said


def first_error(said: str) -> str:
    """The line in which a compiler, the linker or CMake names its first error; CMake names it on the next one."""
    found = _ERROR.search(said)
    if found is None:
        return (said.strip().splitlines() or ["no word about why"])[-1].strip()
    line, *after = said[said.rfind("\n", 0, found.start()) + 1 :].splitlines()
    if line.startswith("CMake Error"):
        line = next((text for text in after if text.strip()), line)
    return line.strip()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file against other processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _built(kind: str, options: dict[str, str], facts: dict[str, Any], workshop: Workshop) -> Path:
    sources = workshop.digest()
    key = hashlib.sha256(json.dumps([options, facts], sort_keys=True).encode()).hexdigest()
    folder = workshop.cache.resolve() / f"{kind}-{sources[:12]}-{key[:12]}"
    library = folder / LIBRARIES[kind]
    with locked(folder.with_suffix(".lock")):
        if library.is_file():
            return library
        with folder_written_aside(folder, report_file(library).name) as partial:
            build = partial / "build"
            # The log outlives the folder of a build that failed.
            log = folder.with_suffix(".log")
            cmake_build(build, workshop.sources, options, library.stem.removeprefix("lib"), log)
            shutil.move(build / library.name, partial / library.name)
            shutil.rmtree(build)
            report = {"edgekit": __version__, "kind": kind, "sources": sources, "ran_on_gpu": False, **facts}
            report_file(partial / library.name).write_bytes(json_bytes(report))
    return library


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
