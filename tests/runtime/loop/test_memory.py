"""Ten thousand frames leave nothing behind, also while the garbage collector rests."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import numpy as np
import pytest

from edgekit.bundle import verify
from edgekit.runtime import Session
from edgekit.runtime.choice import Choice
from edgekit.runtime.loop import Policy, StreamLoop, realtime
from edgekit.runtime.opening import Opened
from edgekit.runtime.sources import Frame
from tests.runtime.fakes import Doubler


class InStep:
    """A camera that waits until its last frame was answered, so that none is dropped and nothing has to be timed."""

    name, rate = "front", None

    def __init__(self, count: int, poisoned: bool):
        self.count, self.poisoned = count, poisoned
        self.answered = threading.Semaphore(1)

    def frames(self):
        for number in range(self.count):
            assert self.answered.acquire(timeout=30)
            data = np.full((3, 8, 8), np.nan if self.poisoned and number % 2 else number, np.float32)
            yield Frame(data, 0, number, self.name)

    def close(self):
        self.answered.release()


@pytest.mark.parametrize("poisoned", [False, True])
def test_ten_thousand_frames_do_not_grow_memory(small_bundle, poisoned):
    camera, sizes = InStep(10_000, poisoned), {}

    def sink(item):
        if item.frame.number in (3000, 9998):
            sizes[item.frame.number] = tracemalloc.get_traced_memory()[0]
        camera.answered.release()

    session = Session(Opened(verify(small_bundle), Choice("fake", None, "a test"), Doubler(), None))
    loop = StreamLoop(camera, session, sink, Policy(deadline_ms=1.0, bad_limit=10**6))
    with session, realtime():
        tracemalloc.start()
        try:
            report = loop.run()
        finally:
            tracemalloc.stop()
        cycles = gc.collect()
    assert (report.processed, report.dropped, report.deadline_misses) == (10_000, 0, 10_000)
    assert report.bad == (5000 if poisoned else 0)
    # Events are kept up to a thousand, which is long full; a page of slack for integers that got longer.
    assert sizes[9998] - sizes[3000] < 8192
    assert cycles < 100
