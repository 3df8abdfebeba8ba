"""The series on the device, with events and a clock that are played: what is counted, when it ends, what is said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.errors import SessionError
from edgekit.latency.device_stages import DeviceSource, time_on_device
from edgekit.latency.stages import summarise_stages
from edgekit.runtime.trt_stages import StageTimes


class Events:
    """Plays `StageEvents`: copies of 1 and 3 ms, and an engine that takes 10 ms, 11 ms and so on."""

    def __init__(self, copied: bool = True) -> None:
        self.copied, self.on, self.began, self.told = copied, False, 0, 0

    def __enter__(self):
        self.on = True
        return self

    def __exit__(self, *_):
        self.on = False

    def times(self) -> StageTimes:
        assert self.on
        assert self.began > self.told, "nothing ran since"
        self.told = self.began
        return StageTimes(1.0, 9.0 + self.began, 3.0) if self.copied else StageTimes(None, 9.0 + self.began, None)


def source(events: Events, own_graphs: bool = False) -> DeviceSource:
    return DeviceSource(events, lambda: "off" if events.on else "captured", own_graphs)


def inferring(events: Events, clock, ms: float = 2.0):
    def infer() -> float:
        clock.sleep(ms / 1e3)
        events.began += 1
        return 100.0 + events.began

    return infer


def test_each_stage_is_summed_up_and_the_warm_up_is_not_counted(clock):
    events = Events()
    found = time_on_device(inferring(events, clock), source(events), timer=clock.timer)
    assert (found.n, events.began, events.on) == (800, 803, False)
    engine = np.arange(13.0, 813.0)  # the fourth inference is the first one timed
    assert list(found.stages) == ["h2d", "compute", "d2h"]
    assert found.stages == summarise_stages({"h2d": np.ones(800), "compute": engine, "d2h": np.full(800, 3.0)})
    assert found.host.mean_ms == pytest.approx(np.arange(104, 904).mean())
    assert found.host.p50_ms.value == 503


def test_there_are_enough_for_both_ends_of_p99(clock):
    """Of independent times, such as these."""
    events, order = Events(), np.random.default_rng(0).random(803)
    events.times = lambda: StageTimes(None, float(order[events.began - 1]), None)
    found = time_on_device(inferring(events, clock), source(events), timer=clock.timer)
    assert found.stages["compute"].p99_ms.low < found.stages["compute"].p99_ms.high < float("inf")


@pytest.mark.parametrize(
    ("each_ms", "most", "most_s", "count"),
    [
        (2, 7, 60.0, 7),
        (2, 10_000, 60.0, 800),
        (100, None, 60.0, 50),  # five seconds
        (100, None, 0.45, 5),
        (9000, None, 60.0, 1),
        (2, None, 0.0, 1),
    ],
)
def test_it_ends_with_the_number_or_the_time(clock, each_ms, most, most_s, count):
    events, seen = Events(), []
    limits = {"most": most, "most_s": most_s, "timer": clock.timer}
    found = time_on_device(
        inferring(events, clock, each_ms), source(events), **limits, progress=lambda *at: seen.append(at)
    )
    assert found.n == count
    wanted = min(most or 800, 800)
    assert seen == [("timing on the device", done, wanted) for done in range(count)]


def test_where_nothing_is_copied_the_engine_stands_alone(clock):
    events = Events(copied=False)
    found = time_on_device(inferring(events, clock), source(events), most=3, timer=clock.timer)
    assert list(found.stages) == ["compute"]
    assert found.stages["compute"].p50_ms.value == 14


@pytest.mark.parametrize(("own_graphs", "here"), [(False, "none"), (True, "captured")])
def test_it_says_what_was_a_graph_here_and_before(clock, own_graphs, here):
    events = Events()
    found = time_on_device(inferring(events, clock), source(events, own_graphs), most=1, timer=clock.timer)
    assert (found.cuda_graph, found.cuda_graph_of_requests) == (here, "captured")


def test_a_device_that_fails_is_an_error_and_times_nothing_any_more():
    events, calls = Events(), itertools.count()

    def infer() -> float:
        if next(calls) == 5:
            raise SessionError("the GPU reported: an illegal address")
        events.began += 1
        return 1.0

    with pytest.raises(SessionError, match="illegal address"):
        time_on_device(infer, source(events))
    assert not events.on


def test_a_person_reads_both_clocks_beside_each_other(clock):
    events = Events()
    found = time_on_device(inferring(events, clock), source(events), most=3, timer=clock.timer)
    (requests,) = summarise_stages({"compute": np.array([7.25, 7.25, 9.0])}).values()
    assert list(found.lines(requests)) == [
        "on the device in ms, 3 inferences of their own: p50 h2d 1, compute 14, d2h 3; p99 h2d 1, compute 15, d2h 3",
        "  by the host's clock p50 105, CUDA graph: none; of the requests 7.25, CUDA graph: captured",
    ]
