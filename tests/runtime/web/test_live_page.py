"""What the page is told, of real loops in their threads: numbers, frames with their own answers, and what it costs."""

from __future__ import annotations

import gc
import io
import threading
import weakref

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import UsageError
from edgekit.postprocess.boxes import Box
from edgekit.postprocess.classify import Label
from edgekit.runtime import Session
from edgekit.runtime.loop import Policy, StreamLoop
from edgekit.runtime.web import LivePage, View
from edgekit.specs import AudioPreprocess, ImagePreprocess
from tests.runtime.loop.cameras import Scripted, number_of, restless
from tests.runtime.web.pages import frame, get, processed, running, state, wait_for

PICTURE = np.zeros((60, 80, 3), np.uint8)


@pytest.fixture
def page(tmp_path):
    with LivePage(0, root=tmp_path) as made:
        yield made


def test_before_anything_runs_there_is_nothing_to_show(page):
    found = state(page)
    assert (found["sources"], found["loops"], found["machine"]) == ([], [], None)
    assert get(page.port, "/frame/0")[0].status == 404


def test_a_loop_that_has_not_begun_is_there_without_a_frame(page):
    page.watch(StreamLoop([Scripted(name="front"), Scripted(name="back")], number_of))
    found = state(page)
    assert [source["name"] for source in found["sources"]] == ["front", "back"]
    assert found["loops"][0]["state"] == "new"
    assert found["sources"][0]["since_ms"] is None
    assert get(page.port, "/frame/1")[0].status == 204


def test_the_numbers_are_those_of_the_loops_report(page):
    script = [*range(5), 7]  # a gap
    answers = iter([1.0, float("nan"), *[2.0] * 4])
    loop = StreamLoop(
        Scripted(*script), lambda frames: [next(answers)], page.sink, Policy(buffer="fifo", deadline_ms=1e-6)
    )
    page.watch(loop, {"": View(deadline_ms=1e-6)})
    report = loop.run()
    (found,) = state(page)["loops"]
    assert (found["state"], found["ended"]) == ("ended", "sources ended")
    for key in ("captured", "processed", "dropped", "held", "bad", "deadline_misses", "seconds"):
        assert found[key] == getattr(report, key), key
    assert (found["held"], found["processed"], found["deadline_ms"]) == (1, 6, 1e-6)
    assert found["age_ms"]["p99"] == report.age_ms.p99
    assert found["compute_ms"]["max"] == report.compute_ms.max
    assert [event["kind"] for event in found["events"]] == [event.kind for event in reversed(report.events)]
    assert {"gap", "bad", "good again"} == {event["kind"] for event in found["events"]}
    assert found["event_count"] == len(report.events)
    assert max(age for age in found["ages"] if age is not None) == pytest.approx(report.age_ms.max, abs=0.01)
    assert len(found["ages"]) == 120


def test_a_picture_and_its_answer_are_of_the_same_frame(page):
    """While frames come and go, every reply's brightness is the one that its answer names."""
    levels = [np.full((48, 64, 3), level, np.uint8) for level in range(0, 250, 25)]
    stop = threading.Event()

    def feed() -> None:
        number = 0
        while not stop.wait(0.0005):
            level = levels[number % len(levels)]
            page.sink(processed(level, [Label(str(level[0, 0, 0]), 0, 1.0)], number))
            number += 1

    thread = threading.Thread(target=feed)
    with restless():
        thread.start()
        try:
            wait_for(lambda: state(page)["sources"], "a first frame")
            found = [frame(page) for _ in range(60)]
        finally:
            stop.set()
            thread.join()
    for about, jpeg in found:
        level = int(about["answer"]["labels"][0][0])
        assert about["number"] % len(levels) == level // 25
        assert abs(float(np.asarray(Image.open(io.BytesIO(jpeg))).mean()) - level) < 3
    assert len({about["number"] for about, _ in found}) > 10


def test_the_same_frame_is_not_sent_twice(page):
    page.sink(processed(PICTURE, number=4))
    serial = frame(page)[0]["serial"]
    assert get(page.port, f"/frame/0?after={serial}")[0].status == 204
    page.sink(processed(PICTURE, number=4))  # a camera that was opened anew may count from the same number on
    assert get(page.port, f"/frame/0?after={serial}")[0].status == 200


