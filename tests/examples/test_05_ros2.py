"""examples/05_ros2 without ROS: its logic on a real bundle, and its node on a stand-in of rclpy.

The stand-in has the names, types and order that rclpy's documentation and source have; it cannot show more than that.
"""

from __future__ import annotations

import array
import importlib.util
import io
import json
import queue
import re
import runpy
import shlex
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image as Picture

from edgekit.errors import DataError, IntegrityError
from edgekit.runtime.loop import Policy
from tests.reading import commands

EXAMPLE = Path(__file__).parents[2] / "examples" / "05_ros2"
PATIENCE_S = 60


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_05_node_logic", EXAMPLE / "node_logic.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


logic = load()


@dataclass
class Stamp:
    sec: int = 0
    nanosec: int = 0


@dataclass
class Header:
    stamp: Stamp = field(default_factory=Stamp)
    frame_id: str = "camera"


@dataclass
class Image:
    """The fields of sensor_msgs/Image; `data` is an array.array of bytes, as rclpy makes it."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: array.array


NOW_NS = 1_800_000_000 * 10**9 + 5


def message(rgb: np.ndarray, encoding: str = "rgb8", padding: int = 0, age_ns: int = 0) -> Image:
    """An image of a camera that pads its rows with 7s; the alpha, where there is one, is 9."""
    height, width, _ = rgb.shape
    alpha = np.full((height, width, 1), 9, np.uint8)
    pixels = {
        "rgb8": rgb,
        "bgr8": rgb[:, :, ::-1],
        "rgba8": np.concatenate([rgb, alpha], axis=2),
        "bgra8": np.concatenate([rgb[:, :, ::-1], alpha], axis=2),
        "mono8": rgb[:, :, :1],
    }.get(encoding, rgb)
    rows = pixels.reshape(height, -1)
    rows = np.concatenate([rows, np.full((height, padding), 7, np.uint8)], axis=1)
    seen_ns = NOW_NS - age_ns
    stamp = Stamp(seen_ns // 10**9, seen_ns % 10**9)
    return Image(Header(stamp), height, width, encoding, 0, rows.shape[1], array.array("B", rows.tobytes()))


def read(photo: Path) -> np.ndarray:
    return np.asarray(Picture.open(photo).convert("RGB"))


@pytest.fixture(scope="module")
def cat(photos) -> np.ndarray:
    return read(photos / "cat.png")


# --- images ---


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_each_encoding_becomes_rgb(cat, encoding, padding):
    np.testing.assert_array_equal(logic.picture(message(cat, encoding, padding)), cat)


@pytest.mark.parametrize("padding", [0, 5])
def test_gray_becomes_three_equal_channels(photos, padding):
    gray = read(photos / "camera_man.png")  # a gray photograph: its channels are equal
    found = logic.picture(message(gray, "mono8", padding))
    np.testing.assert_array_equal(found, gray)
    assert (found.shape, found.dtype) == (gray.shape, np.uint8)


def test_a_colour_image_is_not_copied(cat):
    given = message(cat, "bgr8", 2)
    found = logic.picture(given)
    given.data[0] ^= 255  # the blue of the first pixel
    assert found[0, 0, 2] == cat[0, 0, 2] ^ 255


def mosaic(rgb: np.ndarray, order: str) -> np.ndarray:
    """What a sensor behind a Bayer filter sees of a picture: one colour a pixel, one pixel after the other."""
    seen = np.empty((*rgb.shape[:2], 1), np.uint8)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            seen[y, x] = rgb[y, x, "rgb".index(order[y % 2 * 2 + x % 2])]
    return seen


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_pattern_is_the_picture_at_half_its_size(cat, order, padding):
    even = cat[: cat.shape[0] // 2 * 2, : cat.shape[1] // 2 * 2]
    half = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3).astype(np.float64).mean(axis=(1, 3))
    found = logic.picture(message(mosaic(cat, order), f"bayer_{order}8", padding))
    assert (found.shape, found.dtype) == (half.shape, np.uint8)
    assert np.abs(found - half).mean(axis=(0, 1)).max() < 4, "one or two pixels stand for four"
    plain = np.full((4, 6, 3), (200, 255, 30), np.uint8)
    found = logic.picture(message(mosaic(plain, order), f"bayer_{order}8", padding))
    np.testing.assert_array_equal(found, plain[:2, :3])


@pytest.mark.parametrize("size", [(1, 8), (8, 1)])
def test_a_bayer_pattern_has_two_rows_and_columns(size):
    with pytest.raises(DataError, match=f"expected at least 2 x 2 pixels of a Bayer pattern, found {size[0]} x"):
        logic.picture(message(np.zeros((*size, 1), np.uint8), "bayer_rggb8"))


@dataclass
class CompressedImage:
    """The fields of sensor_msgs/CompressedImage."""

    header: Header
    format: str
    data: array.array


def compressed(rgb: np.ndarray, kind: str, **options: object) -> CompressedImage:
    """As image_transport's compressed_image_transport names it."""
    file = io.BytesIO()
    Picture.fromarray(rgb).save(file, kind, **options)
    name = f"rgb8; {kind.lower()} compressed bgr8"
    stamp = Stamp(NOW_NS // 10**9, NOW_NS % 10**9)
    return CompressedImage(Header(stamp), name, array.array("B", file.getvalue()))


def test_a_compressed_image_is_unpacked(cat):
    np.testing.assert_array_equal(logic.unpacked(compressed(cat, "PNG")), cat)
    found = logic.unpacked(compressed(cat, "JPEG", quality=95))
    assert (found.shape, found.dtype) == (cat.shape, np.uint8)
    assert np.abs(found.astype(int) - cat).mean() < 3
    gray = logic.unpacked(compressed(cat[:, :, 1], "PNG"))
    np.testing.assert_array_equal(gray, np.repeat(cat[:, :, 1:2], 3, axis=2))


def test_a_camera_of_another_encoder_is_unpacked(cat):
    """FFmpeg's MJPEG, as USB cameras have it, rather than Pillow's own."""
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=30, options={"qscale": "2"})
        stream.height, stream.width, stream.pix_fmt = *cat.shape[:2], "yuvj444p"
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(cat, format="rgb24")), *stream.encode()):
            out.mux(packet)
    found = logic.unpacked(CompressedImage(Header(), "jpeg", array.array("B", file.getvalue())))
    assert np.abs(found.astype(int) - cat).mean() < 4


