"""Tasks for the tests, which worker processes import; and a supervisor that is waited for by what happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

from edgekit.errors import DataError, IntegrityError, SessionError, TargetError, UsageError
from edgekit.runtime.loop import Policy, StreamLoop
from edgekit.runtime.sources import Backoff, Reconnecting, open_source
from edgekit.runtime.supervise import Restarts, Supervisor
from tests.runtime.loop.cameras import Camera, Scripted, number_of

SOON = Backoff(0.01, 0.05, seed=0)
PATIENT = Restarts(grace_s=30, silent_s=30, backoff=SOON)  # for what is to end by itself, on however busy a machine
HASTY = Restarts(grace_s=0.3, silent_s=30, hung_s=0.1, backoff=SOON)
WAIT_S = 60


def camera_loop(*sinks, rate: float = 100, **policy) -> StreamLoop:
    return StreamLoop(Camera(rate, 10**6), number_of, sinks, Policy(**policy))


def starts_in(folder: Path) -> int:
    """How often this was called before."""
    with (folder / "starts").open("a") as file:
        file.write("x")
        return file.tell() - 1


def look(worker) -> None:
    worker.run(camera_loop())


def see_five(worker) -> None:
    worker.run(camera_loop(), frames=5)


def segfault() -> None:
    ctypes.string_at(0)


FAILURES = {
    "exits": partial(sys.exit, 3),
    "exits with words": partial(sys.exit, "no lens cap"),
    "leaves": partial(os._exit, 4),
    "leaves with 0": partial(os._exit, 0),
    "killed": partial(os.kill, 0, signal.SIGKILL),  # its own group, which it leads
    "segfault": segfault,
}


def raise_(error: type[Exception]) -> None:
    raise error("expected a lens, found\nnone")


ERRORS = {error.__name__: error for error in (ValueError, DataError, TargetError, UsageError, IntegrityError)}


def fails_once(how: str, folder: Path, worker) -> None:
    """Fails after a few frames, and looks from its second start on."""
    if starts_in(folder) == 0:
        worker.run(camera_loop(), frames=3)
        raise_(ERRORS[how]) if how in ERRORS else FAILURES[how]()
    look(worker)


def fails(error: str, worker) -> None:
    raise_(ERRORS[error])


def loses_camera_once(folder: Path, worker) -> None:
    if starts_in(folder) == 0:
        worker.run(StreamLoop(Scripted(0, 1, DataError("the cable is out")), number_of))
    else:
        look(worker)


def opens(text: str, worker) -> None:
    worker.run(StreamLoop(Reconnecting(lambda: open_source(text), name=text), number_of))


def sleep_with_the_lock() -> None:
    """Hangs as a library's call that keeps Python's lock: no other thread of the process runs, and no signal helps."""
    mutex = ctypes.create_string_buffer(64)  # zeros are an open pthread_mutex_t
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


def hangs_once(how: str, folder: Path, worker) -> None:
    def work(frames):
        if frames[0].number >= 5 and starts == 0:
            sleep_with_the_lock() if how == "with the lock" else time.sleep(1000)
        return number_of(frames)

    starts = starts_in(folder)
    worker.run(StreamLoop(Camera(100, 10**6), work, policy=Policy(watchdog_ms=100)))


def hangs_for_good(worker) -> None:
    """With Python's lock, when it was seen for a second or two."""

    def work(frames):
        if frames[0].number >= 150:
            sleep_with_the_lock()
        return number_of(frames)

    worker.run(StreamLoop(Camera(100, 10**6), work))


def breaks_once(folder: Path, worker) -> None:
    """Every inference fails from some frame on, as after an illegal access of a kernel; a new process is free of it."""

    def work(frames):
        if frames[0].number >= 5 and starts == 0:
            raise SessionError("cuStreamSynchronize failed: an illegal memory access was encountered")
        return number_of(frames)

    starts = starts_in(folder)
    worker.run(StreamLoop(Camera(100, 10**6), work))


def hangs_at_start_once(how: str, folder: Path, worker) -> None:
    if starts_in(folder) == 0:
        sleep_with_the_lock() if how == "with the lock" else time.sleep(1000)
    look(worker)


def lingers(worker) -> None:
    """Returns, but a thread keeps its process."""
    see_five(worker)
    threading.Thread(target=time.sleep, args=(1000,)).start()


def stays(worker) -> None:
    """Does not return after its loop."""
    see_five(worker)
    time.sleep(1000)


def starts_a_child(file: Path, worker) -> None:
    """A decoder of its own, which would keep the camera, and dies itself."""
    import subprocess

    child = subprocess.Popen(["sleep", "1000"])
    file.write_text(str(child.pid))
    worker.run(camera_loop(), frames=3)
    os.kill(os.getpid(), signal.SIGKILL)


def beats(worker) -> None:
    for turn in range(10**6):
        worker.beat(turn=turn)
        time.sleep(0.02)


def beats_no_more_once(folder: Path, worker) -> None:
    worker.beat(turn=0)
    if starts_in(folder) == 0:
        time.sleep(1000)
    beats(worker)


def runs_twice(worker) -> None:
    """The loop that counts is the last."""
    first = worker.run(StreamLoop(Scripted(0, DataError("the cable is out")), number_of))
    assert first.ended == "source lost"
    see_five(worker)


def dies_when_told(worker) -> None:
    worker.run(camera_loop())
    segfault()


class Running:
    """A supervisor in a thread of its own; `events` are those that it told."""

    def __init__(self, tasks, restarts: Restarts = PATIENT, **rest):
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.supervisor = Supervisor(tasks, restarts, on_event=self.events.put, **rest)
        self.found = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.found = self.supervisor.run()

    def event(self, kind: str, source: str | None = None):
        """Wait for the next of this kind."""
        while True:
            event = self.events.get(timeout=WAIT_S)
            if event.kind == kind and source in (None, event.source):
                return event

    def until(self, condition):
        """Wait until the state is so."""
        end_s = time.monotonic() + WAIT_S
        while not condition(state := self.supervisor.state()):
            assert time.monotonic() < end_s, state
            time.sleep(0.02)
        return state

    def report(self):
        self._thread.join(WAIT_S)
        assert self.found is not None, self.supervisor.state()
        return self.found

    def stopped(self):
        self.supervisor.stop()
        return self.report()


@contextlib.contextmanager
def running(tasks, restarts: Restarts = PATIENT, **rest):
    run = Running(tasks, restarts, **rest)
    try:
        yield run
    finally:
        run.supervisor.kill()
        run.report()


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(*pids: int) -> None:
    end_s = time.monotonic() + WAIT_S
    while any(map(alive, pids)):
        assert time.monotonic() < end_s, pids
        time.sleep(0.01)


def accounted(report: dict) -> bool:
    return report["captured"] == report["processed"] + report["dropped"] > 0


def imports_for_long(worker) -> None:
    try:
        time.sleep(WAIT_S)
    except SystemExit:
        raise ImportError("initialization failed") from None
