"""ThreadSanitizer over the emulator: silent about right kernels, and both lines of the race in wrong ones."""

from __future__ import annotations

import pytest

from tests.plugins.toys import kernel_lines, line, run, toy

SCHEDULES = ((0, 0), (1, 0), (2, 1), (2, 2))
# The toy, its bug, and the marks of the two lines that race.
RACES = [
    ("neighbours", "NO_BARRIER", {"store", "load"}),  # in shared memory
    ("neighbours", "NO_GLOBAL_BARRIER", {"pass", "take"}),  # in global memory
    ("blocks", "NO_BARRIER", {"store", "load"}),  # between blocks that live at once
    ("blocks", "ONE_AFTER_THE_OTHER", {"store", "load"}),  # between blocks that never meet
    ("blocks", "ONE_BUFFER", {"store", "load"}),  # the barrier is there, and one more is missing
    ("blocks", "PLAIN_COUNTER", {"add", "reset"}),
    ("tiles", "NO_BARRIER", {"store", "left"}),  # by ldmatrix
    ("copies", "TOO_EARLY", {"copy", "load"}),  # the copy is announced while others still read
    ("copies", "NO_JOIN", {"wait", "load"}),  # the copy is made while others already read
]


@pytest.mark.parametrize("name", ["neighbours", "copies", "blocks", "tiles"])
def test_a_right_kernel_has_no_race_in_any_schedule(name: str) -> None:
    for schedule in SCHEDULES:
        done = run(toy(name, sanitize="thread"), *schedule)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


@pytest.mark.parametrize(("name", "bug", "marks"), RACES)
def test_a_race_is_found_in_every_schedule_with_both_lines(name: str, bug: str, marks: set[str]) -> None:
    expected = {line(name, mark) for mark in marks}
    for schedule in SCHEDULES:
        done = run(toy(name, bug, sanitize="thread"), *schedule)
        assert done.returncode == 66, done.stdout + done.stderr
        reports = done.stderr.split("WARNING: ThreadSanitizer: data race")[1:]
        assert any(set(kernel_lines(report, name)) == expected for report in reports), done.stderr


@pytest.mark.parametrize(("name", "bug"), [("neighbours", "DIVERGENT"), ("blocks", "DEADLOCK"), ("copies", "PENDING")])
def test_a_fault_is_no_race(name: str, bug: str) -> None:
    done = run(toy(name, bug, sanitize="thread"))
    assert done.returncode == 1
    assert done.stdout.startswith("fault: ")
    assert done.stderr == ""