def test_what_cannot_be_unpacked_is_refused_in_one_line_and_told_once(cat, monkeypatch):
    whole = compressed(cat, "JPEG")
    deep = compressed((cat[:, :, 0].astype(np.uint16)) << 8, "PNG")
    depths = CompressedImage(whole.header, "16UC1; compressedDepth png", array.array("B", bytes(12)) + deep.data)
    no_picture = (
        "expected a JPEG or PNG, found one of format {!r} that cannot be decoded; next: -p image_transport:=raw"
    )
    sixteen = f"expected at most 8 bits and 64000000 pixels, found {cat.shape[1]} x {cat.shape[0]} of mode I;16"
    cases = [
        (CompressedImage(whole.header, whole.format, whole.data[:-900]), no_picture.format(whole.format)),
        (CompressedImage(whole.header, whole.format, array.array("B")), no_picture.format(whole.format)),
        (CompressedImage(whole.header, "jpeg", array.array("B", bytes(300))), no_picture.format("jpeg")),
        (depths, no_picture.format(depths.format)),
        (deep, sixteen + "; next: -p image_transport:=raw"),
    ]
    topic, told = logic.ImageTopic("image/compressed", logic.unpacked), []
    topic.note = lambda kind, text, source: told.append((kind, text, source))
    for given, said in cases:
        for _ in range(2):
            topic.feed(given, NOW_NS)
        assert told[-1] == ("refused", said, "image/compressed")
    assert len(told) == len(cases) - 1, "the first two have one reason"
    assert topic.refused == 2 * len(cases)
    monkeypatch.setattr(logic, "MOST_PIXELS", cat.shape[0] * cat.shape[1] - 1)
    with pytest.raises(DataError, match="expected at most 8 bits and"):
        logic.unpacked(whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoding": "bayer_rggb16"}, "bayer_rggb8, bayer_bggr8, .* found 'bayer_rggb16'"),
        ({"encoding": "yuv422"}, "expected an image of rgb8, bgr8, .* found 'yuv422'"),
        ({"encoding": ""}, "found ''"),
        ({"encoding": "x" * 999}, "found 'x{40}'"),
        ({"step": 10}, "expected 300 rows of at least 1353 bytes, found 405900 bytes, 10 a row"),
        ({"height": 301}, "expected 301 rows"),
        ({"height": 0}, "expected 0 rows"),
        ({"width": 0}, "expected 300 rows of at least 0 bytes"),
        ({"data": array.array("B")}, "found 0 bytes"),
        ({"encoding": "rgba8"}, "at least 1804 bytes"),
    ],
)
def test_what_is_no_image_is_refused(cat, changes, said):
    given = message(cat)
    for name, value in changes.items():
        setattr(given, name, value)
    with pytest.raises(DataError, match=said):
        logic.picture(given)


