"""`build-engine` without the interpreter's start: what the command does, timed from its first import."""

import time

start = time.perf_counter()

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402

build(Path(sys.argv[1]), Path(sys.argv[2]), BuildConfig(target="rtx", compute_capability=("8.6",)))
print(time.perf_counter() - start)
