"""SIGINT and SIGTERM: the first ends the loop with a report, the second interrupts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from edgekit.errors import UsageError
from edgekit.runtime.loop import Policy, StreamLoop
from tests.runtime.loop.cameras import Camera, Scripted, number_of, wait_until_captured
from tests.threads import elsewhere

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_drains_the_loop_and_handlers_are_restored(number):
    before = handlers()
    source = Scripted(0, 1, 2, ends=False)

    signalled_s = []

    def sink(item):
        wait_until_captured(loop, 3)
        signalled_s.append(time.monotonic())
        signal.raise_signal(number)

    loop = StreamLoop(source, number_of, sink, Policy("fifo"))
    with loop.signals():
        report = loop.run()
    assert (report.ended, report.processed, report.dropped) == (number.name, 1, 2)
    assert source.closed
    time.sleep(0.5 - (time.monotonic() - signalled_s[0]))
    with loop.signals():  # gives back what is there once the echo is over
        pass
    assert handlers() == before


@pytest.fixture
def no_echo(monkeypatch):
    """The next signal counts at once."""
    monkeypatch.setattr("edgekit.signals.ECHO_S", 0.0)


def test_the_second_signal_interrupts_and_the_account_is_still_right(no_echo):
    before = handlers()

    def work(frames):
        wait_until_captured(loop, 2)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        return number_of(frames)

    loop = StreamLoop(Scripted(0, 1), work, policy=Policy("fifo"))
    with pytest.raises(KeyboardInterrupt), loop.signals():
        loop.run()
    report = loop.report()
    assert (report.ended, report.processed, report.captured, report.dropped) == ("KeyboardInterrupt", 0, 2, 2)
    assert handlers() == before


def test_a_second_signal_while_sources_are_closed_leaves_the_account_right(no_echo):
    class Slow(Scripted):
        def close(self):
            super().close()
            signal.raise_signal(signal.SIGINT)

    def sink(item):
        wait_until_captured(loop, 3)
        signal.raise_signal(signal.SIGTERM)

    loop = StreamLoop(Slow(0, 1, 2), number_of, sink, Policy("fifo"))
    with pytest.raises(KeyboardInterrupt), loop.signals():
        loop.run()
    report = loop.report()
    assert (report.ended, report.state) == ("SIGTERM", "ended")
    assert (report.processed, report.captured, report.dropped) == (1, 3, 2)
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_a_signal_wakes_a_loop_that_waits_for_frames():
    loop = StreamLoop(Scripted(ends=False), number_of)
    waiting = threading.Timer(0.1, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM))
    with loop.signals():
        waiting.start()
        report = loop.run(seconds=60)
    assert report.ended == "SIGTERM"


def test_signals_in_any_moment_of_a_busy_loop_stop_it_without_a_deadlock():
    for _ in range(20):
        loop = StreamLoop(Camera(5000, 10**6), number_of)
        sender = threading.Timer(0.01, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
        with loop.signals():
            sender.start()
            report = loop.run(seconds=60)
        assert report.ended == "SIGINT"
        assert report.captured == report.processed + report.dropped


def test_only_the_main_thread_takes_signals():
    def take():
        with StreamLoop(Scripted(), number_of).signals():
            pass

    with pytest.raises(UsageError, match="by the main thread"):
        elsewhere(take)


APP = """
import json
from edgekit.runtime.loop import StreamLoop
from tests.runtime.loop.cameras import Camera, number_of

loop = StreamLoop(Camera(100, 10**6), number_of, lambda item: print(item.answer, flush=True))
with loop.signals():
    report = loop.run()
print(json.dumps(report.to_json()))
"""


def test_a_process_that_is_terminated_ends_with_a_report_and_code_0():
    process = subprocess.Popen([sys.executable, "-c", APP], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    time.sleep(0.05)
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    report = json.loads(out.splitlines()[-1])
    assert report["ended"] == "SIGTERM"
    assert report["captured"] == report["processed"] + report["dropped"] > 0