# --- the source ---


def taken(topic) -> list:
    """What the topic gives until it is closed; in a thread, so that a close that does nothing fails, not hangs."""
    found: list = []
    thread = threading.Thread(target=lambda: found.extend(topic.frames()), daemon=True)
    thread.start()
    topic.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    return found


def test_a_stamp_says_when_the_camera_saw_it(cat):
    topic, before_ns = logic.ImageTopic("image"), time.perf_counter_ns()
    for age_ns in (0, 40_000_000, 9_000_000_000):
        topic.feed(message(cat, age_ns=age_ns), NOW_NS)
    after_ns = time.perf_counter_ns()
    fresh, older, old = taken(topic)
    for frame, age_ns in ((fresh, 0), (older, 40_000_000), (old, 9_000_000_000)):
        assert before_ns <= frame.captured_ns + age_ns <= after_ns
    assert [frame.number for frame in (fresh, older, old)] == [0, 1, 2]
    assert (fresh.source, fresh.header.frame_id) == ("image", "camera")


@pytest.mark.parametrize(
    ("age_ns", "told"),
    [(11 * 10**9, True), (10**18, True), (NOW_NS, True), (-11 * 10**9, True), (-1_000_000_000, False)],
    ids=["recorded", "long ago", "not set", "far ahead", "a little ahead"],
)
def test_a_stamp_of_another_clock_does_not_count_and_is_told_once(cat, age_ns, told):
    """One that is a little ahead is of a clock that is, and no image is of the future."""
    topic, notes = logic.ImageTopic("image"), []
    topic.note = lambda kind, message, source: notes.append((kind, source))
    before_ns = time.perf_counter_ns()
    for _ in range(2):
        topic.feed(message(cat, age_ns=age_ns), NOW_NS)
    after_ns = time.perf_counter_ns()
    frames = taken(topic)
    assert len(frames) == 2
    assert all(before_ns <= frame.captured_ns <= after_ns for frame in frames)
    assert notes == [("stamp", "image")] * told


def test_an_image_that_cannot_be_used_is_counted_and_leaves_a_gap(cat):
    topic, told = logic.ImageTopic("image"), []
    topic.note = lambda kind, text, source: told.append((kind, text))
    for encoding in ("rgb8", "yuv422", "yuv422", "16UC1", "rgb8"):
        topic.feed(message(cat, encoding), NOW_NS)
    assert [frame.number for frame in taken(topic)] == [0, 4]
    assert topic.refused == 3
    assert [kind for kind, _ in told] == ["refused", "refused"]  # each reason once
    assert "yuv422" in told[0][1]
    assert "16UC1" in told[1][1]


def test_frames_wait_and_end_with_close(cat):
    topic, found = logic.ImageTopic("image"), queue.SimpleQueue()
    thread = threading.Thread(target=lambda: [found.put(frame.number) for frame in topic.frames()], daemon=True)
    thread.start()
    topic.feed(message(cat), NOW_NS)
    assert found.get(timeout=PATIENCE_S) == 0
    topic.close()
    topic.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


