"""A bundle that may become another one at any moment: at the end of a link, such as the `current` of an install, or
where a deploy puts a new one in the place of an old one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgekit.errors import EdgekitError

_Read = TypeVar("_Read")


def following(bundle: Path, read: Callable[[Path], _Read]) -> _Read:
    """What `read` makes of what `bundle` leads to: links are followed once, so that no two bundles mix.

    Where it fails and another folder or file is there by then, it is called anew: the first may have been removed
    under its hands. A path without links is passed on as it is.
    """
    while True:
        folder, state = _followed(bundle)
        try:
            return read(folder)
        except (EdgekitError, OSError):
            if _followed(bundle) == (folder, state):
                raise


def _followed(bundle: Path) -> tuple[Path, tuple[int, int] | None]:
    """The folder or file, and what tells it from a later one of the same name; None where there is none."""
    real = Path(os.path.realpath(bundle))
    folder = bundle if real == bundle.absolute() else real
    try:
        found = real.stat()
    except OSError:
        return folder, None
    return folder, (found.st_ino, found.st_ctime_ns)
