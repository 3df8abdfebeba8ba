"""A folder with the inputs of all commands, and disks that fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.commands import COMMANDS, Command, fill, put_earlier

PAGE = 4096  # what a file takes at least on a tmpfs


@pytest.fixture(scope="session")
def inputs(shared, small_onnx: Path, small_data: Path, small_bundle: Path) -> Path:
    """The folder that stands as `in` where a command runs."""
    return shared("fault-inputs", lambda folder: fill(folder, small_onnx, small_data, small_bundle))


@pytest.fixture
def here(tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `in`, an empty `out`, and a library of kernels that is already built."""
    library = tmp_path / "built" / "libedgekit_emu.so"
    library.parent.mkdir()
    library.write_bytes(b"\x7fELF" + bytes(3 * PAGE))
    library.with_name(library.name + ".json").write_text('{"kind": "emulator"}' + " " * PAGE)
    monkeypatch.setattr("edgekit.plugins.building.build_emulator", lambda: library)
    work = tmp_path / "work"
    (work / "out").mkdir(parents=True)
    (work / "in").symlink_to(inputs)
    monkeypatch.chdir(work)
    return work


@pytest.fixture(params=COMMANDS.values(), ids=COMMANDS.keys())
def command(request: pytest.FixtureRequest) -> Command:
    """Each command in turn."""
    found: Command = request.param
    pytest.importorskip(found.needs)
    return found


@pytest.fixture
def small_disk(here: Path) -> Iterator[Callable[[str], None]]:
    """`out` as a file system of 8 MiB of its own; a call mounts it again with other options, such as "ro"."""

    def mount(*words: str) -> bool:
        return subprocess.run(["mount", *words], capture_output=True).returncode == 0

    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=8m", "none", "out"):
        pytest.skip("needs to mount a file system, which only root may, and not in every container")

    def again(options: str) -> None:
        assert mount("-o", f"remount,{options}", "out")

    yield again
    subprocess.run(["umount", "--lazy", here / "out"], check=True)


@pytest.fixture
def read_only(here: Path, request: pytest.FixtureRequest) -> Callable[[tuple[str, ...]], None]:
    """A function that puts earlier outputs into `out` and then takes away the right to write there."""
    if os.geteuid() != 0:

        def forbid(outs: tuple[str, ...]) -> None:
            put_earlier(outs)
            Path("out").chmod(0o555)
            request.addfinalizer(lambda: (here / "out").chmod(0o755))

        return forbid
    again = request.getfixturevalue("small_disk")  # root writes where its rights are none, but to no read-only disk

    def remount(outs: tuple[str, ...]) -> None:
        put_earlier(outs)
        again("ro")

    return remount