# --- the loop, on a real bundle ---


class Published:
    """What the node would publish, to be waited for."""

    def __init__(self) -> None:
        self.done: queue.SimpleQueue = queue.SimpleQueue()

    def __call__(self, done) -> None:
        self.done.put((done, threading.current_thread()))

    def next(self):
        return self.done.get(timeout=PATIENCE_S)


@pytest.fixture
def answering(lite0):
    """Start an Answerer of the pretrained network on onnxruntime; it is stopped whatever the test finds."""
    started = []

    def start(topic, publish, on_event=lambda event: None, policy=Policy()):
        answerer = logic.Answerer(str(lite0 / "bundle"), topic, publish, on_event, "ort", policy)
        answerer.start()
        started.append(answerer)
        return answerer

    yield start
    for answerer in started:
        answerer.stop()


def test_a_bundle_that_cannot_be_opened_is_raised_by_start(tmp_path):
    (tmp_path / "bundle").mkdir()
    answerer = logic.Answerer(str(tmp_path / "bundle"), logic.ImageTopic("image"), Published())
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        answerer.start()
    assert answerer.ended
    assert answerer.health().level == "WARN"


@pytest.mark.slow  # a pretrained network's bundle
def test_answers_are_those_of_a_session_whatever_the_encoding(answering, lite0, photos):
    from edgekit.runtime import Session

    topic, published = logic.ImageTopic("image"), Published()
    answerer = answering(topic, published)
    with Session.open(lite0 / "bundle", "ort") as session:
        for name, encodings in (("cat", ("rgb8", "bgr8")), ("coffee", ("bgra8",)), ("camera_man", ("mono8", "rgb8"))):
            picture = read(photos / f"{name}.png")
            session.preprocess(picture)
            session.execute()
            best = session.postprocess()[0][0]
            for encoding in encodings:
                topic.feed(message(picture, encoding, padding=3, age_ns=5_000_000), NOW_NS)
                done, thread = published.next()
                assert (done.answer[0].name, done.held) == (best.name, False)
                assert done.answer[0].probability == pytest.approx(best.probability, abs=1e-6)
                assert done.age_ms >= 5 + done.timing.compute_ms
                said = json.loads(logic.as_text(done))
                assert (said["label"], said["held"]) == (best.name, False)
                assert said["probability"] == pytest.approx(best.probability, abs=1e-4)
                assert thread.name == "answers"
    health = answerer.health()
    assert (health.level, health.message) == ("OK", "running")
    assert (health.values["processed"], health.values["refused"]) == ("5", "0")
    assert health.values["computed by"].startswith("ort on cpu: ")
    assert all(isinstance(value, str) for value in health.values.values())
    answerer.stop()


@pytest.mark.slow
def test_an_image_that_cannot_be_used_is_one_event_and_the_loop_goes_on(answering, cat):
    topic, published, events = logic.ImageTopic("image"), Published(), []
    answerer = answering(topic, published, events.append)
    for _ in range(3):
        topic.feed(message(cat, "yuv422"), NOW_NS)
    topic.feed(message(cat), NOW_NS)
    done, _ = published.next()
    assert done.frame.number == 3
    report = answerer.stop()
    assert [event.kind for event in events] == ["refused"]
    assert (report.captured, report.processed, answerer.topic.refused) == (1, 1, 3)


@pytest.mark.slow
def test_stopping_is_in_order_and_every_image_is_accounted_for(answering, cat):
    topic, published, inside, free = logic.ImageTopic("image"), Published(), threading.Event(), threading.Event()

    def publish(done) -> None:
        inside.set()
        free.wait(PATIENCE_S)
        published(done)

    answerer = answering(topic, publish, policy=Policy(watchdog_ms=None))
    for number in range(30):  # far faster than they are answered
        topic.feed(message(cat), NOW_NS)
        if number == 0:
            assert inside.wait(PATIENCE_S)
    until = time.monotonic() + PATIENCE_S
    while answerer.loop.snapshot()["captured"] < 30 and time.monotonic() < until:
        time.sleep(0.005)
    assert not answerer.ended
    threading.Timer(0.1, free.set).start()  # the answer under way is finished before stop returns
    report = answerer.stop()
    assert answerer.ended
    assert published.done.qsize() == 1
    assert (report.captured, report.processed, report.dropped, report.ended) == (30, 1, 29, "stopped")
    topic.feed(message(cat), NOW_NS)  # the executor may still have one
    assert answerer.loop.report().captured == 30
    assert answerer.health().level == "ERROR"
    assert [thread.name for thread in threading.enumerate() if thread.name in ("answers", "capture image")] == []


