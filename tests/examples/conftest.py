"""Folders in which the commands of an example's README were run as they are written, once for all that need them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reading import ROOT, commands, run


class Ran(NamedTuple):
    """The folder, and what each command printed."""

    folder: Path
    printed: list[str]


def like_a_checkout(folder: Path) -> Path:
    """It has the examples, and no out/: the commands make it where they need it."""
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A folder of this test alone."""
    return like_a_checkout(tmp_path)


@pytest.fixture(scope="session")
def ran(shared) -> Callable[[str], Ran]:
    """`ran("03_voice")`: all its commands, in their order. What they left is not to be changed."""

    def body(example: str) -> Ran:
        def make(folder: Path) -> None:
            like_a_checkout(folder)
            printed = [run(command, folder) for command in commands(f"examples/{example}/README.md")]
            (folder / "printed.json").write_text(json.dumps(printed))

        folder = shared(f"example-{example}", make)
        return Ran(folder, json.loads((folder / "printed.json").read_text()))

    return body
