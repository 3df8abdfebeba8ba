"""The recurrent kernels under sanitizers: clean as they are, and each planted bug is found and named."""

from __future__ import annotations

import re
import shutil

import pytest

from edgekit.plugins.building import Workshop
from edgekit.plugins.programs import ProgramRun, run_program
from edgekit.resources import resource

pytestmark = pytest.mark.slow  # builds and runs the kernels under ThreadSanitizer and AddressSanitizer

PLUGINS = resource("plugins")
SOURCE = "kernels/recurrent.cuh"

BARRIER = "        __syncthreads();\n"
STEP = "        at.write_step(p, step, cell.h);\n"
RESET = "            publish<State>(reset_h, at, other, kStride);\n    "
FETCH = "        for (int i = threadIdx.x; i < words; i += blockDim.x) to[i] = load_from_l2(from + i);\n"
GROUP = "        wait_for_group(counter, blocks, ++passes);\n"
WAIT = "        wait_until(counter, u32(blocks) * u32(passes));\n"
TURN = "places + passes % 2 * turn"
OTHER = "both + (1 - turn) * kRows * kStride"


@pytest.mark.parametrize("races", [False, True], ids=["AddressSanitizer", "ThreadSanitizer"])
def test_the_kernels_are_clean(workshop, races):
    done = run_program(PLUGINS / "exercises/recurrent.cu", races, workshop)
    assert (done.code, done.findings) == (0, ()), done.errors[:2000]
    assert done.output.count("done") == 72


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Workshop:
    """A copy of the sources to plant bugs in, one after the other."""
    folder = tmp_path_factory.mktemp("copy")
    sources = shutil.copytree(PLUGINS, folder / "plugins")
    program = '#define EK_EXERCISED EK_FLOAT16\n#include "exercises/recurrent.cu"\n'
    (folder / "program.cu").write_text(program)
    return Workshop(sources=sources, cache=folder / "cache")


def broken(copy: Workshop, old: str, new: str, *, races: bool = False) -> tuple[ProgramRun, str]:
    """Run the copy with `new` in the place of `old`, which is there once; also the copy's text."""
    text = (PLUGINS / SOURCE).read_text()
    assert text.count(old) == 1, old
    (copy.sources / SOURCE).write_text(text := text.replace(old, new))
    done = run_program(copy.cache.parent / "program.cu", races, copy)
    assert done.exit_code == 1, done
    return done, text


def line_of(text: str, what: str) -> str:
    return f"recurrent.cuh:{next(number for number, line in enumerate(text.splitlines(), 1) if what in line)}"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        # At the end of each step of one_block: the next product reads what publish still writes.
        (STEP + BARRIER, STEP, ""),
        # The second product reads what h has become before all of it is there.
        (RESET + BARRIER, RESET, ""),
        # The product reads h before all of it is there.
        (FETCH + BARRIER, FETCH, "to[i] = load_from_l2"),
        # The blocks do not wait for one another, or do but publish in the place that others still read.
        (GROUP, BARRIER, "to[i] = load_from_l2"),
        (WAIT, "", "to[i] = load_from_l2"),
        (TURN, "places", "to[i] = load_from_l2"),
    ],
    ids=["one block", "reset", "after fetch", "between blocks", "no wait", "one place"],
)
def test_a_missing_barrier_is_a_race_with_both_lines(copy, old, new, line):
    done, text = broken(copy, old, new, races=True)
    races = [found for found in done.findings if found.startswith("data race")]
    assert races, done.errors[:2000]
    assert all(len(re.findall(r"(?:read|write) of \d+ bytes at \S+:\d+", race)) == 2 for race in races)
    assert not line or any(line_of(text, line) in race for race in races), races


def test_a_missing_wait_is_seen(copy):
    """The product reads weights that have not arrived."""
    done, text = broken(copy, "    wait_for_copies<0>();\n", "")
    said = done.output + " ".join(done.findings)
    assert line_of(text, "return shared.piece(tile, gate)") in said or "copies" in said


def test_a_store_beside_the_end_is_seen(copy):
    """One row of h too far, out of the block's shared memory."""
    done, _ = broken(copy, OTHER, OTHER + " + kStride")
    assert any("recurrent_place.cuh:" in found for found in done.findings), done


def test_a_divergent_barrier_is_seen(copy):
    done, _ = broken(copy, STEP + BARRIER, f"{STEP}        if (threadIdx.x < 32) __syncthreads();\n")
    assert "__syncthreads" in done.output
