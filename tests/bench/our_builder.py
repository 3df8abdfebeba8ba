"""`build-engine` without the interpreter's start: what the command does, timed from its first import."""

import time

start = time.perf_counter()

import sys  # noqa: E402
from importlib import import_module  # noqa: E402
from pathlib import Path  # noqa: E402

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402

import_module("tensorrt_rtx")  # the stage imports it late; the peer at its start

loaded = time.perf_counter()
source, out, *ranges = sys.argv[1:]
build(Path(source), Path(out), BuildConfig(target="rtx", compute_capability=("8.6",), shape=tuple(ranges)))
end = time.perf_counter()
print(end - loaded, end - start)
