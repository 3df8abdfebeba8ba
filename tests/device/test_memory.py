"""Memory, swap and the cgroup of a container: what is free is the least of them, and unknown is not 0."""

from __future__ import annotations

import pytest

from edgekit.device import free_memory_mib
from edgekit.device.memory import read_memory

LIMIT, CURRENT = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"
STAT = "sys/fs/cgroup/memory.stat"
MEMINFO = "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n"


@pytest.mark.parametrize(
    ("limit", "current", "free", "bound"),
    [
        (None, None, 4096, None),
        ("max\n", "1073741824\n", 4096, None),  # 1 GiB is used, and nothing bounds it
        (f"{3 << 30}\n", f"{1 << 30}\n", 2048, 3072),
        (f"{64 << 30}\n", f"{1 << 30}\n", 4096, 65536),  # the machine has less than the limit leaves
        (f"{1 << 30}\n", f"{2 << 30}\n", 0, 1024),  # over the limit: nothing is free, and that is known
        (f"{1 << 30}\n", None, None, 1024),
        (f"{1 << 30}\n", "max\n", None, 1024),
        ("-1\n", "5\n", 4096, None),
        ("", "5\n", 4096, None),
        ("9" * 5000, "5\n", 4096, None),
    ],
)
def test_free_memory_is_the_least_of_the_machines_and_the_containers(tree, limit, current, free, bound):
    files = {LIMIT: limit, CURRENT: current, "proc/meminfo": MEMINFO}
    root = tree({name: content for name, content in files.items() if content is not None})
    assert free_memory_mib(root) == free
    assert read_memory(root).limit_mib == bound


@pytest.mark.parametrize(
    ("stat", "free"),
    [
        (f"anon 5\ninactive_file {512 << 20}\nactive_file {256 << 20}\n", 2560),
        (f"inactive_file {4 << 30}\n", 3072),  # read a moment after memory.current: used is not less than 0
        ("inactive_file 0\n", 2048),
        (None, 2048),
        ("", 2048),
        (f"active_file {512 << 20}\ntotal_inactive_file {512 << 20}\n", 2048),
        (f"inactive_file\ninactive_file many\n{512 << 20}\n", 2048),
        (f"inactive_file {512 << 20} kB\n\0\ufffd\n", 2048),
        (f"inactive_file {'9' * 5000}\n", 2048),
    ],
)
def test_pages_that_the_kernel_gives_back_are_not_used(tree, stat, free):
    files = {LIMIT: f"{3 << 30}\n", CURRENT: f"{1 << 30}\n", "proc/meminfo": MEMINFO, STAT: stat}
    root = tree({name: content for name, content in files.items() if content is not None})
    assert free_memory_mib(root) == free
    assert read_memory(root).limit_mib == 3072


def test_free_memory_of_an_unknown_machine_is_unknown_also_in_a_container(tree):
    assert free_memory_mib(tree({})) is None
    assert free_memory_mib(tree({LIMIT: "1048576\n", CURRENT: "0\n"})) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (None, (None, None)),
        ([], (0, 0)),
        (["/dev/zram0  partition  1048576  0  5", "/dev/zram1  partition  1048576  0  5"], (0, 2048)),
        (["/mnt/swap\\040file  file  2097152  12  -2", "/dev/zram0  partition  524288  0  5"], (2048, 512)),
        (["/dev/nvme0n1p9", "/swap  file  many  0  0", "/swap  file  -4  0  0"], (0, 0)),
    ],
)
def test_swap_on_disk_and_in_zram_are_told_apart(tree, lines, expected):
    header = "Filename\tType\tSize\tUsed\tPriority"
    root = tree({} if lines is None else {"proc/swaps": "\n".join([header, *lines]) + "\n"})
    found = read_memory(root)
    assert (found.disk_swap_mib, found.zram_mib) == expected
