"""The slowest requests are the slowest, and what is told of each is its own."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.latency.measure import Samples
from edgekit.latency.stages import stage_times
from edgekit.latency.worst import slowest, worst_latencies, worst_requests

MS = 1_000_000


@pytest.fixture
def run():
    """500 requests every 10 ms from 7 s on; the last 20 were never answered. Stages: wait, pre, compute."""
    random = np.random.default_rng(3)
    intended = 7_000 * MS + 10 * MS * np.arange(500, dtype=np.int64)
    begun = intended[:480] + random.integers(0, MS, 480)
    made = begun + random.integers(MS, 2 * MS, 480)
    done = made + random.integers(MS, 50 * MS, 480)
    samples = Samples(intended, np.concatenate([done, np.full(20, intended[-1] + 10 * MS)]), 480)
    return samples, stage_times(samples, list(zip(begun, made, done, strict=True)), ("pre", "compute"))


def test_they_are_the_slowest_in_their_order_with_their_own_times(run):
    samples, times = run
    found = worst_requests(samples, times)
    latencies = samples.latencies_ms.tolist()
    assert [item.index for item in found] == sorted(range(500), key=lambda index: -latencies[index])[:10]
    assert found[0].index == 480, "the one that waited longest, which nobody answered"
    for item in found:
        assert item.latency_ms == pytest.approx(latencies[item.index], abs=1e-6)
        assert item.at_s == pytest.approx(item.index / 100)
        if item.index < 480:
            assert list(item.stages) == ["wait", "pre", "compute"]
            assert sum(item.stages.values()) == pytest.approx(item.latency_ms, abs=1e-5)
            assert item.stages["pre"] == pytest.approx(times["pre"][item.index], abs=1e-6)
        else:
            assert item.stages == {}


def test_of_equal_ones_the_earlier_come_first():
    latencies = np.array([5.0, 9.0, 5.0, 9.0, 1.0])
    assert slowest(latencies, 4) == [1, 3, 0, 2]
    assert slowest(np.full(100, 2.0), 3) == [0, 1, 2]


def test_of_latencies_alone_nothing_more_is_known():
    found = worst_latencies(np.array([1.0, 3.0, 2.0]))
    assert [(item.index, item.at_s, item.latency_ms, item.stages) for item in found] == [
        (1, None, 3.0, {}),
        (2, None, 2.0, {}),
        (0, None, 1.0, {}),
    ]
