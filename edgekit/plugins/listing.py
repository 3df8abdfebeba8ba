"""What is built and where: the facts behind `edgekit plugins list`."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgekit.plugins.building import LIBRARIES, Workshop, find_library, read_report
from edgekit.plugins.operators import FLOAT, INT, OPERATORS, PLUGIN_VERSION, TEXT, Operator
from edgekit.plugins.toolkits import find_cuobjdump

_FIELDS = {INT: "INT32", FLOAT: "FLOAT32", TEXT: "CHAR"}


@dataclass(frozen=True)
class LibraryFacts:
    """A library: its operators, and for a GPU the architectures whose code is in it, with who says so.

    `version` is that of the C ABI, `tensorrt` the TensorRT whose plugins it has, empty without any. `ran_on_gpu` stays
    False until something of it has run on one.
    """

    kind: str
    path: Path
    version: int
    ops: tuple[str, ...]
    archs: tuple[str, ...]
    archs_from: str
    ran_on_gpu: bool
    tensorrt: str = ""

    def __str__(self) -> str:
        code = f"for {' '.join(self.archs)} ({self.archs_from})" if self.archs else "for the CPU"
        ran = "ran on a GPU" if self.ran_on_gpu else "not run on a GPU"
        lines = [f"{self.kind}: {', '.join(self.ops)}; {code}; ABI {self.version}; {ran}", f"  {self.path}"]
        if self.tensorrt:
            lines.append(f"  plugins for TensorRT {self.tensorrt}: trtexec --onnx=MODEL --staticPlugins={self.path}")
            lines += [f"    {operator_line(operator)}" for operator in OPERATORS.values()]
        elif self.kind == "plugins":
            lines.append("  without plugins for TensorRT: its headers were not found (TENSORRT_ROOT)")
        return "\n".join(lines)


def list_libraries(workshop: Workshop | None = None) -> list[LibraryFacts]:
    """The built libraries of the sources as they are now, GPU and emulator, as far as there are any."""
    workshop = workshop or Workshop()
    found = ((kind, find_library(kind, workshop)) for kind in reversed(LIBRARIES))
    return [library_facts(kind, path, workshop) for kind, path in found if path]


def library_lines(found: list[LibraryFacts]) -> list[str]:
    """The text of `edgekit plugins list`."""
    return [str(facts) for facts in found] or ["nothing is built from these sources; next: edgekit plugins build"]


def library_facts(kind: str, path: Path, workshop: Workshop) -> LibraryFacts:
    """Load a library and ask it; the operators are those of the header that the library really has."""
    handle = ctypes.CDLL(str(path))
    header = (workshop.sources / "include/edgekit_kernels.h").read_text()
    declared = re.findall(r"\bek_(\w+)_launch\(", header)
    ops = tuple(name for name in declared if hasattr(handle, f"ek_{name}_launch"))
    archs, archs_from = code_of(path) if kind == "plugins" else ((), "")
    report = read_report(path)
    tensorrt = str(report.get("tensorrt") or "of an unknown version") if hasattr(handle, "getCreators") else ""
    ran = bool(report.get("ran_on_gpu"))
    return LibraryFacts(kind, path, int(handle.ek_version()), ops, archs, archs_from, ran, tensorrt)


def operator_line(operator: Operator) -> str:
    """A plugin as its creator gives it: its name and version, inputs, and the fields with their types."""
    fields = ", ".join(f"{name} {_FIELDS[kind]}" for name, kind in operator.attributes.items())
    return f"{operator.name} {PLUGIN_VERSION} ({', '.join(operator.inputs)}); {fields}"


def code_of(path: Path) -> tuple[tuple[str, ...], str]:
    """The architectures whose code or PTX a library holds, such as "sm_86" and "compute_120", and who says so."""
    cuobjdump = find_cuobjdump()
    if cuobjdump is None:
        report = read_report(path)
        code = tuple(f"sm_{arch}" for arch in report.get("archs", ()))
        return (*code, *(f"compute_{report['ptx']}" for _ in code[:1])), "the report of its build"
    command = [str(cuobjdump), "--list-elf", "--list-ptx", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    code = tuple(f"sm_{arch}" for arch in _numbers(r"sm_(\d+)\.cubin", said))
    return (*code, *(f"compute_{arch}" for arch in _numbers(r"sm_(\d+)\.ptx", said))), "cuobjdump"


def _numbers(pattern: str, text: str) -> list[str]:
    return sorted(set(re.findall(pattern, text)), key=int)
