"""What the compiler made of each kernel on each architecture, and the limits it has to keep: no GPU is needed.

`python -m tests.plugins.gates` writes the table, plugins/gates.csv. It is what ptxas and cuobjdump say; the occupancy
is computed, from registers, threads and static shared memory alone, and nothing here is a measurement.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from edgekit.plugins.building import DEFAULT_ARCHS, Workshop
from edgekit.plugins.toolkits import Toolkit, find_cuobjdump, find_toolkit

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
TABLE = PLUGINS / "gates.csv"
CACHE = ROOT / "out/plugins/gates"

REGISTERS = 64 * 1024  # of a multiprocessor, and the most that a block may have
MOST_REGISTERS = 255  # of a thread
_WARP = 32
_REGISTER_UNIT = 256  # what registers are handed out in, a warp
_WARP_UNIT = 4  # warps that the register file's four parts take together


@dataclass(frozen=True)
class Limits:
    """A multiprocessor: resident warps and blocks, shared memory; in bytes the unit of it, and the system's part."""

    warps: int
    blocks: int
    shared_kib: int
    shared_unit: int = 128
    shared_reserved: int = 1024


# CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability"; units: cuda_occupancy.h.
LIMITS = {
    75: Limits(32, 16, 64, 256, 0),
    80: Limits(64, 32, 164),
    86: Limits(48, 16, 100),
    87: Limits(48, 16, 164),
    89: Limits(48, 24, 100),
    90: Limits(64, 32, 228),
    110: Limits(48, 24, 228),
    120: Limits(48, 24, 100),
}
assert tuple(LIMITS) == DEFAULT_ARCHS


@dataclass(frozen=True)
class Design:
    """What the design of the kernels of this name says: tensor cores (from which SM on), asynchronous copies."""

    name: str
    tensor: bool
    asynchronous: bool
    tensor_from: int = 75


DESIGNS = (
    Design(r"one_block<\w+, (Halves|Bytes), \d+>", tensor=True, asynchronous=False),
    Design(r"one_block<\w+, Floats, \d+>", tensor=False, asynchronous=False),
    Design(r"many_blocks<\w+, (Halves|Bytes)>", tensor=True, asynchronous=True),
    Design(r"many_blocks<\w+, Floats>", tensor=False, asynchronous=True),
    Design(r"attention_tensor<Half, \d+, \d>", tensor=True, asynchronous=True),
    Design(r"attention_tensor<Bfloat, \d+, \d>", tensor=True, asynchronous=True, tensor_from=80),
    Design(r"attention_(plain|append|merge<\w+>)", tensor=False, asynchronous=False),
)


@dataclass(frozen=True)
class Row:
    """One kernel on one architecture. Bytes: shared (static), spills, stack. `threads` is its launch bound.

    `tensor_ops` and `async_ops` count instructions: HMMA of the architecture's own shape, LDGSTS.
    """

    file: str
    kernel: str
    arch: int
    registers: int
    threads: int
    shared: int
    spills: int
    stack: int
    blocks: int
    occupancy: float
    tensor_ops: int
    async_ops: int
    nvcc: str


def breaches(row: Row) -> list[str]:
    """What a row has that the limits or the kernel's design forbid; empty when it passes."""
    found = []
    if row.spills:
        found.append(f"{row.spills} bytes of registers spilled")
    if row.stack:
        found.append(f"{row.stack} bytes of stack")
    if row.registers > MOST_REGISTERS:
        found.append(f"{row.registers} registers a thread")
    if not row.blocks:
        found.append(f"{row.threads} threads of {row.registers} registers are no block that fits")
    design = next((item for item in DESIGNS if re.fullmatch(item.name, row.kernel)), None)
    if design is None:
        return [*found, "no design: add it to DESIGNS"]
    if bool(row.tensor_ops) != (design.tensor and row.arch >= design.tensor_from):
        found.append(f"{row.tensor_ops} tensor instructions")
    if bool(row.async_ops) != (design.asynchronous and row.arch >= 80):
        found.append(f"{row.async_ops} asynchronous copies")
    return found


