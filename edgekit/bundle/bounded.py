"""A small file of a bundle, which says how large it is only once it is read."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import IntegrityError


def read_bounded(path: Path, most: int) -> bytes | None:
    """All bytes of a plain file, at most `most` of them; None where there is nothing at `path`.

    Raises IntegrityError for a larger file, a link, a folder, a device or a pipe.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise IntegrityError(f"expected a plain file {path}, found a link or a device")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        return None
    if len(data) > most:
        raise IntegrityError(f"expected {path} below {most} bytes, found more")
    return data
