"""The first request after a pause, on a simulated clock."""

from __future__ import annotations

import pytest

from edgekit.latency.idle import idle_gap


def test_the_first_after_a_pause_is_told_apart(clock):
    """A device that falls asleep after 50 ms: then a request takes 9 ms, the next one 4, all others 2."""
    state = {"until": 0, "calls": 0}

    def serve():
        asleep = clock.ns > state["until"]
        state["calls"] = 0 if asleep else state["calls"] + 1
        clock.sleep({0: 0.009, 1: 0.004}.get(state["calls"], 0.002))
        state["until"] = clock.ns + 50_000_000

    begin = clock.ns
    found = idle_gap(serve, 0.2, timer=clock.timer)
    assert (found.pause_s, found.pauses) == (0.2, 20)
    assert found.first_ms.value == pytest.approx(9)
    assert (found.settled_ms.low, found.settled_ms.high) == (pytest.approx(2), pytest.approx(2))
    assert found.slower == pytest.approx(4.5)
    assert (clock.ns - begin) / 1e9 == pytest.approx(20 * (0.2 + 0.009 + 0.004 + 8 * 0.002))
    assert idle_gap(serve, 0.02, timer=clock.timer).slower == pytest.approx(1)


def test_a_few_pauses_bound_nothing(clock):
    found = idle_gap(clock.serving([1.0] * 30), 0.1, 3, clock.timer)
    assert found.first_ms.high == float("inf")


def test_no_time_at_all_is_not_slower(clock):
    assert idle_gap(lambda: None, 0.1, timer=clock.timer).slower == 1
