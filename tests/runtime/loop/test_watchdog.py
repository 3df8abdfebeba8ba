"""The watchdog: it reports once what takes too long, and never what does not."""

from __future__ import annotations

import queue
import time
from pathlib import Path

import pytest

from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.watchdog import Watchdog


@pytest.fixture
def watched():
    heard = queue.SimpleQueue()
    watchdog = Watchdog(100, Events(heard.put))
    watchdog.start()
    yield watchdog, heard
    watchdog.stop()


def test_what_takes_too_long_is_reported_once_and_again_when_it_came_back(watched):
    watchdog, heard = watched
    start_ns = time.perf_counter_ns()
    watchdog.begin()
    event = heard.get(timeout=30)
    took_ms = (time.perf_counter_ns() - start_ns) / 1e6
    assert took_ms >= 100
    assert event.kind == "hung"
    assert event.message.startswith("expected an inference within 100 ms, running for 1")
    assert watchdog.hung
    time.sleep(0.25)
    assert heard.empty(), "one report a hang"
    watchdog.end()
    assert not watchdog.hung
    event = heard.get(timeout=30)
    assert event.kind == "recovered"
    assert float(event.message.split()[1]) >= 350
    watchdog.begin()
    assert heard.get(timeout=30).kind == "hung", "the next hang is another"


def test_many_inferences_that_end_in_time_are_none_that_takes_long(watched):
    watchdog, heard = watched
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        watchdog.begin()
        time.sleep(0.002)
        watchdog.end()
    assert heard.empty()


def test_an_idle_loop_is_not_hung(watched):
    watchdog, heard = watched
    watchdog.begin()
    watchdog.end()
    time.sleep(0.3)
    assert heard.empty()


def test_what_was_given_up_stays_hung(watched):
    watchdog, heard = watched
    watchdog.begin()
    assert heard.get(timeout=30).kind == "hung"
    watchdog.end(abandoned=True)
    assert watchdog.hung
    assert heard.empty()


def test_without_a_limit_nobody_watches():
    heard = queue.SimpleQueue()
    watchdog = Watchdog(None, Events(heard.put))
    watchdog.start()
    watchdog.begin()
    time.sleep(0.05)
    watchdog.end()
    watchdog.stop()
    assert heard.empty()


def test_a_watch_that_has_ended_or_never_began_leaves_no_file_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for limit_ms in (20, None):
        idle, watchdog = (Watchdog(limit_ms, Events()) for _ in range(2))
        watchdog.start()
        for each in (watchdog, watchdog, idle):
            each.stop()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
