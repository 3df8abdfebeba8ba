"""Every kernel on every architecture keeps the gates of gates.py, plugins/gates.csv is up to date, and gates bite."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.errors import TargetError
from edgekit.plugins.toolkits import Toolkit, find_cuobjdump, find_toolkit
from tests.plugins.gates import (
    LIMITS,
    PLUGINS,
    TABLE,
    Row,
    breaches,
    cuobjdump,
    gate_rows,
    launch_bounds,
    read_table,
    resident_blocks,
    rows_of,
    short,
    write_table,
)
from tests.plugins.nvrtc import Nvrtc, NvrtcError, find_nvrtc

KERNEL_FILES = sorted(path for path in PLUGINS.glob("kernels/*.cu") if "__global__" in path.read_text())
GOOD = Row("lstm.cu", "many_blocks<LstmCell, Halves>", 87, 64, 512, 0, 0, 0, 2, 0.667, 62, 4, "13.0.88")

pytestmark = pytest.mark.skipif(find_cuobjdump() is None, reason="needs cuobjdump: pip install nvidia-cuda-cuobjdump")


@pytest.fixture(scope="module")
def toolkit() -> Toolkit:
    try:
        return find_toolkit()
    except TargetError as error:
        pytest.skip(f"needs nvcc: {error}")


@pytest.fixture(scope="module")
def rows(toolkit: Toolkit) -> list[Row]:
    return gate_rows()


@pytest.mark.slow
def test_every_kernel_keeps_the_gates(rows):
    assert {f"{row.kernel} sm_{row.arch}": found for row in rows if (found := breaches(row))} == {}


@pytest.mark.slow
def test_every_kernel_is_there_for_every_architecture(rows, toolkit):
    kernels = {row.kernel for row in rows}
    archs = [arch for arch in LIMITS if arch in toolkit.archs]
    assert len(kernels) >= 13
    assert sorted((row.kernel, row.arch) for row in rows) == sorted((k, arch) for k in kernels for arch in archs)


@pytest.mark.slow
def test_the_table_is_up_to_date(rows, toolkit):
    table = read_table(TABLE)
    if {row.nvcc for row in table} != {toolkit.version}:
        pytest.skip(f"the table is of nvcc {table[0].nvcc}, this is {toolkit.version}")
    assert table == rows, "python -m tests.plugins.gates"


@pytest.mark.parametrize(
    "change",
    [
        {"spills": 4},
        {"stack": 8},
        {"registers": 256},
        {"blocks": 0},
        {"tensor_ops": 0},
        {"async_ops": 0},
        {"arch": 75},
        {"kernel": "many_blocks<LstmCell, Floats>"},
        {"kernel": "one_block<LstmCell, Halves, 8>"},
        {"kernel": "unheard_of"},
    ],
    ids=str,
)
def test_a_breach_is_seen(change):
    assert breaches(GOOD) == []
    assert breaches(replace(GOOD, **change)) != []


# 2,048 bytes that a thread writes at places known only when it runs are on its stack; 96 sums and weights of each
# thread of a block of 1,024, which has 64 registers for each, are spilled.
PLANTED = """
#include "ek/device.cuh"
namespace planted {
__global__ void __launch_bounds__(64) stacked(int* out, int n) {
    int on_stack[512];
    for (int i = 0; i < n; ++i) on_stack[(i * n) & 511] = i;
    out[threadIdx.x] = on_stack[n & 511];
}
__global__ void __launch_bounds__(1024) spilling(float* out, float const* in, int n) {
    float kept[96];
#pragma unroll
    for (int i = 0; i < 96; ++i) kept[i] = in[i * 1024 + threadIdx.x];
    for (int step = 0; step < n; ++step)
#pragma unroll
        for (int i = 0; i < 96; ++i) kept[i] = kept[i] * in[step] + kept[(i + 1) % 96];
#pragma unroll
    for (int i = 0; i < 96; ++i) out[i * 1024 + threadIdx.x] = kept[i];
}
__global__ void __launch_bounds__(96) copying(unsigned* out, unsigned const* in) {
    __shared__ unsigned words[96];
    ek::copy_async<4>(words + threadIdx.x, in + threadIdx.x, true);
    ek::commit_copies();
    ek::wait_for_copies<0>();
    __syncthreads();
    out[threadIdx.x] = words[95 - threadIdx.x];
}
}
"""


@pytest.mark.parametrize("arch", [75, 87])
def test_what_the_compiler_did_is_read_from_its_words_and_code(toolkit, tmp_path, arch):
    source = tmp_path / "planted.cu"
    source.write_text(PLANTED)
    copying, spilling, stacked = rows_of(source, arch, toolkit, tmp_path)
    assert (stacked.kernel, stacked.stack, stacked.threads) == ("stacked", 2048, 64)
    assert (spilling.spills > 0, spilling.registers, spilling.threads, spilling.blocks) == (True, 64, 1024, 1)
    assert (copying.threads, copying.shared, copying.async_ops) == (96, 384, int(arch == 87))
    assert {row.tensor_ops for row in (copying, spilling, stacked)} == {0}


def test_the_table_holds_what_was_written(tmp_path):
    rows = [GOOD, replace(GOOD, kernel="with, comma", arch=75)]
    write_table(rows, tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv") == rows


OCCUPANCY = """
#include <cstdio>
#include <cuda_occupancy.h>
int main() {
    int arch, warps, blocks, kib, reserved, registers, threads, shared;
    while (std::scanf("%d%d%d%d%d", &arch, &warps, &blocks, &kib, &reserved) == 5 &&
           std::scanf("%d%d%d", &registers, &threads, &shared) == 3) {
        cudaOccDeviceProp device{};
        device.computeMajor = arch / 10, device.computeMinor = arch % 10;
        device.maxThreadsPerBlock = 1024, device.maxThreadsPerMultiprocessor = warps * 32;
        device.regsPerBlock = device.regsPerMultiprocessor = 65536;
        device.warpSize = 32, device.numSms = 1;
        device.sharedMemPerBlock = 48 * 1024, device.sharedMemPerMultiprocessor = size_t(kib) * 1024;
        device.reservedSharedMemPerBlock = reserved;
        device.sharedMemPerBlockOptin = device.sharedMemPerMultiprocessor - reserved;
        cudaOccFuncAttributes kernel{};
        kernel.maxThreadsPerBlock = 1024, kernel.numRegs = registers, kernel.sharedSizeBytes = shared;
        cudaOccDeviceState state{};
        state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
        cudaOccResult result{};
        auto failed = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, 0);
        std::printf("%d %d\\n", failed ? -1 : result.activeBlocksPerMultiprocessor, result.blockLimitBlocks);
    }
}
"""


def test_occupancy_is_that_of_nvidias_calculator(toolkit, tmp_path):
    header = _include_folder(toolkit)
    (tmp_path / "occupancy.cpp").write_text(OCCUPANCY)
    build = ["g++", "-std=c++17", "-isystem", str(header), "-o", str(tmp_path / "occupancy"), "occupancy.cpp"]
    subprocess.run(build, check=True, cwd=tmp_path)
    cases = [
        (arch, registers, threads, shared)
        for arch in LIMITS
        for registers in range(16, 256)
        for threads in (32, 96, 128, 384, 512, 1024)
        for shared in (0, 1000, 8192, 40000)
    ]
    asked = [
        f"{a} {LIMITS[a].warps} {LIMITS[a].blocks} {LIMITS[a].shared_kib} {LIMITS[a].shared_reserved} {r} {t} {s}"
        for a, r, t, s in cases
    ]
    said = subprocess.run([tmp_path / "occupancy"], input="\n".join(asked), capture_output=True, text=True, check=True)
    found = [tuple(map(int, line.split())) for line in said.stdout.splitlines()]
    assert [(resident_blocks(*case), LIMITS[case[0]].blocks) for case in cases] == found


def test_the_libraries_limits_are_these(emulator):
    for arch, limits in LIMITS.items():
        device = emulator.device(arch, 1)
        assert device.threads_per_multiprocessor == 32 * limits.warps
        assert device.blocks_per_multiprocessor == limits.blocks
        assert device.shared_per_multiprocessor == 1024 * limits.shared_kib
        assert device.shared_per_block == 1024 * limits.shared_kib - limits.shared_reserved


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    library = find_nvrtc()
    if library is None:
        pytest.skip("needs NVRTC 12.6: pip install 'nvidia-cuda-nvrtc-cu12==12.6.*'")
    return Nvrtc(library)


@pytest.mark.slow
@pytest.mark.parametrize("source", KERNEL_FILES, ids=lambda path: path.name)
def test_jetpack_6_compiles_it_without_a_header_of_cuda(nvrtc, rows, tmp_path, source):
    assert nvrtc.version() == "12.6"
    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(nvrtc.cubin(source, 87, PLUGINS, PLUGINS / "include"))
    used = re.findall(r"Function (\S+):\n\s*REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", cuobjdump("-res-usage", cubin))
    expected = {row.kernel for row in rows if (row.file, row.arch) == (source.name, 87)}
    assert {short(name) for name, *_ in used} == expected, "kernels that NVRTC gets by explicit instantiation"
    assert {(stack, local) for _, _, stack, local in used} == {("0", "0")}
    threads = launch_bounds(cubin)
    assert all(resident_blocks(87, int(registers), threads[name], 0) for name, registers, *_ in used)


def test_nvrtc_says_what_is_wrong(nvrtc, tmp_path):
    source = tmp_path / "wrong.cu"
    source.write_text("#include <cuda_runtime.h>\n")
    with pytest.raises(NvrtcError, match=r"could not open source file \"cuda_runtime\.h\""):
        nvrtc.cubin(source, 87)


def _include_folder(toolkit: Toolkit) -> Path:
    """Where nvcc has its headers; its name may be a script that calls it."""
    said = subprocess.run([toolkit.nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True).stderr
    found = re.search(r"^#\$ TOP=(.+)$", said, re.MULTILINE)
    assert found
    return Path(found[1]) / "include"
