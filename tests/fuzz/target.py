"""What a fuzzer calls: a parser with the errors that it may raise, and what holds for whatever it accepts."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import EdgekitError


@dataclass(frozen=True)
class Target:
    """`read` takes any bytes: it returns for those that the parser accepts, once its checks of the result hold.

    `refusals` are the errors that the parser documents; every other exception is a crash. Inputs are at most `longest`
    bytes; `trials` random ones are part of the test suite.
    """

    read: Callable[[bytes], None]
    refusals: tuple[type[EdgekitError], ...]
    longest: int = 6000
    trials: int = 2000

    def accepts(self, data: bytes) -> bool:
        """Whether the parser takes it. Raises AssertionError, or what the parser should not have raised."""
        try:
            self.read(data)
        except self.refusals as error:
            said = str(error)
            assert said.isprintable(), f"not one line, or what a terminal would obey: {said!r}"
            return False
        return True


def text(data: bytes) -> str:
    """As the command line gets it: what is no UTF-8 becomes halves of surrogate pairs."""
    return data.decode("utf-8", "surrogateescape")


@functools.cache
def scratch() -> Path:
    """A folder for the files of this process, for parsers that take a path."""
    folder = Path(tempfile.mkdtemp(prefix="edgekit-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def a_file(data: bytes, name: str) -> Path:
    """The bytes in a file of this name, written over each time."""
    path = scratch() / name
    path.write_bytes(data)
    return path
