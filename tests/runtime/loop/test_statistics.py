"""Percentiles by nearest rank, against a count; and memory that is made once."""

from __future__ import annotations

import itertools
import threading

from hypothesis import given
from hypothesis import strategies as st

from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.slots import Latest
from edgekit.runtime.loop.statistics import Statistics, Times, spread
from tests.runtime.loop.cameras import frame


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values):
    found = spread([float(value) for value in values], max(values))
    for share, value in ((0.5, found.p50), (0.99, found.p99)):
        wanted = min(item for item in values if sum(other <= item for other in values) >= share * len(values))
        assert value == wanted
    assert (found.n, found.max) == (len(values), max(values))


def test_the_last_times_are_kept_exactly_and_the_largest_of_all():
    times = Times(kept=4)
    assert list(times.last()) == []
    for value in (9.0, 1.0, 2.0):
        times.add(value)
    assert sorted(times.last()) == [1.0, 2.0, 9.0]
    for value in (3.0, 4.0, 5.0):
        times.add(value)
    assert sorted(times.last()) == [2.0, 3.0, 4.0, 5.0]
    assert times.largest == 9.0
    assert times.histogram.snapshot()["count"] == 6


def test_no_times_have_no_percentiles():
    assert spread([], 0.0).n == 0


def test_events_are_counted_also_when_they_are_no_longer_kept():
    events = Events()
    for number in range(1500):
        events.add("gap", "front", str(number))
    assert events.counts() == {"gap": 1500}
    kept = events.last()
    assert (len(kept), kept[0].message, kept[-1].message) == (1000, "500", "1499")
    assert all(before.at_s <= after.at_s for before, after in itertools.pairwise(kept))


def test_events_of_a_supervised_task_have_its_clock_and_its_name_also_those_from_before():
    heard = []
    events = Events(heard.append)
    events.add("opened", "front")
    events.belong_to("see", events.start_ns - 5 * 10**9)
    events.add("lost", "front", "the cable is out")
    events.add("blind")
    before, lost, blind = events.last()
    assert 5 <= before.at_s <= lost.at_s <= blind.at_s < 65
    assert [event.task for event in (before, lost, blind)] == ["see"] * 3
    assert heard[1] == lost
    assert str(lost) == f"{lost.at_s:.1f} see front lost: the cable is out"
    assert str(blind) == f"{blind.at_s:.1f} see blind"
    assert str(heard[0]) == f"{heard[0].at_s:.1f} front opened"


def test_nobody_reads_the_counts_in_the_middle_of_a_change(monkeypatch):
    slot, found = Latest(), []
    statistics = Statistics([slot], ["front"], None)
    reader = threading.Thread(target=lambda: found.append(statistics.snapshot()))
    add = Times.add

    def slow(self, value):
        reader.start()
        reader.join(0.1)
        add(self, value)

    monkeypatch.setattr(Times, "add", slow)
    slot.put(frame(0))
    slot.pop()
    statistics.answered(0, 1.0, False)
    reader.join(30)
    assert (found[0]["processed"], found[0]["age_ms"]["count"]) == (1, 1)
