"""Every command on a disk that is full, that ends in the middle of a file, or that may not be written."""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.faults.commands import COMMANDS, check_done, check_refused, put_earlier, run, snapshot
from tests.faults.conftest import PAGE


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The kernel refuses to write beyond so many bytes of any file: EFBIG, as Python ignores SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_up(free_pages: int) -> None:
    """A file takes all room of the disk at `out`, but so many pages."""
    filler = Path("out/filler")
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(PAGE)):
                pass
        file.truncate(file.tell() - free_pages * PAGE)


def test_a_file_that_may_not_grow(here, command, capsys):
    put_earlier(command.outs)
    before = snapshot(command.outs)
    with no_file_above(300):
        code, said = run(command.words, capsys)
    check_refused(code, said, before, command.outs)
    assert re.match("edgekit: error: expected room for .*found: File too large", said)
    check_done(run(command.words, capsys)[0], command, before)


def test_a_disk_with_less_and_less_left(here, command, capsys, small_disk):
    """No free page, then one, two, four, sixteen: the end of the disk comes in one file of a command after another.

    Nothing was there before: what an earlier run had would make room when it is replaced.
    """
    refused = 0
    for free in (0, 1, 2, 4, 16, 1600):
        fill_up(free)
        code, said = run(command.words, capsys)
        if code == command.code:
            break
        refused += 1
        check_refused(code, said, {}, command.outs)
        assert re.match("edgekit: error: expected room for .*found: No space left on device", said)
    assert refused > 0
    check_done(code, command, {})
    assert {Path(name).parts[1] for name in snapshot(command.outs)} == set(command.outs)


def test_a_place_that_may_not_be_written(here, command, capsys, read_only):
    read_only(command.outs)
    before = snapshot(command.outs)
    code, said = run(command.words, capsys)
    check_refused(code, said, before, command.outs)
    assert "expected to be able to write" in said


def test_standard_output_on_a_full_disk(here):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", "inspect", "in/small.onnx"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},  # without PYTHONUNBUFFERED: the buffer is the point
        )
    assert done.returncode == 1
    assert done.stderr == (
        "edgekit: error: expected the system to read and write, found: No space left on device; "
        "next: again with -v, which says at what\n"
    )


def test_standard_error_on_a_full_disk(here):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "edgekit", "inspect", "nowhere"]
        done = subprocess.run(command, stderr=full, env={"PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == 1


def test_all_commands_that_write_are_here():
    """A new command is either in the table or, with a reason, here."""
    import click

    from edgekit.cli import COMMANDS as NAMES
    from edgekit.cli import root

    reads_only = {"compare", "doctor", "bundle verify", "plugins list", "plugins test", "plugins bench"}
    elsewhere = {"run", "bundle keygen", "bundle sign", "bundle install", "bundle rollback"}
    context = click.Context(root)
    found = set()
    for name in NAMES:
        made = root.get_command(context, name)
        found |= {f"{name} {inner}" for inner in made.commands} if isinstance(made, click.Group) else {name}
    written = {" ".join(command.words.split()[:2]) for command in COMMANDS.values()}
    assert {name for name in found if not any(f"{words} ".startswith(f"{name} ") for words in written)} == (
        reads_only | elsewhere
    )