def resident_blocks(arch: int, registers: int, threads: int, shared: int) -> int:
    """How many blocks a multiprocessor holds at once, by the rules of CUDA's occupancy calculator."""
    limits = LIMITS[arch]
    warps = -(-threads // _WARP)
    of_warp = -(-registers * _WARP // _REGISTER_UNIT) * _REGISTER_UNIT
    by_registers = REGISTERS // of_warp // _WARP_UNIT * _WARP_UNIT // warps
    # A block's own limit counts whole groups of warps too.
    if of_warp * (-(-warps // _WARP_UNIT) * _WARP_UNIT) > REGISTERS:
        return 0
    of_block = -(-(shared + limits.shared_reserved) // limits.shared_unit) * limits.shared_unit
    by_shared = limits.shared_kib * 1024 // of_block if of_block else limits.blocks
    return min(by_registers, by_shared, limits.warps // warps, limits.blocks)


def rows_of(source: Path, arch: int, toolkit: Toolkit, folder: Path, plugins: Path = PLUGINS) -> list[Row]:
    """Compile one file for one architecture and read what came out; the cubin is left in `folder`."""
    cubin = folder / f"{source.stem}.sm_{arch}.cubin"
    includes = [f"-I{plugins}", f"-I{plugins / 'include'}"]
    command = [str(toolkit.nvcc), "-cubin", "-std=c++17", f"-arch=sm_{arch}", "-Xptxas", "-v", *includes]
    done = subprocess.run([*command, "-o", str(cubin), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return read_rows(source.name, cubin, arch, done.stderr, toolkit.version)


def read_rows(source: str, cubin: Path, arch: int, ptxas: str, version: str) -> list[Row]:
    """The rows of a cubin of the file `source`; `ptxas` is what ptxas -v said when it was made."""
    threads = launch_bounds(cubin)
    code = dict(_FUNCTION.findall(cuobjdump("-sass", cubin) + "\t\tFunction : "))
    rows = []
    for mangled, stack, stores, loads, registers, more in _PTXAS.findall(ptxas):
        shared = re.search(r"(\d+) bytes smem", more)
        used = int(registers), threads[mangled], int(shared[1]) if shared else 0
        blocks = resident_blocks(arch, *used)
        occupancy = round(blocks * -(-used[1] // _WARP) / LIMITS[arch].warps, 3)
        tensor = "HMMA.16816." if arch >= 80 else "HMMA.1688."
        counts = code[mangled].count(tensor), code[mangled].count("LDGSTS")
        spills = int(stores) + int(loads)
        rows.append(Row(source, short(mangled), arch, *used, spills, int(stack), blocks, occupancy, *counts, version))
    assert len(rows) == len(code) == len(threads), "each kernel is in what ptxas says, in the ELF and in the code"
    return sorted(rows, key=lambda row: row.kernel)


def launch_bounds(cubin: Path) -> dict[str, int]:
    """The most threads of a block for each kernel of a cubin, by its mangled name."""
    return {name: int(size, 16) for name, size in _THREADS.findall(cuobjdump("-elf", cubin))}


_THREADS = re.compile(r"^\.nv\.info\.(\S+)\n(?:(?!^\.nv\.info).*\n)*?.*EIATTR_MAX_THREADS\n.*\n\s*Value:\s*(\w+)", re.M)
_FUNCTION = re.compile(r"\t\tFunction : (\S+)\n(.*?)(?=\t\tFunction : )", re.DOTALL)
_PTXAS = re.compile(
    r"Function properties for (\S+)\n\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
    r"ptxas info\s*: Used (\d+) registers(.*)"
)


def cuobjdump(option: str, cubin: Path) -> str:
    tool = find_cuobjdump()
    assert tool is not None, "expected cuobjdump, found none"
    return subprocess.run([str(tool), option, str(cubin)], capture_output=True, text=True, check=True).stdout


def short(mangled: str) -> str:
    """`one_block<LstmCell, Halves, 2>` for what the linker calls _ZN2ek9recurrent…"""
    plain = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    plain = re.sub(r"\(.*\)$", "", plain.removeprefix("void "))
    return re.sub(r"(\w+::)+", "", plain)


def gate_rows() -> list[Row]:
    """The rows of all kernel files and architectures, from the cache where nothing has changed since."""
    toolkit = find_toolkit()
    this = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{Workshop(PLUGINS).digest()[:12]}-{this}-{toolkit.version}"
    folder.mkdir(parents=True, exist_ok=True)
    archs = [arch for arch in LIMITS if arch in toolkit.archs]
    jobs = [(source, arch) for source in sorted(PLUGINS.glob("kernels/*.cu")) for arch in archs]
    with (folder / "lock").open("w") as lock, ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = list(pool.map(lambda job: _cached_rows(*job, toolkit, folder), jobs))
    return sorted((row for rows in made for row in rows), key=lambda row: (row.file, row.kernel, row.arch))


def _cached_rows(source: Path, arch: int, toolkit: Toolkit, folder: Path) -> list[Row]:
    kept = folder / f"{source.stem}.sm_{arch}.json"
    if not kept.exists():
        kept.write_text(json.dumps([asdict(row) for row in rows_of(source, arch, toolkit, folder)]))
    return [Row(**values) for values in json.loads(kept.read_text())]


def read_table(path: Path = TABLE) -> list[Row]:
    with path.open(newline="") as file:
        kinds = {item.name: {"int": int, "float": float, "str": str}[str(item.type)] for item in fields(Row)}
        return [Row(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def write_table(rows: list[Row], path: Path = TABLE) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [item.name for item in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    found = gate_rows()
    write_table(found)
    print(f"{len(found)} rows in {TABLE}; {sum(bool(breaches(row)) for row in found)} break a gate")
