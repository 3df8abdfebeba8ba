"""A user's own .cu program on the emulator: what it says, and the line of each fault and both lines of each race."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import BuildError, DataError
from edgekit.plugins.programs import exercise, findings, run_program

PROGRAM = """
#include "ek/device.cuh"
#include "ek/launch.h"
#include <cstdio>
struct Arguments { int* out; int n; };
__global__ void __launch_bounds__(64) mirrored(Arguments a) {
    EK_SHARED(shared);
    auto* const all = reinterpret_cast<int*>(shared);
    all[threadIdx.x] = int(threadIdx.x);
    __syncthreads();
    a.out[threadIdx.x] = all[a.n - 1 - int(threadIdx.x)];
}
int main() {
    int* const out = new int[64];
    ek::Launch how;
    how.block = dim3(64);
    how.shared_bytes = 256;
    char const* const failed = ek::launch(mirrored, how, Arguments{out, 64});
    std::printf("%s %d\\n", failed ? failed : "first", out[0]);
    delete[] out;
    return failed != nullptr;
}
"""


@pytest.mark.slow
def test_a_program_of_the_users_is_watched(tmp_path, workshop):
    program = tmp_path / "mine.cu"
    program.write_text(PROGRAM)
    for races in (False, True):
        ran = run_program(program, races, workshop)
        assert (ran.exit_code, ran.findings, ran.output) == (0, (), "first 63\n")
    assert ran.lines() == ["first 63", "ran on the CPU: no race seen; not run on a GPU"]

    program.write_text(PROGRAM.replace("    __syncthreads();\n", ""))
    racing = run_program(program, True, workshop)
    assert racing.exit_code == 1
    write, read = f"write of 4 bytes at {program}:9", f"read of 4 bytes at {program}:10"
    assert racing.findings
    assert set(racing.findings) <= {f"data race: {write} and {read}", f"data race: {read} and {write}"}

    program.write_text(PROGRAM.replace("new int[64]", "new int[63]"))
    faulty = run_program(program, False, workshop)
    assert faulty.exit_code == 1
    assert faulty.findings == (f"heap-buffer-overflow: write of 4 bytes at {program}:11",)

    program.write_text(PROGRAM.replace("a.n - 1", "a.m - 1"))
    with pytest.raises(BuildError, match=r"mine\.cu:11:\d+: error: .*has no member named"):
        run_program(program, False, workshop)
    with pytest.raises(DataError, match=r"expected a \.cu file with a main\(\), found no file"):
        exercise(tmp_path / "absent.cu", workshop=workshop)


def test_reports_of_sanitizers_become_lines():
    own, emulator = "/home/me/k.cu", (Path("/e/emu"),)
    race = (
        "==================\nWARNING: ThreadSanitizer: data race (pid=1)\n"
        f"  Write of size 8 at 0x1 by main thread:\n    #0 put /e/emu/copy.cpp:3 (a+1)\n    #1 kernel {own}:7 (a+2)\n\n"
        f"  Previous read of size 2 at 0x1 by thread T2:\n    #0 kernel {own}:9 (a+3)\n\n"
        "SUMMARY: ThreadSanitizer: data race\n==================\n"
    )
    overflow = (
        "=====\n==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x2 at pc 0x3\n"
        f"READ of size 16 at 0x2 thread T0\n    #0 0x1 in kernel {own}:12\n    #1 0x2 in main {own}:30\n\n"
    )
    shift = f"{own}:5:9: runtime error: shift exponent 32 is too large\n"
    assert list(findings(race, emulator)) == [f"data race: write of 8 bytes at {own}:7 and read of 2 bytes at {own}:9"]
    assert list(findings(overflow, emulator)) == [f"heap-buffer-overflow: read of 16 bytes at {own}:12"]
    assert list(findings(shift, emulator)) == [f"shift exponent 32 is too large at {own}:5"]
    assert list(findings("fine\n", emulator)) == []