def test_a_held_answer_says_so(page):
    page.sink(processed(PICTURE, "seen", 2, held=True))
    assert frame(page)[0]["held"] is True
    assert state(page)["sources"][0]["held"] is True


@pytest.mark.parametrize("shape", [(60, 80, 3), (60, 80)])
def test_boxes_lie_on_the_picture_and_so_does_what_the_network_sees(shape):
    spec = ImagePreprocess("image", "x", 30, 20, (0.0,) * 3, (1.0,) * 3)
    with LivePage(0, View(spec)) as page:
        page.sink(processed(np.zeros(shape, np.uint8), [Box("cat", 0, 0.9, (0.0, 0.0, 10.0, 20.0))]))
        about, jpeg = frame(page)
    # 60 x 80 becomes 30 x 40, of which 20 x 20 from (5, 10) on: two pixels of the picture for each.
    assert about["answer"]["boxes"][0]["corners"] == [20, 10, 40, 50]
    assert about["crop"] == [20, 10, 60, 50]
    assert (about["width"], about["height"]) == (80, 60)
    assert Image.open(io.BytesIO(jpeg)).size == (80, 60)


def test_a_network_that_sees_all_of_it_has_no_frame_around_it():
    with LivePage(0, View(ImagePreprocess("image", "x", 20, 20, (0.0,) * 3, (1.0,) * 3))) as page:
        page.sink(processed(np.zeros((50, 50, 3), np.uint8)))
        assert frame(page)[0]["crop"] is None


def test_a_frame_of_4k_is_sent_small(page):
    page.sink(processed(np.zeros((2160, 3840, 3), np.uint8)))
    about, jpeg = frame(page)
    assert (about["width"], about["height"]) == (3840, 2160)
    assert Image.open(io.BytesIO(jpeg)).size == (960, 540)


def test_a_sound_is_a_line_of_the_last_chunks_with_the_last_answer_there_was():
    with LivePage(0, View(AudioPreprocess("audio", "x", 16000))) as page:
        for number in range(71):
            chunk = np.full(512, number / 100, np.float32)
            page.sink(processed(chunk, [{"speech": np.float32(number)}] if number % 3 == 0 else [], number))
        about, picture = frame(page)
    assert picture == b""
    assert about["kind"] == "sound"
    assert about["answer"] == {"lines": ["speech 69"]}
    assert about["wave"]["level_db"] == pytest.approx(20 * np.log10(0.70), abs=0.06)
    (line,) = about["wave"]["lines"]
    assert (line[0], line[-1]) == (pytest.approx(0.07), pytest.approx(0.70))  # 64 chunks are kept


def test_before_the_first_window_a_sound_says_so():
    with LivePage(0, View(AudioPreprocess("audio", "x", 16000))) as page:
        page.sink(processed(np.zeros(512, np.float32), []))
        assert frame(page)[0]["answer"] == {"lines": ["no window is whole yet"]}


def test_values_are_lines_and_a_chunk_too_large_to_keep_is_shown_alone(page):
    page.sink(processed(np.array([[1.0, 2.0]]), number=0))
    page.sink(processed(np.array([[3.0, 4.0]]), number=1))
    about, _ = frame(page)
    assert (about["kind"], about["wave"]["lines"]) == ("values", [[1, 3], [2, 4]])
    page.sink(processed(np.ones((20_000, 1)), number=2))
    assert set(frame(page)[0]["wave"]["lines"][0]) == {1}


@pytest.mark.parametrize("data", [np.zeros((2, 3, 4), np.float32), np.zeros((0, 4, 3), np.uint8), np.array("x"), 3])
def test_what_is_neither_is_named(page, data):
    page.sink(processed(data, "seen"))
    about, picture = frame(page)
    assert (about["kind"], picture, about["answer"]) == ("other", b"", {"lines": ["seen"]})


def test_a_real_bundle_says_who_computes(small_bundle, page):
    with Session.open(small_bundle, "ort") as session:
        sample = np.zeros(session.inputs["image"].shape[1:], np.float32)
        view = View.of(session, Policy(deadline_ms=50))
        loop = StreamLoop(Scripted(*(processed(sample, number=n).frame for n in range(3))), session, page.sink)
        page.watch(loop, {"": view})
        loop.run()
        (found,) = state(page)["loops"]
        assert found["who"] == {key: session.health()[key] for key in ("backend", "device", "reason")}
        assert found["deadline_ms"] == 50
        assert frame(page)[0]["answer"]["lines"][0].startswith("logits float32[5] ")
    assert state(page)["loops"][0]["who"]["backend"] == "ort"  # also when the session is closed


