"""The one form that a bundle's archive has: a zip whose every byte follows from names, sizes, CRCs and contents.

Stored, not compressed: weights hardly shrink, and what is not compressed cannot grow when it is opened. No time, no
owner, no comment, no extra field, nothing before, between or behind: any zip tool opens it, and two machines that
archive one bundle write the same bytes.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.16 (its end).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST = (1 << 32) - 2  # bytes of an archive; beyond that a zip needs other fields
MAGIC = b"PK\3\4"  # no ONNX model, engine or JSON begins so
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
# Version 2.0, no flags, stored, and 1980-01-01 00:00, the first time that a zip can say.
_FORM = (20, 0, 0, 0, 0x21)
_BY_UNIX = 3 << 8 | 20
_PLAIN_FILE = 0o100644 << 16


@dataclass(frozen=True)
class Member:
    """One file of an archive: `size` in bytes, `crc` the CRC-32 of its contents, `start` where its header begins."""

    name: str
    size: int
    crc: int
    start: int

    def header(self) -> bytes:
        """What stands before its contents."""
        sizes = (self.crc, self.size, self.size, len(self.name), 0)
        return _LOCAL.pack(MAGIC, *_FORM, *sizes) + self.name.encode("ascii")

    def entry(self) -> bytes:
        """Its line in the directory."""
        sizes = (self.crc, self.size, self.size, len(self.name), 0, 0, 0, 0)
        line = _CENTRAL.pack(b"PK\1\2", _BY_UNIX, *_FORM, *sizes, _PLAIN_FILE, self.start)
        return line + self.name.encode("ascii")


def directory(members: Sequence[Member]) -> bytes:
    """What stands behind the last file: the directory and its end."""
    start = _behind(members[-1])
    lines = b"".join(member.entry() for member in members)
    return lines + _END.pack(b"PK\5\6", 0, 0, len(members), len(members), len(lines), start, 0)


def next_start(members: Sequence[Member]) -> int:
    """Where the header of the next file begins."""
    return _behind(members[-1]) if members else 0


def header_size(name: str) -> int:
    """Bytes of what stands before the contents of a file of this name."""
    return _LOCAL.size + len(name)


def size_of(sizes: dict[str, int]) -> int:
    """Bytes of the whole archive of files of these names and sizes."""
    each = (2 * len(name) + _LOCAL.size + _CENTRAL.size + size for name, size in sizes.items())
    return sum(each) + _END.size


def told_size(header: bytes, name: str) -> int | None:
    """The size that the header of a file says; None where it is not one of this name."""
    if len(header) < header_size(name) or header[_LOCAL.size :] != name.encode("ascii"):
        return None
    return int(_LOCAL.unpack_from(header)[8])


def _behind(member: Member) -> int:
    return member.start + header_size(member.name) + member.size
