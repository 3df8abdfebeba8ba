"""Slots: what is handed over, what is dropped, and that the counts agree at every moment."""

from __future__ import annotations

import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runtime.loop import Fifo, Latest
from edgekit.runtime.loop.slots import Every
from tests.runtime.loop.cameras import frame, restless


def agrees(slot: Fifo) -> bool:
    captured, taken, dropped, waiting = slot.counts()
    return captured == taken + dropped + waiting


def test_the_newest_frame_is_taken_and_what_it_replaced_is_dropped():
    slot = Latest()
    for number in range(3):
        slot.put(frame(number))
    assert slot.counts() == (3, 0, 2, 1)
    assert slot.take(0).number == 2
    assert slot.take(0) is None
    assert slot.counts() == (3, 1, 2, 0)


def test_a_fifo_gives_frames_in_order_and_drops_the_oldest():
    slot = Fifo(3)
    for number in range(5):
        slot.put(frame(number))
    assert slot.counts() == (5, 0, 2, 3)
    assert [slot.take(0).number for _ in range(3)] == [2, 3, 4]


def test_a_closed_slot_still_gives_what_waits_and_drops_what_comes():
    slot = Fifo(2)
    slot.put(frame(0))
    slot.close()
    slot.put(frame(1))
    assert slot.counts() == (2, 0, 1, 1)
    assert slot.take(None).number == 0
    assert slot.take(None) is None, "closed: no wait without an end"


def test_what_is_left_or_was_never_answered_counts_as_dropped():
    slot = Fifo(4)
    for number in range(4):
        slot.put(frame(number))
    slot.take(0)
    slot.discard(unfinished=1)
    assert slot.counts() == (4, 0, 4, 0)
    assert slot.take(None) is None


def test_a_taker_wakes_for_a_frame_and_for_the_end():
    slot, found = Latest(), []
    taker = threading.Thread(target=lambda: found.extend([slot.take(60).number, slot.take(60)]))
    taker.start()
    time.sleep(0.05)  # it waits by now
    slot.put(frame(7))
    end_s = time.monotonic() + 30
    while slot.counts().waiting:
        assert time.monotonic() < end_s, "nobody woke it"
        time.sleep(0.001)
    slot.close()
    taker.join(30)
    assert found == [7, None]


def test_a_dropped_frame_gives_its_memory_back_and_only_as_many_live_as_wait():
    slot, living = Fifo(2), []
    for number in range(6):
        data = np.zeros(1000, np.uint8)
        living.append(weakref.ref(data))
        slot.put(frame(number, data=data))
        del data
    assert [item() is not None for item in living] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_slot_holds_something(capacity):
    with pytest.raises(UsageError, match="expected a capacity of at least 1, found"):
        Fifo(capacity)


@given(st.integers(1, 4), st.lists(st.sampled_from(["put", "take", "close", "discard"]), max_size=40))
def test_a_slot_is_a_queue_that_forgets_its_oldest(capacity, actions):
    slot, queue, closed, number, dropped, taken = Fifo(capacity), [], False, 0, 0, 0
    for action in actions:
        if action == "put":
            slot.put(frame(number))
            queue, dropped = (queue, dropped + 1) if closed else ([*queue, number], dropped)
            number += 1
            dropped += len(queue) > capacity
            queue = queue[-capacity:]
        elif action == "take":
            found = slot.take(0)
            assert (found and found.number) == (queue[0] if queue else None)
            taken += bool(queue)
            queue = queue[1:]
        else:
            closed = True
            slot.close() if action == "close" else slot.discard()
            if action == "discard":
                dropped, queue = dropped + len(queue), []
        assert slot.counts() == (number, taken, dropped, len(queue))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 300))
def test_counts_agree_at_every_moment_between_threads_and_numbers_only_rise(capacity, count):
    slot, seen, wrong = Fifo(capacity), [], []

    def capture():
        for number in range(count):
            slot.put(frame(number))
        slot.close()

    def take():
        while (found := slot.take(30)) is not None:
            seen.append(found.number)

    def watch():
        while not slot.closed:
            if not agrees(slot):
                wrong.append(slot.counts())

    threads = [threading.Thread(target=each) for each in (capture, take, watch)]
    with restless():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    captured, taken, dropped, waiting = slot.counts()
    assert not wrong
    assert (captured, waiting) == (count, 0)
    assert taken == len(seen) == count - dropped
    assert seen == sorted(set(seen))
    assert seen[-1] == count - 1, "the last frame of a recording is never dropped"


def test_every_waits_for_room_and_drops_nothing():
    slot, given = Every(2), []

    def put():
        for number in range(200):
            slot.put(frame(number))
            given.append(number)
        slot.close()

    thread = threading.Thread(target=put)
    with restless():
        thread.start()
        taken = []
        while (item := slot.take(30)) is not None:
            taken.append(item.number)
            assert len(given) - len(taken) <= 3, "two wait, and one may have been put and not be noted yet"
            assert agrees(slot)
        thread.join(30)
    assert taken == list(range(200))
    assert slot.counts() == (200, 200, 0, 0)


def test_who_waits_for_room_stops_waiting_when_the_slot_is_closed():
    slot = Every(1)
    slot.put(frame(0))
    thread = threading.Thread(target=slot.put, args=(frame(1),))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    assert slot.counts() == (1, 0, 0, 1)
    slot.close()
    thread.join(30)
    assert not thread.is_alive()
    assert slot.counts() == (2, 0, 1, 1)
