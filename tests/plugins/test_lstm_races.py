"""EdgekitLSTM under sanitizers: clean as it is, and each planted bug is found and named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.plugins.programs import ProgramRun, run_program
from edgekit.resources import resource

pytestmark = pytest.mark.slow  # builds and runs the kernels under ThreadSanitizer and AddressSanitizer

KERNEL = resource("plugins") / "kernels" / "lstm.cu"
EXERCISE = resource("plugins") / "exercises" / "lstm.cu"

BARRIER = "        __syncthreads();"
STEP = "        cell.write_step(p, at, step);\n"
FETCH = "        fetch(published, shared.h, stride);\n"
GROUP = "        wait_for_group(a.counters + group, a.blocks, step + 1);\n"
NEXT = "        State* const next = h + (step + 1) % 2 * kRows * kStride"


@pytest.mark.parametrize("races", [False, True], ids=["AddressSanitizer", "ThreadSanitizer"])
def test_the_kernels_are_clean(workshop, races):
    done = run_program(EXERCISE, races, workshop)
    assert (done.code, done.findings) == (0, ()), done.errors[:2000]
    assert done.output.count("done") == 21


def broken(tmp_path: Path, workshop, old: str, new: str, *, races: bool = False) -> tuple[ProgramRun, str]:
    """Run a copy of the kernels in which the last `old` is `new`; also the copy's text."""
    head, found, tail = KERNEL.read_text().rpartition(old)
    assert found, old
    (tmp_path / "lstm.cu").write_text(source := head + new + tail)
    program = f'#define EK_LSTM_SOURCE "{tmp_path / "lstm.cu"}"\n{EXERCISE.read_text()}'
    (tmp_path / "program.cu").write_text(program)
    done = run_program(tmp_path / "program.cu", races, workshop)
    assert done.exit_code == 1, done
    return done, source


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        # At the end of each step of lstm_one_block: the next product reads what publish still writes.
        (STEP + BARRIER, STEP, ""),
        # The product reads h before all of it is there.
        (FETCH + BARRIER, FETCH, "to[i] = load_from_l2"),
        # The blocks do not wait for one another, or do but publish in the place that others still read.
        (GROUP, BARRIER + "\n", "to[i] = load_from_l2"),
        ("        wait_until(counter, u32(blocks) * u32(passes));\n", "", "to[i] = load_from_l2"),
        ("(size_t(step % 2) * groups + group)", "(size_t(0) * groups + group)", "to[i] = load_from_l2"),
    ],
    ids=["one block", "after fetch", "between blocks", "no wait", "one place"],
)
def test_a_missing_barrier_is_a_race_with_both_lines(workshop, tmp_path, old, new, line):
    done, source = broken(tmp_path, workshop, old, new, races=True)
    races = [found for found in done.findings if found.startswith("data race")]
    assert races, done.errors[:2000]
    assert all(len(re.findall(r"(?:read|write) of \d+ bytes at \S+:\d+", race)) == 2 for race in races)
    number = next(number for number, text in enumerate(source.splitlines(), 1) if line in text)
    assert not line or any(f"lstm.cu:{number}" in race for race in races), races


def test_a_missing_wait_is_seen(workshop, tmp_path):
    """The product reads weights that have not arrived."""
    done, source = broken(tmp_path, workshop, "    wait_for_copies<0>();\n", "")
    number = next(number for number, text in enumerate(source.splitlines(), 1) if "r[gate] = shared.piece" in text)
    said = done.output + " ".join(done.findings)
    assert f"lstm.cu:{number}" in said or "copies" in said


def test_a_store_beside_the_end_is_seen(workshop, tmp_path):
    """One row of h too far, out of the block's shared memory."""
    done, _ = broken(tmp_path, workshop, NEXT, NEXT + " + kStride")
    assert any("lstm_cell.cuh:" in found for found in done.findings), done


def test_a_divergent_barrier_is_seen(workshop, tmp_path):
    done, _ = broken(tmp_path, workshop, STEP + BARRIER, f"{STEP}        if (threadIdx.x < 32) __syncthreads();")
    assert "__syncthreads" in done.output
