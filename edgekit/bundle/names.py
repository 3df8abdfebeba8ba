"""Names of files that mean the same file on every disk: plain ASCII, apart also where case does not count."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgekit.errors import IntegrityError

MOST_FILES = 1024
_LONGEST, _DEEPEST = 200, 8
# No leading dot or dash; no dot at the end, which Windows leaves out; no space, colon or backslash anywhere.
_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_-])?")
# Windows keeps them for devices, with any ending: "Naming Files, Paths, and Namespaces", Microsoft's documentation.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def check_names(names: Iterable[str], reserved: Iterable[str]) -> None:
    """Raise IntegrityError unless all names are plain and lead to as many files on any disk.

    `reserved` are names that stand beside them, and that none of them may be.
    """
    # In lower case: the path, and whether it is a file; a reserved one is like nothing else.
    taken: dict[str, tuple[str, bool | None]] = {name.lower(): (name, None) for name in reserved}
    for count, name in enumerate(names, 1):
        if count > MOST_FILES:
            raise IntegrityError(f"expected at most {MOST_FILES} files in a bundle, found more")
        if not _is_plain(name):
            raise IntegrityError(f"expected plain file names in the manifest, found {_shown(name)}")
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            # A folder may be that of several files; it may neither be a file nor differ from another in case alone.
            path, is_file = "/".join(parts[:depth]), depth == len(parts)
            other = taken.setdefault(path.lower(), (path, is_file))
            if other != (path, is_file):
                raise IntegrityError(f"expected file names that differ, found {other[0]} and {name}")


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return (
        len(name) <= _LONGEST
        and len(parts) <= _DEEPEST
        and all(_PART.fullmatch(part) and part.split(".")[0].lower() not in _DEVICES for part in parts)
    )


def _shown(name: str) -> str:
    return repr(name) if len(name) <= _LONGEST else f"one of {len(name)} characters"
