"""A control: when this machine itself stood still, seen by a process that only sleeps.

`python -m tests.bench.pauses` notes until its input ends, and prints a list of [from, to] as JSON, nanoseconds of the
system's monotonic clock, which is that of `time.perf_counter_ns` in every process.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time

_SLEEP_S, _LATE_NS = 0.001, 1_000_000


class Pauses:
    """Watch while in the context; `found` is there after it."""

    def __enter__(self) -> Pauses:
        command = [sys.executable, "-m", "tests.bench.pauses"]
        self._watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._watcher.stdout is not None
        self._watcher.stdout.readline()  # it watches
        return self

    def __exit__(self, *_: object) -> None:
        self.found: list[list[int]] = json.loads(self._watcher.communicate("")[0])

    def within(self, from_ns: float, to_ns: float) -> bool:
        """Whether the machine stood still at any time between the two."""
        return any(first < to_ns and last > from_ns for first, last in self.found)


def main() -> None:
    """Sleep a millisecond at a time; what took a millisecond longer is a pause."""
    print("watching", flush=True)
    found, before = [], time.perf_counter_ns()
    while not select.select([sys.stdin], [], [], _SLEEP_S)[0]:
        now = time.perf_counter_ns()
        if now - before > round(_SLEEP_S * 1e9) + _LATE_NS:
            found.append([before, now])
        before = time.perf_counter_ns()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
