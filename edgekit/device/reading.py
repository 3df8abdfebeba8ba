"""Small files of /proc, /sys and /etc, read so that nothing can fail: what cannot be read is None or empty."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

# Longer than any count of the kernel; int() itself refuses texts of thousands of digits.
_NUMBER = re.compile(r"-?[0-9]{1,19}")


def text(file: Path) -> str | None:
    """The file's text with odd bytes replaced; None where it is missing, a folder, or not ours to read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def lines(file: Path) -> list[str]:
    """The file's lines; none where it cannot be read."""
    return (text(file) or "").splitlines()


def word(file: Path) -> str | None:
    """The file's first line without the space around it; None where that is empty."""
    return (text(file) or "").partition("\n")[0].strip() or None


def whole(value: str | None) -> int | None:
    """A decimal number; None for anything else, also for one too long to be a count."""
    return int(value) if value and _NUMBER.fullmatch(value) else None


def number(file: Path) -> int | None:
    """The decimal number that a file of sysfs(5) holds, alone on its first line."""
    return whole(word(file))


def children(folder: Path, pattern: str) -> list[Path]:
    """What in `folder` is named like `pattern`, cpu2 before cpu10; nothing where it cannot be listed."""
    try:
        found = [entry for entry in folder.iterdir() if fnmatchcase(entry.name, pattern)]
    except OSError:
        return []
    return sorted(found, key=_natural)


def _natural(entry: Path) -> list[tuple[int, str]]:
    """Digits count by their length first, so that 2 comes before 10."""
    return [(len(part) if part.isdecimal() else 0, part) for part in re.split(r"([0-9]+)", entry.name)]
