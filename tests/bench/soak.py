"""A camera loop under fire: every second something goes wrong, and afterwards nothing may be missing.

    python -m tests.bench.soak 600

Two cameras, of which one is lost and found; swaps that are kept, refused and undone; inferences that hang and come
back; bursts of NaN. What was done to the loop is written down, and has to be what the report says happened, event by
event. Prints one line of JSON, and exits 1 where a frame or an event is missing or memory grows.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bundle import verify
from edgekit.reports import resident_mib
from edgekit.runtime import Session
from edgekit.runtime.choice import Choice
from edgekit.runtime.loop import Event, Golden, LoopReport, Policy, StreamLoop
from edgekit.runtime.opening import Opened
from edgekit.runtime.ort import OrtBackend
from edgekit.runtime.sources import Backoff, Frame, Reconnecting, SourceLost
from tests.runtime.small_streams import FLOAT, bundle_of, made, value

RATE = 50.0
WATCHDOG_MS = 100.0
PAUSE_S = 0.4
PATIENCE_S = 30.0
SIZE = 64  # of a frame: float32 [SIZE]
GROWTH_BAR_MIB = 2.0


class Faults:
    """What is to go wrong next: written by who plans it, read by cameras and backends."""

    def __init__(self) -> None:
        self.nan = threading.Event()
        self.lose = threading.Event()
        self.stall_ms = 0.0


class Camera:
    """Frames at RATE until it is lost or closed; counts what it handed over, over all of its lives."""

    rate = RATE

    def __init__(self, name: str, faults: Faults, given: Counter[str]) -> None:
        self.name = name
        self._faults, self._given, self._closed = faults, given, threading.Event()

    def frames(self) -> Iterator[Frame]:
        values, broken = np.linspace(0, 1, SIZE, dtype=np.float32), np.full(SIZE, np.nan, np.float32)
        start_ns = time.perf_counter_ns()
        for number in itertools.count():
            due_ns = start_ns + round(number * 1e9 / RATE)
            if self._closed.wait(max(0, due_ns - time.perf_counter_ns()) / 1e9):
                return
            if self.name == "front" and self._faults.lose.is_set():
                self._faults.lose.clear()
                raise SourceLost("unplugged")
            self._given[self.name] += 1
            yield Frame(broken if self._faults.nan.is_set() else values, due_ns, number, self.name)

    def close(self) -> None:
        self._closed.set()


class Backend(OrtBackend):
    """onnxruntime, which hangs when it is told to, and gives NaN from its run `good` on."""

    faults: Faults
    good = 1 << 60

    def enqueue(self, *, step: bool = False) -> None:
        stall_ms, self.faults.stall_ms = self.faults.stall_ms, 0.0
        if stall_ms:
            time.sleep(stall_ms / 1e3)
        super().enqueue(step=step)
        self.good -= 1
        if self.good < 0:
            self.output("y")[...] = np.nan


def network(folder: Path, seed: int) -> Path:
    """x [batch,SIZE] -> y [batch,8] by a matrix of this seed."""
    import onnx

    weights = np.random.default_rng(seed).normal(size=(SIZE, 8)).astype(np.float32)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    tensors = [value("x", FLOAT, "batch", SIZE)], [value("y", FLOAT, "batch", 8)]
    return bundle_of(made([node], *tensors, {"w": weights}), folder, None, {"batch": (1, 1, 2)})


class Fire:
    """The one thread that does harm, one thing after the other, and writes down what should be heard of it."""

    def __init__(self, bundle: Path, other: Path, faults: Faults) -> None:
        self.expected: Counter[str] = Counter()
        self.late: list[str] = []
        self._bundle, self._faults = bundle, faults
        self._heard: Counter[str] = Counter()
        self._changed = threading.Condition()
        with self.session(bundle) as session:
            self._golden = Golden.of(session, {"x": np.ones((1, SIZE), np.float32)})
        self._other = other
        self.loop: StreamLoop

    def session(self, bundle: Path, good: int = 1 << 60) -> Session:
        verified = verify(bundle, keep=["model.onnx"])
        manifest = verified.manifest
        backend = Backend(verified.contents["model.onnx"], "all", (*manifest.inputs, *manifest.outputs))
        backend.faults, backend.good = self._faults, good
        return Session(Opened(verified, Choice("ort", None, "a soak"), backend, None))

    def hear(self, event: Event) -> None:
        with self._changed:
            self._heard[event.kind] += 1
            self._changed.notify_all()

    def run(self, end_s: float) -> None:
        harms = (self._keep, self._hang, self._burst, self._lose, self._refuse, self._hang, self._undo, self._lose)
        try:
            for harm in itertools.cycle(harms):
                if time.monotonic() > end_s:
                    break
                harm()
                time.sleep(PAUSE_S)
        finally:
            self.loop.stop("soaked")

    def _expect(self, *kinds: str) -> None:
        for kind in kinds:
            self.expected[kind] += 1
            with self._changed:
                if not self._changed.wait_for(lambda k=kind: self._heard[k] >= self.expected[k], PATIENCE_S):
                    self.late.append(kind)

    def _keep(self) -> None:
        self.loop.swap(lambda: self.session(self._bundle), self._golden, trial=5)
        self._expect("swapped", "swap kept")

    def _refuse(self) -> None:
        self.loop.swap(lambda: self.session(self._other), self._golden)
        self._expect("swap refused")

    def _undo(self) -> None:
        self.loop.swap(lambda: self.session(self._bundle, good=15), self._golden, trial=1000)
        self._expect("swapped", "swap undone")

    def _hang(self) -> None:
        self._faults.stall_ms = 2.5 * WATCHDOG_MS
        self._expect("hung", "recovered")

    def _burst(self) -> None:
        self._faults.nan.set()
        self._expect("bad", "bad")  # of either camera
        self._faults.nan.clear()
        self._expect("good again", "good again")

    def _lose(self) -> None:
        self._faults.lose.set()
        self._expect("lost", "back", "gap")  # nobody knows how many frames there were: a hole of one


def sampled(stop: threading.Event) -> Callable[[], list[float]]:
    """MiB of this process, each half second, until `stop`."""
    found: list[float] = []

    def body() -> None:
        while not stop.wait(0.5):
            found.append(resident_mib())

    thread = threading.Thread(target=body)
    thread.start()
    return lambda: (thread.join(), found)[1]


def soak(seconds: float, folder: Path) -> tuple[LoopReport, Fire, Counter[str], list[float]]:
    """Run it; the report, what was done, what the cameras gave, and memory over time."""
    faults, given = Faults(), Counter[str]()
    fire = Fire(network(folder / "a", 1), network(folder / "b", 2), faults)
    front = Reconnecting(lambda: Camera("front", faults, given), backoff=Backoff(first_s=0.1, most_s=0.1))
    stop = threading.Event()
    with fire.session(network(folder / "c", 1)) as session:
        policy = Policy(watchdog_ms=WATCHDOG_MS, wait_ms=30, bad_limit=1 << 30)
        fire.loop = StreamLoop([front, Camera("rear", faults, given)], session, (), policy, fire.hear)
        thread = threading.Thread(target=fire.run, args=(time.monotonic() + seconds,))
        thread.start()
        memory = sampled(stop)
        report = fire.loop.run()
        thread.join()
        stop.set()
    return report, fire, given, memory()


def open_files() -> int:
    """Of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def growth_mib(memory: list[float]) -> float:
    """Median of the last quarter less that of the second: the first is start-up, when pools fill."""
    quarter = len(memory) // 4
    return float(np.median(memory[-quarter:]) - np.median(memory[quarter : 2 * quarter]))


def main(seconds: float) -> int:
    """Soak, judge, print."""
    before = open_files(), threading.active_count()
    with tempfile.TemporaryDirectory() as folder:
        report, fire, given, memory = soak(seconds, Path(folder))
    after = open_files(), threading.active_count()
    counts = {source.name: (source.captured, source.processed + source.dropped) for source in report.sources}
    found: dict[str, Any] = {
        "seconds": report.seconds,
        "captured": report.captured,
        "processed": report.processed,
        "dropped": report.dropped,
        "counts_agree": all(counts[name] == (given[name], given[name]) for name in counts),
        "events": report.event_counts,
        "events_as_done": report.event_counts == dict(fire.expected) and not fire.late,
        "memory_mib": (memory[0], memory[-1]),
        "growth_mib": round(growth_mib(memory), 2),
        "left": [name for name, first, last in zip(("files", "threads"), before, after, strict=True) if last > first],
    }
    if not found["events_as_done"]:
        found["expected"] = dict(fire.expected)
    print(json.dumps(found))
    good = found["counts_agree"] and found["events_as_done"] and not found["left"]
    return 0 if good and found["growth_mib"] <= GROWTH_BAR_MIB else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0))
