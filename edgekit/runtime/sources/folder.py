"""A folder of pictures as a camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import DataError
from edgekit.runtime.sources.recording import Piece


class PictureFolder:
    """A Tape of the pictures of a folder and its sub-folders, in the order of their names, `rate` a second.

    Raises DataError for a folder without one; a picture that cannot be read is left out.
    """

    def __init__(self, path: Path, rate: float) -> None:
        from edgekit.data.pictures import PICTURES, pictures

        self.rate: float | None = rate
        self._period_ns = 1e9 / rate
        self._files = pictures(path)
        if not self._files:
            raise DataError(f"expected pictures in {path}, found none", "one of " + ", ".join(PICTURES))

    def pieces(self) -> Iterator[Piece]:
        """uint8 [H,W,3] RGB."""
        from edgekit.data.pictures import read_picture

        for index, file in enumerate(self._files):
            due_ns, end_ns = (int(number * self._period_ns) for number in (index, index + 1))
            try:
                yield Piece(read_picture(file), due_ns, end_ns)
            except DataError:
                yield Piece(None, due_ns, end_ns)