def test_several_loops_have_their_names_their_views_and_their_sources(page):
    see = StreamLoop([Scripted(0, name="left"), Scripted(0, name="right")], number_of, page.sink)
    hear = StreamLoop(Scripted(0, name="microphone:"), number_of, page.sink)
    seeing = View(ImagePreprocess("image", "x", 20, 10, (0.0,) * 3, (1.0,) * 3))
    page.watch({"see": see, "hear": hear}, {"see": seeing, "hear": View(deadline_ms=7)})
    see.run()
    hear.run()
    found = state(page)
    assert [(loop["name"], loop["processed"], loop["deadline_ms"]) for loop in found["loops"]] == [
        ("see", 2, None),
        ("hear", 1, 7),
    ]
    assert [source["name"] for source in found["sources"]] == ["left", "right", "microphone:"]
    for index, (source, age) in enumerate((("left", 9e3), ("right", 7e3), ("microphone:", 8e3))):
        page.sink(processed(PICTURE, source=source)._replace(age_ms=age))
        assert ("crop" in frame(page, index)[0]) == (source != "microphone:")
    wait_for(lambda: [max(filter(None, loop["ages"])) for loop in state(page)["loops"]] == [9e3, 8e3], "the oldest")


def test_two_loops_with_one_source_and_a_view_of_none_are_refused_in_one_line(page):
    loops = {name: StreamLoop(Scripted(name="front"), number_of) for name in ("see", "hear")}
    with pytest.raises(UsageError, match="expected sources with names of their own, found two called front"):
        page.watch(loops)
    with pytest.raises(UsageError, match="expected views of see, hear, found one of her"):
        page.watch(loops, {"her": View()})


def test_the_numbers_move_while_a_loop_runs(page):
    with running(page, number_of, PICTURE):
        first = wait_for(lambda: next((loop for loop in state(page)["loops"] if loop["processed"]), None), "an answer")
        later = wait_for(
            lambda: next((loop for loop in state(page)["loops"] if loop["processed"] > first["processed"] + 50), None),
            "fifty more",
        )
        # Of two seconds that are whole; the loop has run for one by now.
        wait_for(lambda: state(page)["loops"][0]["rate"] > 10, "a rate")
        assert later["seconds"] > first["seconds"]
    assert wait_for(lambda: state(page)["loops"][0]["ended"], "the end") == "stopped"


def test_state_is_made_once_for_many_who_ask(page):
    asked = []
    loop = StreamLoop(Scripted(), number_of)
    real = loop.report
    loop.report = lambda: asked.append(1) or real()
    page.watch(loop)
    bodies = [get(page.port, "/state")[1] for _ in range(20)]
    assert len(asked) < 20
    assert len(set(bodies)) == len(asked)


def test_a_sink_neither_copies_nor_encodes(page, monkeypatch):
    """No frame is held but the last, and Pillow is asked once somebody looks, and once a frame."""
    from edgekit.data import jpeg

    encoded = []
    real = jpeg.jpeg_of
    monkeypatch.setattr(jpeg, "jpeg_of", lambda picture: encoded.append(picture) or real(picture))
    alive = []
    for number in range(50):
        picture = np.zeros((300, 400, 3), np.uint8)
        alive.append(weakref.ref(picture))
        page.sink(processed(picture, number=number))
    del picture
    assert encoded == []
    assert [ref() is not None for ref in alive] == [False] * 49 + [True]
    for _ in range(3):
        frame(page)
    assert len(encoded) == 1
    assert encoded[0] is alive[-1]()


def test_what_is_served_leaves_nothing_to_the_garbage_collector(page):
    """It rests under `realtime()`: a cycle a request would be a leak."""
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            page.sink(processed(PICTURE, [Label("cat", 0, 0.5)], number))
            for path in ("/", "/state", "/frame/0"):  # not by `frame`: the parser of MIME makes cycles
                assert get(page.port, path)[0].status == 200
        assert gc.collect() < 25
    finally:
        gc.enable()


def test_a_camera_whose_frames_have_no_source_is_shown_too(page):
    page.sink(processed(PICTURE, source=""))
    assert state(page)["sources"][0]["name"] == ""
    assert frame(page)[0]["kind"] == "picture"
