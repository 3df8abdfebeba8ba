"""A user's own .cu program on the emulator: built with g++, run on the CPU, and watched for faults or for races."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BuildError, DataError
from edgekit.files import written_aside
from edgekit.plugins.building import Workshop, cmake_build, locked

# How the sanitizers of g++ and clang write.
_REPORTS = re.compile(r"^(?:WARNING|==\d+==ERROR): \w+Sanitizer: ([^\n]*)\n(.*?)(?=^====|\Z)", re.MULTILINE | re.DOTALL)
_ACCESS = re.compile(r"^ *(?:Previous )?((?:atomic )?(?:read|write)) of size (\d+)\b", re.MULTILINE | re.IGNORECASE)
_FRAME = re.compile(r"^ +#\d+ .*? (/[^\n:]+):(\d+)", re.MULTILINE)  # a type may have a slash, too
_UNDEFINED = re.compile(r"^(/[^\n:]+):(\d+):\d+: runtime error: ([^\n]*)", re.MULTILINE)
_OCCUPIED = "unexpected memory mapping"


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended: its exit code, what it said, and one line for each fault or race that was seen."""

    code: int
    output: str
    errors: str
    findings: tuple[str, ...]
    races: bool

    @property
    def exit_code(self) -> int:
        """1 when something is wrong, else 0."""
        return int(bool(self.findings or self.code))

    def lines(self) -> list[str]:
        """What the program said, then what is wrong with it, if anything."""
        wrong = [*self.findings] or (self.errors.splitlines() if self.code else [])
        if not self.exit_code:
            wrong = [f"ran on the CPU: no {'race' if self.races else 'fault'} seen; not run on a GPU"]
        elif not wrong:
            wrong = [f"it exited with {self.code}"]
        return [*self.output.splitlines(), *wrong]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "exit_code": self.exit_code,
            "output": self.output,
            "findings": list(self.findings),
            "races": self.races,
        }


def exercise(source: Path | None, races: bool = False, workshop: Workshop | None = None) -> ProgramRun:
    """Run a user's program, or without one those of edgekit's own kernels: see `run_program` for what is raised."""
    workshop = workshop or Workshop()
    sources = [source] if source else sorted(workshop.sources.glob("exercises/*.cu"))
    runs = [run_program(path, races, workshop) for path in sources]
    return ProgramRun(
        code=max((run.code for run in runs), key=abs),
        output="".join(run.output for run in runs),
        errors="".join(run.errors for run in runs),
        findings=tuple(found for run in runs for found in run.findings),
        races=races,
    )


def run_program(source: Path, races: bool = False, workshop: Workshop | None = None) -> ProgramRun:
    """Build a .cu file that has a main() and includes ek/launch.h on the emulator, and run it on the CPU.

    Under AddressSanitizer, or with `races` under ThreadSanitizer, for which each CUDA thread is a thread. Raises
    DataError where there is no such file, TargetError without tools, BuildError with the compiler's first error.
    """
    if not source.is_file():
        raise DataError(f"expected a .cu file with a main(), found no file {source}", "edgekit plugins test KERNEL.cu")
    workshop = workshop or Workshop()
    program = _built(source.resolve(), "thread" if races else "address", workshop)
    done = _run([str(program)])
    if _OCCUPIED in done.stderr and shutil.which("setarch"):
        # ThreadSanitizer of older compilers cannot live with addresses as random as newer kernels make them.
        done = _run(["setarch", "--addr-no-randomize", str(program)])
    if _OCCUPIED in done.stderr:
        raise BuildError("expected ThreadSanitizer to run here, found that it cannot", "sysctl vm.mmap_rnd_bits=28")
    seen = tuple(dict.fromkeys(findings(done.stderr, _emulator(workshop))))
    return ProgramRun(done.returncode, done.stdout, done.stderr, seen, races)


def findings(said: str, emulator: tuple[Path, ...]) -> Iterator[str]:
    """One line for each report of a sanitizer in `said`; code in the folders `emulator` is not the user's."""
    for file, line, what in _UNDEFINED.findall(said):
        yield f"{what} at {file}:{line}"
    for what, body in _REPORTS.findall(said):
        parts = _ACCESS.split(body)  # [before, kind, size, frames, kind, size, frames, …]
        accesses = [
            f"{kind.lower()} of {size} bytes at {_own_line(frames, emulator)}"
            for kind, size, frames in list(zip(parts[1::3], parts[2::3], parts[3::3], strict=True))[:2]
        ]
        what = re.sub(r" (on|\(pid).*", "", what)
        yield f"{what}: {' and '.join(accesses)}" if accesses else f"{what} at {_own_line(body, emulator)}"


def _own_line(stack: str, emulator: tuple[Path, ...]) -> str:
    """The innermost frame of a stack that is not the emulator's own."""
    frames = _FRAME.findall(stack.partition("\n\n")[0])
    own = [frame for frame in frames if not any(Path(frame[0]).is_relative_to(folder) for folder in emulator)]
    return ":".join((own or frames or [("a place", "unknown")])[0])


def _built(source: Path, sanitize: str, workshop: Workshop) -> Path:
    """Build in a folder that all programs over the same sources share: CMake compiles again what has changed."""
    sources = hashlib.sha256(str(workshop.sources.resolve()).encode()).hexdigest()
    folder = workshop.cache.resolve() / f"programs-{sources[:12]}-{sanitize}"
    options = {"EDGEKIT_EMULATOR": "OFF", "EDGEKIT_SANITIZE": sanitize, "EDGEKIT_PROGRAM": str(source)}
    program = folder / f"program-{hashlib.sha256(str(source).encode()).hexdigest()[:12]}"
    with locked(folder.with_suffix(".lock")):
        cmake_build(folder, workshop.sources, options, "program", folder.with_suffix(".log"))
        with written_aside(program) as partial:
            shutil.copy(folder / "program", partial)
    return program


def _emulator(workshop: Workshop) -> tuple[Path, ...]:
    return tuple(workshop.sources.resolve() / name for name in ("emu", "include"))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # Where memory is lost at the end of a program is not what was asked: threads that a fault has stopped keep theirs.
    options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "detect_leaks=0"]))
    environment = {**os.environ, "ASAN_OPTIONS": options}
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=environment)
