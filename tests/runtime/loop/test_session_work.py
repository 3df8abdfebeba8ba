"""A Session in the loop: batch positions are cameras, states follow the frames, and the loop outlives an inference."""

from __future__ import annotations

import threading

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from edgekit.bundle import verify  # noqa: E402
from edgekit.errors import SessionError, ShapeError, UsageError  # noqa: E402
from edgekit.runtime import Session  # noqa: E402
from edgekit.runtime.choice import Choice  # noqa: E402
from edgekit.runtime.loop import Policy, StreamLoop  # noqa: E402
from edgekit.runtime.opening import Opened  # noqa: E402
from edgekit.specs import Classify, ImagePreprocess, SeriesPreprocess, Stream  # noqa: E402
from tests.runtime.fakes import Doubler, Failing  # noqa: E402
from tests.runtime.loop.cameras import Scripted, frame  # noqa: E402
from tests.runtime.small_streams import FLOAT, bundle_of, made, running_sum, value  # noqa: E402

FIFO = Policy(buffer="fifo", capacity=100)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(6, 3, 8, 8)).astype(np.float32)
IMAGE_PIXELS = ImagePreprocess("image", "image", 8, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CLASSES = Classify("classify", "logits", ("a", "b", "c", "d", "e"))


def faked(bundle, backend) -> Session:
    return Session(Opened(verify(bundle), Choice("fake", None, "a test"), backend, None))


def images(*numbers: int, name: str = "front", of=IMAGES):
    return [frame(number, name, of[number]) for number in numbers]


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    ranges = {"batch": (1, 1, 4), "time": (1, 1, 8)}
    return bundle_of(running_sum(), tmp_path_factory.mktemp("sums"), Stream(("total=total_out",)), ranges)


def test_each_camera_is_a_batch_position_and_answers_are_onnxruntimes_and_stay_as_they_are(small_bundle):
    seen = []
    sources = [Scripted(*images(0, 1, name="left"), name="left"), Scripted(*images(2, 3, name="right"), name="right")]
    with Session.open(small_bundle, "ort") as session:
        report = StreamLoop(sources, session, seen.append, Policy("fifo", wait_ms=5000)).run()
    raw = onnxruntime.InferenceSession(small_bundle / "model.onnx", providers=["CPUExecutionProvider"])
    wanted = raw.run(["logits"], {"image": IMAGES})[0]
    assert [(item.frame.source, item.frame.number) for item in seen] == [
        ("left", 0),
        ("right", 2),
        ("left", 1),
        ("right", 3),
    ]
    for item in seen:
        np.testing.assert_allclose(item.answer["logits"], wanted[item.frame.number], rtol=1e-5, atol=1e-6)
    assert (report.processed, report.health["runs"], report.health["backend"]) == (4, 2, "ort")


def test_a_picture_goes_through_the_bundles_own_preprocessing_and_labels_come_back(small_bundle):
    pixels, seen = RANDOM.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8), []
    with Session.open(small_bundle, "ort") as session:
        session.preprocessing, session.postprocessing = IMAGE_PIXELS, CLASSES
        left, right = Scripted(*images(0, 2, of=pixels)), Scripted(*images(1, of=pixels), name="right")
        StreamLoop([left, right], session, seen.append, Policy("fifo", wait_ms=5000)).run()
        session.set_shape("image", (3, 3, 8, 8))
        found = session.run({"image": pixels.transpose(0, 3, 1, 2).astype(np.float32)})["logits"]
    given = {item.frame.number: item.answer[0] for item in seen if not item.held}
    assert [given[number].name for number in range(3)] == ["abcde"[best] for best in found.argmax(1)]
    odds = np.exp(found.astype(np.float64) - found.max(1, keepdims=True))
    likely = (odds / odds.sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose([given[number].probability for number in range(3)], likely, rtol=1e-4)


class Poisoned(Doubler):
    """Gives NaN for a batch position whose first value is negative."""

    def enqueue(self, *, step=False):
        super().enqueue()
        self.arrays["logits"][self.arrays["image"][:, 0, 0, 0] < 0] = np.nan


@pytest.mark.parametrize("labels", [False, True])
def test_a_nan_of_one_camera_holds_that_camera_alone(small_bundle, labels):
    pictures = np.abs(IMAGES)
    pictures[3] *= -1
    left, right = (Scripted(*images(*order, name=name, of=pictures), name=name) for order, name in LEFT_RIGHT)
    seen = []
    session = faked(small_bundle, Poisoned())
    session.postprocessing = CLASSES if labels else None
    report = StreamLoop([left, right], session, seen.append, Policy("fifo", wait_ms=5000)).run()
    of_left, of_right = ([item for item in seen if item.frame.source == name] for _, name in LEFT_RIGHT)
    assert [item.held for item in of_left] == [False, False]
    assert [item.held for item in of_right] == [False, True]
    assert of_right[1].answer == of_right[0].answer
    for item in (*of_left, of_right[0]):
        wanted = 2 * pictures[item.frame.number].ravel()[:5]
        if labels:
            assert item.answer[0].name == "abcde"[wanted.argmax()]
        else:
            np.testing.assert_array_equal(item.answer["logits"], wanted)
    assert (report.bad, report.held, report.events[0].source) == (1, 1, "right")


LEFT_RIGHT = (((0, 1), "left"), ((2, 3), "right"))


def test_a_nan_is_passed_on_where_the_policy_says_so(small_bundle):
    seen = []
    with faked(small_bundle, Poisoned()) as session:
        StreamLoop(Scripted(frame(0, data=-np.abs(IMAGES[0]))), session, seen.append, Policy(on_bad="pass")).run()
    assert np.isnan(seen[0].answer["logits"]).all()
    assert not seen[0].held


@pytest.mark.parametrize("waiting", [False, True])
def test_an_inference_that_fails_is_a_bad_answer_and_the_sessions_health_tells(small_bundle, waiting):
    seen = []
    with faked(small_bundle, Failing(1, waiting=waiting)) as session:
        report = StreamLoop(Scripted(*images(0, 1)), session, seen.append, FIFO).run()
    assert [item.held for item in seen] == [False, True]
    assert seen[1].answer is seen[0].answer
    assert report.events[0].message == "frame 1: the GPU reported: an illegal address"
    assert (report.health["errors"], report.health["last_error"]) == (1, "the GPU reported: an illegal address")


def test_a_frame_of_another_shape_or_type_is_a_bad_answer_and_never_spread_over_the_input(small_bundle):
    seen = []
    wrong = [frame(0, data=IMAGES[0, 0]), frame(1, data=IMAGES[0].astype(np.float64)), frame(2, data=IMAGES[0])]
    with faked(small_bundle, Doubler()) as session:
        report = StreamLoop(Scripted(*wrong), session, seen.append, FIFO).run()
    assert [item.held for item in seen] == [True, True, False]
    said = "frame 0: image: expected a frame of float32[batch, 3, 8, 8] without its batch, found float32[8, 8]"
    assert report.events[0].message == said


@pytest.mark.parametrize("on_bad", ["hold", "stop", "pass"])
def test_a_camera_whose_frames_do_not_fit_spoils_no_other(small_bundle, on_bad):
    seen = []
    left = Scripted(*images(0, 1, 2, name="left"), name="left")
    right = Scripted(*(frame(number, "right", IMAGES[0, 0]) for number in range(3)), name="right")
    policy = Policy("fifo", wait_ms=5000, on_bad=on_bad, bad_limit=100)
    with Session.open(small_bundle, "ort") as session:
        report = StreamLoop([left, right], session, seen.append, policy).run()
    raw = onnxruntime.InferenceSession(small_bundle / "model.onnx", providers=["CPUExecutionProvider"])
    wanted = raw.run(["logits"], {"image": IMAGES})[0]
    for item in seen:
        if item.frame.source == "left":
            np.testing.assert_allclose(item.answer["logits"], wanted[item.frame.number], rtol=1e-5, atol=1e-6)
    assert [item.held for item in seen if item.frame.source == "left"] == [False] * 3
    assert [item.answer for item in seen if item.frame.source == "right"] == [None] * 3
    (event,) = report.events
    assert (event.source, event.kind, report.bad) == ("right", "bad", 3)
    assert event.message.startswith("frame 0: image: expected a frame of float32[batch, 3, 8, 8] without its batch")


def test_a_session_of_another_thread_or_closed_is_refused_at_once_and_sources_are_closed(small_bundle):
    session, found, source = faked(small_bundle, Doubler()), [], Scripted(0, ends=False)

    def elsewhere():
        with pytest.raises(SessionError, match="the thread that opened the session") as error:
            StreamLoop(source, session).run()
        found.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found
    assert source.closed == 1
    session.close()
    with pytest.raises(SessionError, match="expected an open session"):
        StreamLoop(Scripted(0), session).run()


def test_more_cameras_than_the_batch_takes_are_refused(tmp_path, small_bundle):
    with Session.open(small_bundle, "ort") as session:
        many = [Scripted(name=str(index)) for index in range(1000)]
        with pytest.raises(ShapeError, match=r"expected batch in 1\.\.\d+"):
            StreamLoop(many, session).run()


SERIES = np.arange(16, dtype=np.float32).reshape(8, 1, 2)


def in_steps(session, numbers, policy=FIFO, rows=SERIES):
    seen = []
    report = StreamLoop(Scripted(*(frame(n, data=rows[n]) for n in numbers)), session, seen.append, policy).run()
    return seen, report


def by_hand(rows) -> np.ndarray:
    return np.cumsum(rows.astype(np.float64), axis=0) + 10 * rows


def test_states_go_from_frame_to_frame(sums):
    with Session.open(sums) as session:
        seen, report = in_steps(session, range(8))
        found = np.concatenate([item.answer["y"] for item in seen])
        np.testing.assert_array_equal(found, by_hand(SERIES.reshape(8, 2)))
        assert (report.resets, session.metrics()["steps"]) == (0, 8)


@pytest.mark.parametrize("reset_on_gap", [True, False])
def test_a_gap_begins_the_states_anew_where_the_policy_says_so(sums, reset_on_gap):
    numbers = [0, 1, 2, 5, 6]
    with Session.open(sums) as session:
        seen, report = in_steps(session, numbers, Policy("fifo", 100, reset_on_gap=reset_on_gap))
    rows = SERIES.reshape(8, 2)[numbers]
    wanted = np.concatenate([by_hand(rows[:3]), by_hand(rows[3:])]) if reset_on_gap else by_hand(rows)
    np.testing.assert_array_equal(np.concatenate([item.answer["y"] for item in seen]), wanted)
    assert report.resets == reset_on_gap
    assert [event.kind for event in report.events] == ["gap"]


def test_a_nan_does_not_stay_in_the_states(sums):
    rows = SERIES.copy()
    rows[2] = np.nan
    with Session.open(sums) as session:
        seen, report = in_steps(session, range(5), rows=rows)
    assert [item.held for item in seen] == [False, False, True, False, False]
    after = np.concatenate([item.answer["y"] for item in seen[3:]])
    np.testing.assert_array_equal(after, by_hand(rows.reshape(8, 2)[3:5]))
    assert (report.bad, report.resets) == (1, 1)


def test_a_frame_that_cannot_be_taken_begins_the_states_anew(sums):
    rows = [*SERIES[:2], np.zeros((1, 3), np.float32), *SERIES[3:5]]
    with Session.open(sums) as session:
        seen, report = in_steps(session, range(5), rows=rows)
    assert [item.held for item in seen] == [False, False, True, False, False]
    np.testing.assert_array_equal(
        np.concatenate([item.answer["y"] for item in seen[3:]]), by_hand(SERIES.reshape(8, 2)[3:5])
    )
    assert report.resets == 1


def test_a_chunk_gives_the_answers_of_all_windows_that_it_completes(sums):
    chunks = np.split(SERIES.reshape(8, 2), [1, 2, 7])  # of 1, 1, 5 and 1 steps; windows of 2, one every 2
    with Session.open(sums) as session:
        session.preprocessing = SeriesPreprocess("series", "x", (0.0, 0.0), (1.0, 1.0), length=2, step=2)
        seen, _ = in_steps(session, range(4), rows=chunks)
    assert [len(item.answer) for item in seen] == [0, 1, 2, 1]
    assert not any(item.held for item in seen)
    windows = np.concatenate([answer["y"] for item in seen for answer in item.answer])
    np.testing.assert_array_equal(windows, by_hand(SERIES.reshape(8, 2)))


def test_an_infinity_in_one_window_of_a_chunk_makes_the_chunk_bad_and_begins_the_windows_anew(sums):
    chunks = [SERIES.reshape(8, 2)[:3], np.full((4, 2), 3e38, np.float32), SERIES.reshape(8, 2)[:4]]
    with Session.open(sums) as session:
        session.preprocessing = SeriesPreprocess("series", "x", (0.0, 0.0), (1.0, 1.0), length=2, step=2)
        seen, report = in_steps(session, range(3), rows=chunks)
    assert [(len(item.answer), item.held) for item in seen] == [(1, False), (1, True), (2, False)]
    assert report.events[0].message == "frame 1: NaN or infinity in the answer"
    windows = np.concatenate([answer["y"] for answer in seen[2].answer])
    np.testing.assert_array_equal(windows, by_hand(SERIES.reshape(8, 2)[:4]))
    assert report.resets == 1


def brightness() -> onnx.ModelProto:
    """image [batch,3,8,8], total [batch,3] -> total_out, and y, which is the same: the sums of all pictures so far."""
    node = onnx.helper.make_node
    nodes = [
        node("ReduceSum", ["image", "axes"], ["sums"], keepdims=0),
        node("Add", ["total", "sums"], ["total_out"]),
        node("Identity", ["total_out"], ["y"]),
    ]
    inputs = [value("image", FLOAT, "batch", 3, 8, 8), value("total", FLOAT, "batch", 3)]
    outputs = [value("total_out", FLOAT, "batch", 3), value("y", FLOAT, "batch", 3)]
    return made(nodes, inputs, outputs, {"axes": np.array([2, 3])})


def test_pictures_of_a_network_with_states_go_through_its_preprocessing(tmp_path):
    bundle = bundle_of(brightness(), tmp_path, Stream(("total=total_out",)), {"batch": (1, 2, 4)})
    pixels, seen = RANDOM.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8), []
    with Session.open(bundle) as session:
        session.preprocessing = IMAGE_PIXELS
        StreamLoop(Scripted(*images(*range(4), of=pixels)), session, seen.append, FIFO).run()
    wanted = np.cumsum(pixels.sum((1, 2)), axis=0)
    np.testing.assert_array_equal([item.answer["y"] for item in seen], wanted)


