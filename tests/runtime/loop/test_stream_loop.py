"""The loop with functions as work: what is counted, what ends it, and what sinks see."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from edgekit.errors import DataError, SessionError, UsageError
from edgekit.runtime.loop import Policy, StreamLoop
from edgekit.runtime.sources import Backoff, Reconnecting, SourceLost
from tests.runtime.loop.cameras import Camera, Scripted, frame, number_of, restless, wait_until_captured

FIFO = Policy(buffer="fifo", capacity=100)


def agrees(report) -> bool:
    sources = all(source.captured == source.processed + source.dropped for source in report.sources)
    return sources and report.captured == report.processed + report.dropped


def kinds(report) -> list[str]:
    return [event.kind for event in report.events]


def test_every_frame_of_a_fifo_is_answered_in_order_and_given_to_each_sink():
    first, second = [], []
    report = StreamLoop(Scripted(0, 1, 2), number_of, [first.append, second.append], FIFO).run()
    assert [(item.frame.number, item.answer, item.held) for item in first] == [(n, n, False) for n in range(3)]
    assert first == second
    for item in first:
        assert item.frame.captured_ns <= item.timing.start_ns <= item.timing.end_ns
        assert item.age_ms >= (item.timing.end_ns - item.frame.captured_ns) / 1e6
    assert (report.ended, report.state) == ("sources ended", "ended")
    assert (report.captured, report.processed, report.dropped) == (3, 3, 0)
    assert report.events == ()


def test_while_the_loop_computes_all_but_the_newest_frame_are_dropped():
    source = Scripted(0, ends=False)

    def work(frames):
        if frames[0].number == 0:
            for number in (1, 2, 3):
                source.give(number)
            wait_until_captured(loop, 4)
            now = loop.snapshot()
            assert [now[key] for key in ("processed", "under_way", "dropped", "waiting")] == [0, 1, 2, 1]
        return number_of(frames)

    seen = []
    loop = StreamLoop(source, work, seen.append)
    report = loop.run(frames=2)
    assert [item.answer for item in seen] == [0, 3]
    assert (report.ended, report.captured, report.processed, report.dropped) == ("frames", 4, 2, 2)
    assert source.closed == 1


def test_counts_agree_at_every_moment_that_another_thread_looks():
    wrong, looks = [], 0
    loop = StreamLoop(Camera(10_000, 4000), number_of, lambda item: time.sleep(0.05 * (item.frame.number == 0)))

    def look():
        nonlocal looks
        while loop.state != "ended":
            now = loop.snapshot()
            for counts in (now, *now["sources"].values()):
                if counts["captured"] != sum(counts[key] for key in ("processed", "under_way", "dropped", "waiting")):
                    wrong.append(counts)
            assert now["age_ms"]["count"] == now["processed"]
            looks += 1

    looker = threading.Thread(target=look)
    with restless():
        looker.start()
        report = loop.run()
        looker.join()
    assert not wrong
    assert looks > 10
    assert report.captured == 4000
    assert report.dropped > 0
    assert agrees(report)


def test_stop_from_another_thread_finishes_the_frame_under_way_and_drops_the_rest():
    begun, go_on = threading.Event(), threading.Event()

    def work(frames):
        begun.set()
        go_on.wait(30)
        return number_of(frames)

    seen, source = [], Scripted(*range(5), ends=False)
    loop = StreamLoop(source, work, seen.append, FIFO)

    def stop():
        begun.wait(30)
        loop.stop("the operator")
        go_on.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    report = loop.run()
    stopper.join()
    assert [item.answer for item in seen] == [0]
    assert report.ended == "the operator"
    assert report.processed == 1
    assert agrees(report)
    assert not [thread.name for thread in threading.enumerate() if thread.name in ("capture front", "watchdog")]


def test_the_first_reason_to_stop_is_the_one_that_is_told():
    loop = StreamLoop(Scripted(0, ends=False), number_of)
    loop.stop("first")
    loop.stop("second")
    assert loop.run().ended == "first"


class Reluctant(Scripted):
    """Is closed, and then takes its time, and raises; or never ends."""

    def __init__(self, *, ends: bool):
        super().__init__(0, ends=False)
        self.ending = ends

    def frames(self):
        yield from super().frames()
        time.sleep(0.3 if self.ending else 1.5)
        raise OSError("read from a closed device")


def test_capture_threads_are_joined_and_what_they_raise_when_closed_is_no_event():
    report = StreamLoop(Reluctant(ends=True), number_of).run(frames=1)
    assert report.events == ()
    assert "capture front" not in [thread.name for thread in threading.enumerate()]


def test_a_source_that_does_not_let_go_is_told_and_left_alone(monkeypatch):
    monkeypatch.setattr("edgekit.runtime.loop.intake._JOIN_S", 0.05)
    report = StreamLoop(Reluctant(ends=False), number_of).run(frames=1)
    assert [(event.kind, event.source) for event in report.events] == [("source hangs", "front")]
    assert agrees(report)
    next(thread for thread in threading.enumerate() if thread.name == "capture front").join()


def test_a_source_that_cannot_be_closed_is_told():
    source = Scripted(0)
    source.close = lambda: 1 / 0
    report = StreamLoop(source, number_of).run()
    assert [(event.kind, event.message) for event in report.events] == [("close failed", "division by zero")]


def test_a_loop_without_frames_ends_in_time_and_says_so():
    report = StreamLoop(Scripted(ends=False), number_of).run(seconds=0.05)
    assert (report.ended, report.captured, report.age_ms.n) == ("seconds", 0, 0)
    assert report.seconds >= 0.05


def test_a_loop_runs_once():
    loop = StreamLoop(Scripted(0), number_of)
    assert loop.state == "new"
    loop.run()
    with pytest.raises(SessionError, match="expected a loop that has not run yet"):
        loop.run()


@pytest.mark.parametrize("error", [SourceLost("the camera went away"), RuntimeError("a driver's own words")])
def test_a_source_that_goes_away_is_told_and_the_others_go_on(error):
    left, right = Scripted(error, name="left"), Scripted(*range(3), name="right")
    seen = []
    report = StreamLoop([left, right], number_of, seen.append, FIFO).run()
    assert report.ended == "source lost"
    assert [item.answer for item in seen] == [0, 1, 2]
    kind = "lost source" if isinstance(error, SourceLost) else "failed source"
    assert [(event.kind, event.source, event.message) for event in report.events] == [(kind, "left", str(error))]
    assert report.left_out == 3


WRONG = [UsageError("no such scheme"), DataError("no such file")]


@pytest.mark.parametrize("error", WRONG)
def test_a_source_that_never_was_one_ends_the_loop_at_once(error):
    left, right = Scripted(error, name="left"), Scripted(0, name="right", ends=False)
    report = StreamLoop([left, right], number_of).run(seconds=30)
    assert (report.ended, report.failed) == ("wrong source", "wrong source")
    assert [(event.kind, event.source, event.message) for event in report.events] == [
        ("failed source", "left", str(error))
    ]


@pytest.mark.parametrize("error", WRONG)
def test_a_source_that_gave_a_frame_had_the_right_name(error):
    assert StreamLoop(Scripted(0, error), number_of).run().ended == "source lost"


def test_the_age_of_the_last_good_answer_grows_until_the_next():
    source, seen = Scripted(ends=False), []
    loop = StreamLoop(source, lambda frames: [frames[0].data[0]], seen.append, Policy(bad_limit=99))
    assert loop.ages() == {"now": None, "p50": 0.0, "p99": 0.0, "max": 0.0}
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:

        def give(number: int, value: float) -> dict:
            source.give(frame(number, data=[value], age_s=number))
            while len(seen) < number:
                time.sleep(0.001)
            return loop.ages()

        assert give(1, float("nan"))["now"] is None, "there was no good one yet"
        second = give(2, 1.0)
        assert 2000 <= second["now"] <= 2000 + 30_000
        assert second["p99"] == second["max"] >= second["p50"]
        assert loop.ages()["now"] > second["now"]
        assert give(3, float("nan"))["now"] >= second["now"], "that of the second still"
    finally:
        loop.stop()
        thread.join()
    now_ms = loop.ages()["now"]
    assert abs(now_ms - (time.perf_counter_ns() - seen[1].frame.captured_ns) / 1e6) < 1000
    assert loop.ages()["p50"] == loop.report().age_ms.p50


def test_of_several_cameras_the_oldest_answer_counts():
    left, right = Scripted(frame(0, "left", age_s=7), name="left"), Scripted(name="right", ends=False)
    loop = StreamLoop([left, right], number_of, (), FIFO)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        while loop.snapshot()["processed"] < 1:
            time.sleep(0.001)
        assert loop.ages()["now"] is None, "one has none yet"
        right.give(frame(0, "right", age_s=1))
        while loop.snapshot()["processed"] < 2:
            time.sleep(0.001)
        assert loop.ages()["now"] >= 7000
    finally:
        loop.stop()
        thread.join()


def test_a_hole_in_the_numbers_of_a_source_is_an_event_but_dropped_frames_are_none():
    report = StreamLoop(Scripted(3, 4, 7, 8), number_of).run()
    assert [(event.kind, event.message) for event in report.events] == [("gap", "expected frame 5, found 7")]


def test_several_cameras_are_one_batch_and_who_has_no_frame_is_left_out_and_not_given_again():
    left, right, turns = Scripted(0, name="left", ends=False), Scripted(10, name="right", ends=False), []

    def work(frames):
        turns.append(number_of(frames))
        if len(turns) == 1:
            left.give(1)
            right.give(11)
        elif len(turns) == 2:
            left.give(2)
        return [None if item is None else f"{item.source} {item.number}" for item in frames]

    seen = []
    policy = Policy(wait_ms=200, deadline_ms=60_000)
    report = StreamLoop([left, right], work, seen.append, policy).run(frames=5)
    assert turns == [[0, 10], [1, 11], [2, None]]
    said = [(f"{item.frame.source} {item.frame.number}", item.answer, item.held) for item in seen]
    names = ["left 0", "right 10", "left 1", "right 11", "left 2"]
    assert said == [(name, name, False) for name in names]
    assert (report.processed, report.left_out, report.held, report.deadline_misses) == (5, 1, 0, 0)
    assert [source.processed for source in report.sources] == [3, 2]


@pytest.mark.parametrize(("fast", "slow"), [(30, 15), (60, 7)])
def test_a_slower_camera_of_a_batch_is_neither_held_nor_late(fast, slow):
    """What a sink counts is what the report does, and the drive of a robot need not stop for it."""
    cameras, seen = [Camera(fast, 10**6, "fast"), Camera(slow, 10**6, "slow")], []
    report = StreamLoop(cameras, number_of, seen.append, Policy(deadline_ms=10_000)).run(seconds=2)
    assert not any(item.held for item in seen)
    assert (report.bad, report.held, report.deadline_misses) == (0, 0, 0)
    assert report.left_out >= fast / 4, "nearly every other turn, or more, on however busy a machine"
    for source in report.sources:
        numbers = [item.frame.number for item in seen if item.frame.source == source.name]
        assert len(numbers) == len(set(numbers)) == source.processed, "each once"
        assert source.captured == source.processed + source.dropped > 0


def test_an_event_of_a_hang_names_the_sources():
    def work(frames):
        time.sleep(0.3)
        return number_of(frames)

    sources = [Scripted(0, name="left"), Scripted(0, name="right")]
    report = StreamLoop(sources, work, policy=Policy(watchdog_ms=50, wait_ms=20_000)).run()
    assert [(event.kind, event.source) for event in report.events] == [
        ("hung", "left, right"),
        ("recovered", "left, right"),
    ]


def test_a_batch_begins_as_soon_as_all_cameras_have_a_frame_or_have_ended():
    sources = [Scripted(0, name="left"), Scripted(0, 1, 2, name="right")]
    start = time.monotonic()
    StreamLoop(sources, number_of, policy=Policy("fifo", wait_ms=20_000)).run()
    assert time.monotonic() - start < 10


def answers(*script):
    """Work that gives these answers, one a frame; an exception is raised."""
    left = list(script)

    def work(frames):
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    return work


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "bad", [NAN, np.array([1, -INF]), {"boxes": [np.float32(NAN)]}, SessionError("the GPU failed")]
)
def test_a_bad_answer_is_replaced_by_the_last_good_one_which_is_older(bad):
    seen = []
    source = Scripted(0, frame(1, age_s=5), 2, 3)
    report = StreamLoop(source, answers(bad, 1.0, bad, 3.0), seen.append, FIFO).run()
    assert [(item.frame.number, item.answer, item.held) for item in seen] == [
        (0, None, True),
        (1, 1.0, False),
        (2, 1.0, True),
        (3, 3.0, False),
    ]
    assert [item.age_ms >= 5000 for item in seen] == [False, True, True, False]
    assert kinds(report) == ["bad", "good again", "bad", "good again"]
    why = "the GPU failed" if isinstance(bad, SessionError) else "NaN or infinity in the answer"
    assert report.events[0].message == f"frame 0: {why}"
    assert (report.processed, report.bad, report.held, report.state) == (4, 2, 2, "ended")


def test_a_bad_answer_is_passed_on_where_the_policy_says_so():
    seen = []
    policy = Policy("fifo", on_bad="pass")
    report = StreamLoop(Scripted(0, 1), answers(1.0, INF), seen.append, policy).run()
    assert [(item.answer, item.held) for item in seen] == [(1.0, False), (INF, False)]
    assert (report.bad, report.held) == (1, 0)


@pytest.mark.parametrize("on_bad", ["hold", "stop"])
def test_many_bad_answers_in_a_row_degrade_or_stop_the_loop(on_bad):
    states = []

    def sink(item):
        wait_until_captured(loop, 5)
        states.append(loop.state)

    policy = Policy("fifo", on_bad=on_bad, bad_limit=2)
    loop = StreamLoop(Scripted(*range(5)), answers(0.0, NAN, NAN, NAN, 4.0), sink, policy)
    report = loop.run()
    if on_bad == "stop":
        assert (report.ended, report.processed, report.dropped) == ("bad answers", 3, 2)
        assert kinds(report) == ["bad", "degraded"]
    else:
        assert report.ended == "sources ended"
        assert states == ["running", "running", "degraded", "degraded", "running"]
        assert kinds(report) == ["bad", "degraded", "good again"]


def test_a_frame_that_does_not_fit_is_a_bad_answer_but_a_bug_ends_the_loop_and_is_raised():
    source = Scripted(*range(4), ends=False)
    loop = StreamLoop(source, answers(0.0, DataError("expected a picture"), KeyError("a bug")), (), FIFO)
    with pytest.raises(KeyError, match="a bug"):
        loop.run()
    report = loop.report()
    assert report.ended == "KeyError"
    assert (report.processed, report.bad) == (2, 1)
    assert agrees(report)
    assert source.closed


@pytest.mark.parametrize("answer", [7, [], [1, 2], "ab"])
def test_work_that_gives_not_one_answer_a_camera_is_refused(answer):
    with pytest.raises(UsageError, match=r"expected a list of 1 answers of the loop's function, one a camera, found"):
        StreamLoop(Scripted(0), lambda frames: answer).run()


def test_a_sink_that_raises_is_counted_and_told_and_the_others_still_hear():
    def broken(item):
        if item.answer in (1, 2, 4):
            raise OSError("disk full")

    seen = []
    report = StreamLoop(Scripted(*range(6)), number_of, [broken, seen.append], FIFO).run()
    assert len(seen) == 6
    assert report.sink_errors == 3
    assert [event.message for event in report.events] == ["OSError: disk full"] * 2, "one a series"


def test_a_sink_that_does_not_come_back_is_told_by_the_watchdog():
    told, heard = threading.Event(), []

    def hears(event):
        heard.append((event.kind, event.message.split(" within ")[0]))
        told.set()

    report = StreamLoop(Scripted(0), number_of, lambda item: told.wait(30), Policy(watchdog_ms=50), hears).run()
    assert heard[0] == ("hung", "expected the sinks")
    assert list(report.event_counts) == ["hung", "recovered"]


def test_a_recording_is_answered_wholly_however_slow_the_work_is():
    camera = Camera(10_000, 50)
    report = StreamLoop(camera, lambda frames: (time.sleep(0.001), number_of(frames))[1], (), Policy("every", 2)).run()
    assert (report.captured, report.processed, report.dropped) == (50, 50, 0)


def test_a_loop_that_is_stopped_lets_go_of_a_source_that_waits_for_room():
    loop = StreamLoop(Camera(10_000, 50), number_of, lambda item: loop.stop(), Policy("every", 1))
    report = loop.run()
    assert agrees(report)
    assert report.processed == 1
    assert not report.event_counts


def test_sinks_that_only_raise_stop_the_loop():
    def broken(item):
        raise OSError("disk full")

    policy = Policy("fifo", sink_error_limit=3)
    report = StreamLoop(Scripted(*range(6)), number_of, broken, policy).run()
    assert (report.ended, report.processed, report.sink_errors, kinds(report)) == ("sink errors", 3, 3, ["sink error"])


def test_a_sink_that_only_raises_stops_the_loop_whatever_another_does():
    seen = []

    def broken(item):
        raise OSError("no motor")

    report = StreamLoop(Scripted(*range(100)), number_of, [broken, seen.append], FIFO).run()
    assert (report.ended, report.failed, len(seen)) == ("sink errors", "sink errors", FIFO.sink_error_limit)
    assert report.event_counts == {"sink error": 1}


def test_a_camera_that_is_silent_or_gone_while_another_goes_on_is_seen():
    states, silent = [], Scripted(0, name="rear", ends=False)
    policy = Policy(wait_ms=1, silent_ms=200, deadline_ms=100)

    def look(item):
        if item.frame.source == "front":
            states.append(loop.state)

    loop = StreamLoop([Camera(50, 40), silent], number_of, look, policy)
    thread = threading.Timer(0.5, lambda: silent.give(1))
    thread.start()
    report = loop.run(seconds=1.5)
    kinds_seen = [event.kind for event in report.events]
    assert kinds_seen[0] == "silent"
    assert report.events[0].message == "no frame for 0.2 s"
    assert states[0] == "running"
    assert "blind" in states
    assert loop.ages()["now"] >= 900, "the silent one's last answer, older each moment"
    assert report.sources[1].processed == 2, "and not given again"
    gone = StreamLoop([Camera(200, 40), Scripted(SourceLost("unplugged"), name="rear")], number_of, (), policy)
    thread = threading.Timer(0.1, lambda: states.append(gone.state))
    thread.start()
    gone.run()
    thread.join()
    assert states[-1] == "blind"


def test_a_camera_that_stays_open_and_gives_nothing_is_opened_anew_again_and_again():
    made = []

    def opens():
        made.append(Scripted(0, 1, name="front", ends=False) if len(made) != 1 else Scripted(name="front", ends=False))
        return made[-1]

    seen = []
    camera = Reconnecting(opens, backoff=Backoff(0.01, 0.01))
    report = StreamLoop(camera, number_of, seen.append, Policy("fifo", silent_ms=100)).run(frames=4)
    assert len(made) == 3, "the second gave nothing at all"
    assert [item.frame.number for item in seen] == [0, 1, 3, 4]
    kinds_seen = [event.kind for event in report.events]
    assert kinds_seen[:2] == ["silent", "lost"]
    assert kinds_seen.count("lost") == kinds_seen.count("back") == 1
    assert "found none for long" in report.events[1].message
    assert all(source.closed for source in made)


def test_a_source_that_waits_for_a_slow_loop_is_not_silent():
    policy = Policy("every", capacity=1, silent_ms=20)
    report = StreamLoop(Scripted(*range(4)), number_of, lambda item: time.sleep(0.05), policy).run()
    assert report.event_counts == {}


def test_a_loop_without_one_good_answer_failed():
    report = StreamLoop(Scripted(*range(3)), lambda frames: [float("nan")], (), FIFO).run()
    assert (report.ended, report.failed) == ("sources ended", "no good answer")
    report = StreamLoop(Scripted(), number_of, (), FIFO).run()
    assert report.failed == "", "no frame is no bad answer"


@pytest.mark.parametrize(
    ("sources", "work", "said"),
    [("clip.mp4", number_of, "expected sources of frames"), (Scripted(0), None, "expected a Session or a function")],
)
def test_what_is_no_source_and_no_work_is_refused(sources, work, said):
    with pytest.raises(UsageError, match=said):
        StreamLoop(sources, work)


def test_a_frame_that_is_older_than_the_deadline_missed_it():
    report = StreamLoop(Scripted(frame(0, age_s=5), 1, 2), number_of, (), Policy("fifo", deadline_ms=4000)).run()
    assert report.deadline_misses == 1
    assert 5000 <= report.age_ms.max < 9000
    assert report.age_ms.p50 < 4000


def test_a_report_is_json_and_health_and_notes_are_there():
    heard = []
    loop = StreamLoop(Scripted(0), number_of, on_event=heard.append)
    loop.note("opened anew", "after 2 s", "front")
    report = loop.run()
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (found["stage"], found["processed"], found["events"][0]["kind"]) == ("loop", 1, "opened anew")
    assert [(event.kind, event.source) for event in heard] == [("opened anew", "front")]
    assert loop.health() == {"state": "ended", "events": {"opened anew": 1}, "session": {}}


def test_a_listener_that_raises_is_an_event_and_no_more():
    def listener(event):
        raise ValueError("no")

    report = StreamLoop(Scripted(0, 2), number_of, on_event=listener, policy=FIFO).run()
    assert report.event_counts == {"gap": 1, "listener error": 1}
    assert report.processed == 2


@pytest.mark.parametrize("names", [(), ("a", "a")])
def test_sources_have_names_of_their_own(names):
    with pytest.raises(UsageError, match="expected at least one source, each with a name of its own, found"):
        StreamLoop([Scripted(name=name) for name in names], number_of)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"buffer": "lates"}, "buffer: expected latest, fifo, every, found 'lates'; did you mean 'latest'?"),
        ({"on_bad": "ignore"}, "on_bad: expected hold, pass, stop, found 'ignore'"),
        ({"capacity": 0}, "capacity: expected a whole number from 1 on, found 0"),
        ({"deadline_ms": 0}, "deadline_ms: expected milliseconds above 0, or None, found 0"),
        ({"watchdog_ms": NAN}, "watchdog_ms: expected milliseconds above 0, or None, found nan"),
        ({"wait_ms": -1.0}, "wait_ms: expected milliseconds from 0 on, found -1"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(UsageError) as found:
        Policy(**wrong)
    assert str(found.value).startswith(said)


def test_at_twice_the_sustainable_rate_the_newest_frame_stays_young_and_a_queue_does_not():
    """The bound itself is proved by tests/bench/loop.py; here in medians, against scheduling of a busy machine."""
    service_ms, period_ms = 10.0, 5.0
    ages = {}
    for policy in (Policy(), Policy("fifo", capacity=8)):
        camera, seen = Camera(1e3 / period_ms, 100), []

        def work(frames):
            time.sleep(service_ms / 1e3)
            return number_of(frames)

        report = StreamLoop(camera, work, seen.append, policy).run()
        assert agrees(report)
        assert report.captured == 100
        worst_service = max(item.timing.compute_ms for item in seen)
        bound = worst_service + period_ms + camera.late_ns / 1e6 + 2
        ages[policy.buffer] = report.age_ms.p50, bound
    assert ages["latest"][0] <= ages["latest"][1]
    assert ages["fifo"][0] > ages["fifo"][1]
    assert ages["fifo"][0] > 3 * ages["latest"][0]