@pytest.mark.slow
def test_health_tells_of_silence_and_of_a_loop_that_ended(answering, cat, monkeypatch):
    def publish(done) -> None:
        raise RuntimeError("no such publisher")

    topic, events = logic.ImageTopic("image"), []
    answerer = answering(topic, publish, events.append, Policy(sink_error_limit=2))
    monkeypatch.setattr(logic, "QUIET_S", 0.0)
    assert (answerer.health().level, answerer.health().message) == ("WARN", "no image for 0 s")
    monkeypatch.setattr(logic, "QUIET_S", 1e6)
    assert answerer.health().level == "OK"
    until = time.monotonic() + PATIENCE_S
    while not answerer.ended and time.monotonic() < until:
        topic.feed(message(cat), NOW_NS)
        time.sleep(0.02)
    health = answerer.health()
    assert (answerer.ended, health.level, health.message) == (True, "ERROR", "ended: sink errors")
    assert events[0].kind == "sink error"
    assert "no such publisher" in events[0].message
    assert answerer.stop().ended == "sink errors"


# --- the node, on a stand-in of rclpy ---


class Message:
    """Made of fields by name, each of the type that the message's definition has, as rclpy's own classes insist."""

    FIELDS: ClassVar[dict[str, type]] = {}

    def __init__(self, **fields: object) -> None:
        for name, kind in self.FIELDS.items():
            setattr(self, name, kind())
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        assert isinstance(value, self.FIELDS[name]), f"{type(self).__name__}.{name}: {value!r}"
        object.__setattr__(self, name, value)


def message_class(name: str, fields: dict[str, type], **constants: bytes) -> type:
    return type(name, (Message,), {"FIELDS": fields, **constants})


String = message_class("String", {"data": str})
KeyValue = message_class("KeyValue", {"key": str, "value": str})
DiagnosticStatus = message_class(
    "DiagnosticStatus", {"level": bytes, "name": str, "message": str, "hardware_id": str, "values": list},
    OK=b"\0", WARN=b"\1", ERROR=b"\2", STALE=b"\3",
)  # fmt: skip
DiagnosticArray = message_class("DiagnosticArray", {"header": Header, "status": list})
ObjectHypothesis = message_class("ObjectHypothesis", {"class_id": str, "score": float})
Classification = message_class("Classification", {"header": Header, "results": list})


@dataclass(frozen=True)
class Quality:
    history: str
    depth: int
    reliability: str


class ExternalShutdownError(Exception):
    """rclpy.executors.ExternalShutdownException."""


