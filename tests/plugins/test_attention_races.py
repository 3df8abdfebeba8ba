"""EdgekitAttention under sanitizers: clean as it is, and each planted bug is found and named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekit.plugins.building import Workshop
from edgekit.plugins.programs import ProgramRun, run_program
from edgekit.resources import resource

pytestmark = pytest.mark.slow  # builds and runs the kernels under ThreadSanitizer and AddressSanitizer

KERNELS = resource("plugins") / "kernels"
EXERCISE = resource("plugins") / "exercises" / "attention.cu"
TENSOR, PLAIN = "attention.cu", "attention_plain.cu"
# What names a file in the exercise, and the type that runs it.
MACROS = {TENSOR: ("EK_ATTENTION_SOURCE", "EK_FLOAT16"), PLAIN: ("EK_ATTENTION_PLAIN_SOURCE", "EK_FLOAT32")}


@pytest.mark.parametrize("races", [False, True], ids=["AddressSanitizer", "ThreadSanitizer"])
def test_the_kernels_are_clean(workshop: Workshop, races: bool):
    done = run_program(EXERCISE, races, workshop)
    assert (done.code, done.findings) == (0, ()), done.errors[:2000]
    assert done.output.count("done") == 23


def broken(tmp_path: Path, workshop: Workshop, bug: tuple[str, str, str], *, races: bool = False):
    """Run a copy of the kernels in which `bug`, a file, has one text in place of another; also the copy's lines."""
    file, old, new = bug
    head, found, tail = (KERNELS / file).read_text().rpartition(old)
    assert found, old
    (tmp_path / file).write_text(source := head + new + tail)
    name, kind = MACROS[file]
    program = f'#define {name} "{tmp_path / file}"\n#define EK_ATTENTION_TYPES {kind}\n{EXERCISE.read_text()}'
    (tmp_path / "program.cu").write_text(program)
    done: ProgramRun = run_program(tmp_path / "program.cu", races, workshop)
    assert done.exit_code == 1, done
    return done, source.splitlines()


@pytest.mark.parametrize(
    ("bug", "line"),
    [
        # K of other threads may not have come when it is multiplied.
        ((TENSOR, "        __syncthreads();  // k is there, and nobody reads v any more\n", ""), "ldmatrix_x4(b, k"),
        # The next K comes while others still multiply by this one.
        ((TENSOR, "        __syncthreads();  // v is there, and nobody reads k any more\n", ""), "ldmatrix_x4_trans(b"),
        # The rows of v that other warps bring, and the weights of a warp's other lanes.
        ((PLAIN, "        __syncthreads();  // v and the weights are there\n", ""), "sums[r][part] += shared.weights"),
    ],
    ids=["before k", "before v", "before v in FP32"],
)
def test_a_missing_barrier_is_a_race_with_both_lines(workshop, tmp_path, bug, line):
    done, source = broken(tmp_path, workshop, bug, races=True)
    races = [found for found in done.findings if found.startswith("data race")]
    assert races, done.errors[:2000]
    assert all(len(re.findall(r"(?:read|write) of \d+ bytes at \S+:\d+", race)) == 2 for race in races)
    number = next(number for number, text in enumerate(source, 1) if line in text)
    assert any(f"{bug[0]}:{number}" in race for race in races), races


def test_a_missing_wait_is_seen(workshop, tmp_path):
    """V is multiplied before it is there."""
    bug = (
        TENSOR,
        "        wait_for_copies<0>();\n        __syncthreads();  // v is",
        "        __syncthreads();  // v is",
    )
    done, source = broken(tmp_path, workshop, bug)
    number = next(number for number, text in enumerate(source, 1) if "ldmatrix_x4_trans(b" in text)
    assert f"attention.cu:{number}" in done.output + " ".join(done.findings) or "not all of o" in done.output


@pytest.mark.parametrize(
    ("bug", "line"),
    [
        # Behind the last query, out of o.
        ((TENSOR, "if (row >= at.rows) continue;", ""), "o[(d + first) / 2] ="),
        # The keys of the last tile that are not there.
        ((PLAIN, "row < count ? from[size_t(row) * size + d] : 0.f", "from[row * size + d]"), "= from[row * size + d]"),
    ],
    ids=["a row", "a key"],
)
def test_one_too_many_is_seen_at_its_line(workshop, tmp_path, bug, line):
    done, source = broken(tmp_path, workshop, bug)
    number = next(number for number, text in enumerate(source, 1) if line in text)
    assert any(found.endswith(f"{bug[0]}:{number}") for found in done.findings), done
