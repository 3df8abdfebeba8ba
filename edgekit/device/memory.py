"""How much memory there is, how much of it is free, and what bounds it: swap, zram, and the cgroup of a container."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.device.reading import lines, whole, word

_KIB_LINE = re.compile(r"(\w+):\s+([0-9]{1,19}) kB")
_MIB = 1 << 20


@dataclass(frozen=True)
class Memory:
    """In MiB; what could not be read is None. A Jetson's GPU takes from the same memory.

    `disk_swap_mib` and `zram_mib` are the sizes of the swaps in use: zram compresses into memory itself and so adds
    little. `limit_mib` and `used_mib` are those of the cgroup, None where it has no limit. `free_mib` is what one
    more program can have: the least of `available_mib` and what the limit leaves.
    """

    total_mib: int | None
    available_mib: int | None
    disk_swap_mib: int | None
    zram_mib: int | None
    limit_mib: int | None
    used_mib: int | None
    free_mib: int | None


def read_memory(root: Path = Path("/")) -> Memory:
    """Read the memory of the machine, or container, whose files are under `root`. Never raises.

    Sources: proc_meminfo(5), whose kB are KiB; swapon(8) for /proc/swaps; memory.max, memory.current and memory.stat of
    cgroup v2 (https://docs.kernel.org/admin-guide/cgroup-v2.html), in bytes.
    """
    table = _meminfo(root)
    disk, zram = _swaps(root)
    limit, used = _cgroup(root)
    available = table.get("MemAvailable")
    return Memory(
        total_mib=table.get("MemTotal"),
        available_mib=available,
        disk_swap_mib=disk,
        zram_mib=zram,
        limit_mib=limit,
        used_mib=used,
        free_mib=_free(available, limit, used),
    )


def free_memory_mib(root: Path = Path("/")) -> int | None:
    """What one more program can have, in MiB: min(MemAvailable, cgroup limit - current); None where it is unknown.

    Of the page cache, which the cgroup counts as used, what was read once does not count: the kernel gives it back.
    """
    return read_memory(root).free_mib


def _free(available: int | None, limit: int | None, used: int | None) -> int | None:
    if limit is None:
        return available
    if available is None or used is None:
        return None
    return min(available, max(limit - used, 0))


def _meminfo(root: Path) -> dict[str, int]:
    """The lines `MemTotal:  24683520 kB` of /proc/meminfo, in MiB."""
    matches = filter(None, map(_KIB_LINE.fullmatch, map(str.strip, lines(root / "proc/meminfo"))))
    return {found[1]: int(found[2]) >> 10 for found in matches}


def _swaps(root: Path) -> tuple[int | None, int | None]:
    """Sizes of the swaps on disk and in zram, in MiB: /proc/swaps has a header and sizes in KiB."""
    rows = lines(root / "proc/swaps")
    if not rows or not rows[0].startswith("Filename"):
        return None, None
    disk = zram = 0
    for row in rows[1:]:
        name, *rest = row.split() or [""]
        size = whole(rest[1]) if len(rest) > 1 else None
        if size is None or size < 0:
            continue
        if name.startswith("/dev/zram"):
            zram += size
        else:
            disk += size
    return disk >> 10, zram >> 10


def _cgroup(root: Path) -> tuple[int | None, int | None]:
    """Limit and use of the cgroup in MiB; both None without a limit, which memory.max calls `max`."""
    limit = whole(word(root / "sys/fs/cgroup/memory.max"))
    used = whole(word(root / "sys/fs/cgroup/memory.current"))
    if limit is None or limit < 0:
        return None, None
    rows = (row.split() for row in lines(root / "sys/fs/cgroup/memory.stat"))
    cached = next((whole(row[1]) for row in rows if len(row) == 2 and row[0] == "inactive_file"), None) or 0
    return limit // _MIB, None if used is None or used < 0 else max(used - cached, 0) // _MIB
