"""Two signals within half a second are one wish, whoever takes them; a later one is another."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit import signals
from edgekit.cli.interrupt import Interrupts
from edgekit.errors import UsageError
from edgekit.signals import handling
from tests.run.conftest import colours  # noqa: F401
from tests.threads import elsewhere

ROOT = Path(__file__).parents[1]
BOTH = (signal.SIGINT, signal.SIGTERM)
PAIRS = [
    (0.0, signal.SIGINT),
    (0.002, signal.SIGINT),
    (0.02, signal.SIGINT),
    (0.3, signal.SIGINT),
    (0.02, signal.SIGTERM),
]


@pytest.fixture
def clock(monkeypatch):
    """A time that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    return now


@contextlib.contextmanager
def kept():
    """Python's own handlers inside, whatever an earlier test has left; those are given back."""
    before = [(number, signal.getsignal(number)) for number in BOTH]
    fresh = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    try:
        for number, handler in fresh.items():
            signal.signal(number, handler)
        yield fresh
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def test_an_echo_is_none_and_a_later_signal_is_another(clock):
    heard = []
    with kept() as before:
        with handling(lambda number: heard.append("first"), lambda number: heard.append("again"), ""):
            for number, at_s in ((15, 0), (15, 0.001), (2, 0.499), (2, 0.5), (2, 0.501), (15, 7)):
                clock[0] = 100 + at_s
                signal.raise_signal(number)
        assert heard == ["first", *["again"] * 3]
        assert {number: signal.getsignal(number) for number in BOTH} == before


@pytest.mark.parametrize("nested", [False, True])
def test_an_echo_is_none_where_what_was_told_has_ended_meanwhile(clock, nested):
    heard = []
    with kept():
        outer = lambda number, frame: heard.append(f"outer {number}")  # noqa: E731
        for number in BOTH:
            signal.signal(number, outer)
        with handling(heard.append, heard.append, "") if nested else contextlib.nullcontext():
            with handling(lambda number: heard.append("inner"), heard.append, ""):
                signal.raise_signal(signal.SIGINT)
            clock[0] += 0.02
            signal.raise_signal(signal.SIGINT)
        clock[0] += 0.02
        signal.raise_signal(signal.SIGTERM)
        assert heard == ["inner"]
        with handling(lambda number: heard.append("next"), heard.append, ""):  # it has no echo of its own to fear
            signal.raise_signal(signal.SIGTERM)
        clock[0] += 0.5
        for number in BOTH:
            signal.raise_signal(number)
            assert signal.getsignal(number) is outer
        assert heard == ["inner", "next", "outer 2", "outer 15"]


def test_what_was_never_told_gives_back_what_was_there():
    with kept() as before:
        with handling(print, print, ""):
            assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
        assert {number: signal.getsignal(number) for number in BOTH} == before


def test_clearing_away_after_ctrl_c_is_not_broken_off_by_its_echo(clock):
    interrupts, done = Interrupts(), []
    with kept(), interrupts.watched(), contextlib.suppress(KeyboardInterrupt):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            done.append("cleared away")
            clock[0] += 1
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    assert done == ["cleared away"]
    assert interrupts.seen == signal.SIGTERM


def test_only_the_main_thread_takes_them():
    def take():
        with handling(print, print, "this instead"):
            pass

    with pytest.raises(UsageError, match="next: this instead"):
        elsewhere(take)


APP = """
import sys, time
from edgekit.runtime.loop import StreamLoop
from tests.runtime.loop.cameras import Camera, number_of

loop = StreamLoop(Camera(100, 10**6), number_of, lambda item: print(item.answer, flush=True))
with loop.signals():
    report = loop.run()
time.sleep(0.2)
print("ended", report.ended, report.captured - report.processed - report.dropped)
"""
# A camera whose driver does not let go of it, as `edgekit run` meets one.
HANGS = """
import sys, time
import numpy as np
from edgekit.cli import main
from edgekit.run import live
from tests.runtime.loop.cameras import Camera

class Hangs(Camera):
    def close(self):
        time.sleep(30)

live.open_source = lambda text, **rest: Hangs(30, 10**6, data=np.zeros((48, 64, 3), np.uint8))
main(["run", sys.argv[1], "--source", "synthetic:30"])
"""


def told(command: list[str], gap_s: float, number: int) -> tuple[int, str, str]:
    """Code, output and errors of what got two signals after its first line."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline()
        process.send_signal(number)
        time.sleep(gap_s)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(("gap_s", "number"), PAIRS)
def test_a_pair_of_signals_drains_a_loop(gap_s, number):
    code, out, err = told(["-c", APP], gap_s, number)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"ended {number.name} 0"


@pytest.mark.parametrize(("gap_s", "number"), PAIRS)
def test_a_pair_of_signals_drains_edgekit_run(colours, gap_s, number):  # noqa: F811
    code, out, err = told(["-m", "edgekit", "run", str(colours), "--source", "synthetic:60"], gap_s, number)
    assert (code, err) == (0, "")
    captured, processed, dropped = re.search(r"(\d+) captured = (\d+) processed \+ (\d+) dropped", out).groups()
    assert int(captured) == int(processed) + int(dropped) > 0
    assert f"ended: {number.name}" in out


def test_a_second_signal_a_second_later_ends_what_does_not_drain(colours):  # noqa: F811
    code, out, err = told(["-c", HANGS, str(colours)], 1.0, signal.SIGINT)
    assert (code, err) == (130, "edgekit: error: interrupted\n")
    assert "captured" not in out