class Ros:
    """rclpy, with what happened; `images` are what its spin delivers, `end` what comes after them."""

    def __init__(self, images: list[Image], end: type[BaseException] | None = None, broken: str = "") -> None:
        self.images, self.end, self.broken = images, end, broken
        self.order: list[str] = []
        self.logged: list[str] = []
        self.published: dict[str, list] = {}
        self.subscribed: list[tuple] = []
        self.parameters: dict[str, str] = {}
        self.renamed: dict[str, str] = {}

    def init(self, *, args: list[str]) -> None:
        self.order.append("init")
        rest = args[args.index("--ros-args") + 1 :] if "--ros-args" in args else []
        for flag, text in zip(rest[::2], rest[1::2], strict=True):
            into = {"-p": self.parameters, "-r": self.renamed}[flag]
            into.__setitem__(*text.split(":=", 1))

    def ok(self) -> bool:
        return "try_shutdown" not in self.order

    def try_shutdown(self) -> None:
        self.order.append("try_shutdown")

    def spin(self, node) -> None:
        """Each image when the one before has its label; then the timers, as though a second were over."""
        self.order.append("spin")
        until = time.monotonic() + PATIENCE_S
        for number, image in enumerate(self.images):
            node.callback(image)
            while len(self.published.get("label", [])) <= number and not self.broken and time.monotonic() < until:
                time.sleep(0.002)
        while self.broken and time.monotonic() < until:  # until the node sees that it must end
            node.callback(self.images[0])
            node.timer()
            time.sleep(0.02)
        node.timer()
        if self.end is not None:
            raise self.end

    def modules(self, vision: bool) -> dict[str, ModuleType | None]:
        """For sys.modules; None is a package that is not there."""
        ros = self

        class Clock:
            nanoseconds = NOW_NS

            def now(self):
                return self

            def to_msg(self):
                return Stamp(NOW_NS // 10**9, NOW_NS % 10**9)

        class Publisher:
            def __init__(self, kind: type, topic: str) -> None:
                self.kind, self.topic = kind, topic

            def publish(self, message) -> None:
                assert isinstance(message, self.kind), message
                assert ros.ok(), "publisher's context is invalid"
                assert "destroy_node" not in ros.order
                if self.topic == ros.broken:
                    raise RuntimeError("no such topic")
                ros.published.setdefault(self.topic, []).append(message)

        class Node:
            def __init__(self, name: str) -> None:
                self.name = name

            def get_name(self) -> str:
                return self.name

            def get_clock(self) -> Clock:
                return Clock()

            def get_logger(self):
                return module(warning=ros.logged.append)

            def declare_parameter(self, name: str, default: str):
                return module(value=ros.parameters.get(name, default))

            def create_publisher(self, kind: type, topic: str, depth: int) -> Publisher:
                return Publisher(kind, ros.renamed.get(topic, topic))

            def create_subscription(self, kind: type, topic: str, callback, quality: Quality) -> None:
                ros.subscribed.append((kind, ros.renamed.get(topic, topic), quality))
                self.callback = callback

            def create_timer(self, period_s: float, callback) -> None:
                assert period_s == 1.0
                self.timer = callback

            def destroy_node(self) -> None:
                ros.order.append("destroy_node")

        return {
            "rclpy": module(init=self.init, ok=self.ok, try_shutdown=self.try_shutdown, spin=self.spin),
            "rclpy.executors": module(ExternalShutdownException=ExternalShutdownError),
            "rclpy.node": module(Node=Node),
            "rclpy.qos": module(
                QoSProfile=Quality,
                HistoryPolicy=module(KEEP_LAST="keep last"),
                ReliabilityPolicy=module(BEST_EFFORT="best effort"),
            ),
            "std_msgs.msg": module(String=String),
            "sensor_msgs.msg": module(Image=Image, CompressedImage=CompressedImage),
            "diagnostic_msgs.msg": module(
                DiagnosticArray=DiagnosticArray, DiagnosticStatus=DiagnosticStatus, KeyValue=KeyValue
            ),
            "vision_msgs.msg": module(Classification=Classification, ObjectHypothesis=ObjectHypothesis)
            if vision
            else None,
        }


def module(**names: object) -> ModuleType:
    made = ModuleType("stand_in")
    made.__dict__.update(names)
    return made


def readme_command() -> list[str]:
    (command,) = commands("examples/05_ros2/README.md")
    python, script, *arguments = shlex.split(command)
    assert (python, script) == ("python", "examples/05_ros2/main.py")
    return arguments


@pytest.fixture
def run_node(monkeypatch, tmp_path):
    """Run main.py on a stand-in, in a folder where out/demo is `demo`; returns its exit code."""

    def run(ros: Ros, arguments: list[str], demo: Path | None = None, vision: bool = True) -> object:
        (tmp_path / "out").mkdir()
        if demo is not None:
            (tmp_path / "out/demo").symlink_to(demo)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
        monkeypatch.syspath_prepend(EXAMPLE)  # as for a script that is run
        for name, stand_in in ros.modules(vision).items():
            package = name.partition(".")[0]
            if package != "rclpy":
                monkeypatch.setitem(sys.modules, package, module())
            monkeypatch.setitem(sys.modules, name, stand_in)
        monkeypatch.delitem(sys.modules, "node_logic", raising=False)
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(EXAMPLE / "main.py"), run_name="__main__")
        return left.value.code

    yield run
    sys.modules.pop("node_logic", None)


