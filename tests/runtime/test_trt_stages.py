"""Events between the stages, on host memory in a device's place and a clock that is played; fake_driver/check_stages.py
has them in a driver."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgekit.errors import SessionError
from edgekit.runtime.cuda.host_device import HostDevice, HostError
from edgekit.runtime.trt_stages import Plan, StageEvents, StageTimes, stage_events


@pytest.fixture
def clock(monkeypatch):
    """Goes on by what is added to it, in ms."""
    played = SimpleNamespace(ms=0.0)
    monkeypatch.setattr("edgekit.runtime.cuda.host_device.time.perf_counter", lambda: played.ms / 1e3)
    return played


def plan_of(clock, seen: list[str]) -> tuple[Plan, SimpleNamespace]:
    """Two copies in of 1 ms, an engine of 20 ms, and a copy out of 300 ms."""

    def work(name: str, ms: float):
        def run(*_):
            seen.append(name)
            clock.ms += ms

        return run

    engine = SimpleNamespace(address=lambda name, address: seen.append(f"{name} at {address}"), enqueue=work("run", 20))
    return Plan([work("in", 1), work("in", 1)], [work("out", 300)], {"x": 7}), engine


@pytest.mark.parametrize("integrated", [False, True])
def test_stages_are_between_their_events(clock, integrated):
    events, seen = StageEvents(HostDevice(integrated=integrated)), []
    plan, engine = plan_of(clock, seen)
    with events:
        for _ in range(3):
            events.begin()
            plan.enqueue(engine, 0, events.stamp)
            wanted = (None, pytest.approx(20), None) if integrated else pytest.approx((2, 20, 300))
            assert events.times() == wanted
    assert seen == ["x at 7", "in", "in", "run", "out"] * 3


def test_without_being_entered_nothing_is_recorded(clock, monkeypatch):
    events, seen = StageEvents(HostDevice()), []
    plan, engine = plan_of(clock, seen)
    monkeypatch.setattr(HostDevice, "record", lambda *_: pytest.fail("an event was recorded"))
    events.begin()
    plan.enqueue(engine, 0, events.stamp)
    assert seen == ["x at 7", "in", "in", "run", "out"]
    with pytest.raises(SessionError, match=r"^expected an inference whose stages were timed, found none since"):
        events.times()


def test_one_that_broke_off_is_not_mixed_with_the_next(clock):
    events = StageEvents(HostDevice())
    plan, engine = plan_of(clock, [])
    with events:
        events.begin()
        events.stamp()
        with pytest.raises(SessionError, match="found none since"):
            events.times()
        events.begin()
        plan.enqueue(engine, 0, events.stamp)
        assert events.times() == pytest.approx(StageTimes(2, 20, 300))


def test_times_are_told_once_and_not_after_the_device_took_its_events(clock):
    events = StageEvents(HostDevice())
    plan, engine = plan_of(clock, [])
    with events:
        for end in (events.times, events.close):
            events.begin()
            plan.enqueue(engine, 0, events.stamp)
            end()
            with pytest.raises(SessionError, match="found none since"):
                events.times()
    assert not events.on


def test_events_that_there_are_not_are_one_line(monkeypatch):
    def refuse(self):
        raise HostError("cuEventCreate failed: out of memory")

    monkeypatch.setattr(HostDevice, "event", refuse)
    events = StageEvents(HostDevice())
    with pytest.raises(SessionError, match=r"^the GPU reported: cuEventCreate failed: out of memory; next: "), events:
        pytest.fail("it was entered")
    assert not events.on


def test_a_plan_that_is_cleared_has_no_memory_any_more(clock):
    seen: list[str] = []
    plan, engine = plan_of(clock, seen)
    plan.clear()
    plan.enqueue(engine, 0, lambda: None)
    assert seen == ["x at 7", "run"]


def test_only_a_backend_that_has_stages_can_be_timed():
    made = StageEvents(HostDevice())
    for backend, wanted in ((SimpleNamespace(stages=made), made), (SimpleNamespace(), None)):
        session = SimpleNamespace(_runner=SimpleNamespace(mine=lambda backend=backend: backend))
        assert stage_events(session) is wanted