def test_an_output_without_the_batchs_axis_is_everybodys(tmp_path):
    """image [4,3,8,8] of a fixed batch -> each [4,3], and all [3], the sum of that."""
    node = onnx.helper.make_node
    nodes = [
        node("ReduceSum", ["image", "axes"], ["each"], keepdims=0),
        node("ReduceSum", ["each", "first"], ["all"], keepdims=0),
    ]
    weights = {"axes": np.array([2, 3]), "first": np.array([0])}
    outputs = [value("each", FLOAT, 4, 3), value("all", FLOAT, 3)]
    model = made(nodes, [value("image", FLOAT, 4, 3, 8, 8)], outputs, weights)
    pictures = IMAGES.copy()
    pictures[3] = np.inf
    sources = [Scripted(*images(*order, name=name, of=pictures), name=name) for order, name in LEFT_RIGHT]
    seen = []
    with Session.open(bundle_of(model, tmp_path, None, {})) as session:
        StreamLoop(sources, session, seen.append, Policy("fifo", wait_ms=5000)).run()
    assert [item.held for item in seen] == [False, False, True, True]
    for item, image in zip(seen[:2], pictures[[0, 2]], strict=True):
        np.testing.assert_allclose(item.answer["each"], image.sum((1, 2)), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(item.answer["all"], pictures[[0, 2]].sum((0, 2, 3)), rtol=1e-4, atol=1e-4)


def test_a_fixed_batch_that_is_smaller_than_the_cameras_is_refused(tmp_path):
    node = onnx.helper.make_node("Neg", ["image"], ["y"])
    shape = (1, 3, 8, 8)
    model = made([node], [value("image", FLOAT, *shape)], [value("y", FLOAT, *shape)], {})
    said = r"image: expected a batch of 2, one a camera, found float32\[1, 3, 8, 8\]"
    session = Session.open(bundle_of(model, tmp_path, None, {}))
    with session, pytest.raises(ShapeError, match=said):
        StreamLoop([Scripted(name="a"), Scripted(name="b")], session).run()


def test_a_network_with_states_has_one_camera(sums):
    with (
        Session.open(sums) as session,
        pytest.raises(UsageError, match="expected one source for a network with states"),
    ):
        StreamLoop([Scripted(name="a"), Scripted(name="b")], session).run()


def test_a_network_with_states_has_one_camera_also_where_its_batch_is_another_axis(tmp_path):
    """As of an LSTM's h, [layers, batch, H]."""
    nodes = [onnx.helper.make_node("Add", ["h", "x"], [name]) for name in ("y", "h_out")]
    shapes = {"h": (1, "batch", 2), "x": ("batch", 2), "y": (1, "batch", 2), "h_out": (1, "batch", 2)}
    values = {name: value(name, FLOAT, *shape) for name, shape in shapes.items()}
    model = made(nodes, [values["x"], values["h"]], [values["y"], values["h_out"]], {})
    bundle = bundle_of(model, tmp_path, Stream(("h=h_out",)), {"batch": (1, 1, 4)})
    with Session.open(bundle) as session:
        said = "expected one source for a network with states, found 2; next: a loop and a Session for each"
        with pytest.raises(UsageError, match=said):
            StreamLoop([Scripted(name="a"), Scripted(name="b")], session).run()
    with Session.open(bundle) as session:
        report = StreamLoop(
            Scripted(*(frame(n, data=np.ones(2, np.float32)) for n in range(3))), session, policy=FIFO
        ).run()
    assert (report.processed, report.bad) == (3, 0)


class Stuck(Doubler):
    """An inference whose picture begins below zero ends only when `free` is set."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def synchronise(self, timeout_s):
        return bool(self.arrays["image"].flat[0] >= 0) or self.free.wait(timeout_s)


STUCK = [frame(0, data=np.abs(IMAGES[0])), frame(1, data=-np.abs(IMAGES[1])), frame(2, data=np.abs(IMAGES[2]))]


def test_a_hang_is_seen_while_it_lasts_and_the_loop_goes_on_when_it_ends(small_bundle):
    backend, states, seen = Stuck(), [], []

    def heard(event):
        states.append((event.kind, loop.state))
        if event.kind == "hung":
            backend.free.set()

    with faked(small_bundle, backend) as session:
        loop = StreamLoop(Scripted(*STUCK), session, seen.append, Policy("fifo", watchdog_ms=50), on_event=heard)
        report = loop.run()
    assert states == [("hung", "hung"), ("recovered", "running")]
    assert [item.held for item in seen] == [False] * 3
    assert report.event_counts == {"hung": 1, "recovered": 1}
    assert report.age_ms.max >= 50


def test_stop_gives_up_an_inference_that_hangs_and_counts_its_frame_as_dropped(small_bundle):
    session = faked(small_bundle, Stuck())
    loop = StreamLoop(Scripted(*STUCK), session, (), Policy("fifo", watchdog_ms=50), lambda event: loop.stop("hung"))
    report = loop.run()
    assert (report.ended, report.state, report.health["state"]) == ("hung", "hung", "hung")
    assert (report.captured, report.processed, report.dropped) == (3, 1, 2)
    assert report.event_counts == {"hung": 1, "abandoned": 1}


def test_a_hang_of_the_last_frame_of_a_recording_is_waited_for(small_bundle):
    backend = Stuck()
    threading.Timer(0.3, backend.free.set).start()
    with faked(small_bundle, backend) as session:
        report = StreamLoop(Scripted(*STUCK[:2]), session, (), Policy("fifo", watchdog_ms=20)).run()
    assert (report.ended, report.processed) == ("sources ended", 2)


def test_a_hang_does_not_outlast_the_time_of_the_run(small_bundle):
    session = faked(small_bundle, Stuck())
    report = StreamLoop(Scripted(*STUCK), session, (), Policy("fifo", watchdog_ms=20)).run(seconds=0.2)
    assert (report.ended, report.processed, report.dropped) == ("seconds", 1, 2)