@pytest.mark.slow
@pytest.mark.parametrize("end", [KeyboardInterrupt, ExternalShutdownError, None])
def test_the_node_publishes_labels_and_diagnostics_and_ends_in_order(lite0, photos, run_node, capfd, end):
    images = [message(read(photos / f"{name}.png"), "bgr8", 4) for name in ("cat", "coffee", "camera_man")]
    ros = Ros(images, end)
    assert run_node(ros, readme_command(), lite0, vision=end is not None) == 0
    assert capfd.readouterr() == ("3 captured, 3 processed, 0 dropped: stopped\n", "")
    assert ros.subscribed == [(Image, "/camera/image_raw", Quality("keep last", 1, "best effort"))]
    labels = [json.loads(said.data)["label"] for said in ros.published["label"]]
    assert labels == ["tiger cat", "espresso", "tripod"]
    if end is None:
        assert "classification" not in ros.published
    else:
        classes = ros.published["classification"]
        assert [item.header for item in classes] == [image.header for image in images]
        assert [item.results[0].class_id for item in classes] == labels
        assert all(0 < item.results[0].score <= 1 for item in classes)
    (array_message,) = ros.published["/diagnostics"]
    (status,) = array_message.status
    assert (status.level, status.name, status.message) == (b"\0", "edgekit: answers", "running")
    assert {item.key: item.value for item in status.values}["processed"] == "3"
    assert array_message.header.stamp.sec == NOW_NS // 10**9
    assert (ros.order, ros.logged) == (["init", "spin", "destroy_node", "try_shutdown"], [])


@pytest.mark.slow
def test_the_node_takes_compressed_images_as_the_readme_says(lite0, photos, run_node, capfd):
    text = (EXAMPLE / "README.md").read_text()
    (more,) = re.findall(r"`(-p image_transport:=compressed [^`]+)`", text)
    images = [compressed(read(photos / f"{name}.png"), "JPEG", quality=90) for name in ("cat", "coffee")]
    ros = Ros(images, KeyboardInterrupt)
    assert run_node(ros, [*readme_command(), *shlex.split(more)], lite0) == 0
    assert capfd.readouterr() == ("2 captured, 2 processed, 0 dropped: stopped\n", "")
    assert ros.subscribed == [(CompressedImage, "/camera/image_raw/compressed", Quality("keep last", 1, "best effort"))]
    assert [json.loads(said.data)["label"] for said in ros.published["label"]] == ["tiger cat", "espresso"]
    assert ros.logged == []


@pytest.mark.slow
def test_a_loop_that_ends_by_itself_ends_the_node(lite0, cat, run_node, capfd):
    ros = Ros([message(cat)], broken="label")
    assert run_node(ros, readme_command(), lite0) == 1
    said = capfd.readouterr().err
    assert said == "edgekit: error: expected answers, found the loop ended: sink errors\n"
    assert ros.logged[0] == "sink error: RuntimeError: no such topic"
    assert ros.published["/diagnostics"][-1].status[0].level == b"\2"
    assert ros.order == ["init", "spin", "destroy_node", "try_shutdown"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "expected the parameter bundle, found none"),
        (["--ros-args", "-p", "bundle:=out/none"], 1, "expected a bundle, a folder or an .ekb, at out/none"),
        (
            ["--ros-args", "-p", "bundle:=out", "-p", "image_transport:=theora"],
            2,
            "expected image_transport raw or compressed, found 'theora'",
        ),
        (["--ros-args", "-p", "bundle:=out"], 7, "expected a bundle with manifest.json"),
    ],
)
def test_a_wrong_parameter_is_one_line(run_node, capfd, arguments, code, said):
    ros = Ros([])
    assert run_node(ros, arguments) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"edgekit: error: {said}")
    assert ros.order == ["init", "try_shutdown"]
