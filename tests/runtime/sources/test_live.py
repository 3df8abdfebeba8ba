"""Streams that break off, hang and come back: served by this machine, as MPEG-TS over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av")

from edgekit.runtime.backend import Array  # noqa: E402
from edgekit.runtime.sources import Backoff, Reconnecting, SourceLost, open_source  # noqa: E402
from edgekit.runtime.sources.live import Live  # noqa: E402
from edgekit.runtime.sources.streams import VideoStream, open_stream, sensed  # noqa: E402
from tests.runtime.sources.clips import difference, moving, until_lost, write_video  # noqa: E402

CAMERA = {"tune": "zerolatency", "g": "5", "crf": "14", "preset": "ultrafast"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("live") / "c.ts"
    return write_video(path, moving(20), options=CAMERA).read_bytes()


def sent(content: bytes):
    return lambda connection: connection.write(content)


def test_a_stream_gives_its_pictures_and_its_end_is_a_loss(streams, clip):
    streams.answers = [sent(clip)]
    begun = time.perf_counter_ns()
    source = open_source(f"{streams.address}/camera.ts")
    frames, lost = until_lost(source)
    assert [frame.number for frame in frames] == list(range(20))
    for frame, picture in zip(frames, moving(20), strict=True):
        assert difference(frame.data, picture) < 7
    captured = [frame.captured_ns for frame in frames]
    assert begun < captured[0]
    assert captured == sorted(captured)
    assert captured[-1] < time.perf_counter_ns()
    assert str(lost).startswith(f"expected data of {streams.address}/camera.ts, found")
    assert source.rate == 25
    source.close()


def test_frames_come_out_with_their_packet_and_not_with_the_next(streams):
    """A camera sends a frame every 0.1 s: a decoder that held one back would be 100 ms late."""
    base, pictures = Fraction(1, 25), moving(12)

    def camera(connection) -> None:
        with av.open(connection, "w", format="mpegts", options={"flush_packets": "1", "muxdelay": "0"}) as file:
            stream = file.add_stream("libx264", rate=25, options=CAMERA)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for tick, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = tick, base
                for packet in stream.encode(frame):
                    file.mux(packet)
                connection.flush()
                if tick >= 8:
                    time.sleep(0.1)

    streams.answers = [camera]
    source = open_source(f"{streams.address}/camera.ts")
    ages = []
    with pytest.raises(SourceLost):
        for frame in source.frames():
            ages.append((time.perf_counter_ns() - frame.captured_ns) / 1e6)
    source.close()
    assert len(ages) == 12
    assert max(ages[8:]) < 50


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_frames_that_were_sent_out_of_order_come_in_order_with_the_time_of_their_own_packet(streams, tmp_path, codec):
    path = write_video(tmp_path / "c.ts", moving(20), codec=codec, options={"bf": "2", "b_strategy": "0", "b": "2M"})
    with av.open(str(path)) as file:
        sent_order = [packet.pts for packet in file.demux(video=0) if packet.pts is not None]
    assert sent_order != sorted(sent_order)
    streams.answers = [sent(path.read_bytes())]
    frames, _ = until_lost(open_source(f"{streams.address}/camera.ts"))
    pictures = moving(20)
    nearest = [min(range(20), key=lambda index: difference(frame.data, pictures[index])) for frame in frames]
    assert nearest == list(range(len(frames)))
    assert len(frames) > 16  # what the decoder still held is lost with the stream
    positions = [sent_order.index(stamp) for stamp in sorted(sent_order)][: len(frames)]
    np.testing.assert_array_equal(np.argsort([frame.captured_ns for frame in frames]), np.argsort(positions))


def test_a_stream_that_hangs_is_lost_after_its_timeout(streams, clip):
    streams.answers = [lambda connection: (connection.write(clip), connection.flush(), streams.over.wait(20))]
    source = Live("camera", open_stream(f"{streams.address}/camera.ts", timeout_s=0.4))
    begun = time.perf_counter()
    frames, lost = until_lost(source)
    assert 0.3 < time.perf_counter() - begun < 3
    assert 15 <= len(frames) <= 20
    assert "found none for 0.4 s" in str(lost)


def test_closing_while_a_stream_hangs_ends_it_soon(streams, clip):
    streams.answers = [lambda connection: (connection.write(clip), connection.flush(), streams.over.wait(20))]
    source = Live("camera", open_stream(f"{streams.address}/camera.ts", timeout_s=3))
    threading.Timer(0.2, source.close, kwargs={"wait_s": 0.1}).start()
    begun = time.perf_counter()
    assert len(list(source.frames())) >= 15
    assert time.perf_counter() - begun < 1
    streams.over.set()
    source._thread.join(5)
    assert not source._thread.is_alive()


def test_a_camera_that_comes_back_is_seen_again(streams, clip):
    streams.answers = [sent(clip[: len(clip) // 2]), sent(b"no video"), sent(clip)]
    losses, pauses = [], []
    source = Reconnecting(
        lambda: open_source(f"{streams.address}/camera.ts"),
        sleep=pauses.append,
        give_up_s=20,
        backoff=Backoff(seed=0),
    )
    source.listen(lambda kind, message: losses.append((kind, message)))
    frames = []
    for frame in source.frames():
        frames.append(frame)
        if len(streams.asked) == 3 and frame.number - frames[0].number > 20:
            source.close()
    numbers = np.array([frame.number for frame in frames])
    steps = np.diff(numbers)
    (hole,) = np.flatnonzero(steps > 1)
    assert steps[hole] == 2
    assert 5 <= hole + 1 < 15
    assert difference(frames[hole + 1].data, moving(1)[0]) < 7  # the clip's first picture
    assert source.losses == 1
    assert [kind for kind, _ in losses] == ["lost", "back"]
    assert len(pauses) == 2  # one attempt failed
    assert streams.asked == ["/camera.ts"] * 3


def test_a_damaged_frame_of_a_stream_is_a_hole(streams, tmp_path):
    path = write_video(tmp_path / "c.mkv", moving(9), codec="mjpeg", options={"qscale": "2"})
    with av.open(str(path)) as file:
        packet = [bytes(packet) for packet in file.demux(video=0)][4]
    streams.answers = [sent(path.read_bytes().replace(packet, bytes(len(packet))))]
    source = open_source(f"{streams.address}/camera.mkv")
    frames, _ = until_lost(source)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert source.skipped == 1


@pytest.mark.parametrize("url", ["rtsp://user:secret@127.0.0.1:1/x", "http://user:secret@127.0.0.1:1/x"])
def test_a_stream_that_nobody_serves_is_lost_in_one_line_without_its_password(url):
    with pytest.raises(SourceLost, match=r"expected a stream at [a-z]*://127.0.0.1:1/x, found: Connection refused"):
        open_source(url)


def test_a_stream_that_is_refused_says_why(streams):
    with pytest.raises(SourceLost, match=r"found: .*404"):
        open_source(f"{streams.address}/camera.ts")


def test_ffmpegs_test_picture_is_a_camera():
    source = Live("camera", VideoStream(av.open("testsrc=size=64x48:rate=10:duration=1", format="lavfi"), "camera"))
    frames, lost = until_lost(source)
    assert [frame.data.shape for frame in frames] == [(48, 64, 3)] * 10
    assert str(lost) == "expected frames of camera, found the end of the stream"
    assert source.rate == 10


def test_the_drivers_time_stamp_is_believed_when_it_is_of_this_clock():
    now = 5_000_000_000_000
    assert sensed(now - 30_000_000, now) == now - 30_000_000
    assert sensed(1_700_000_000_000_000_000, now) == now  # of the wall clock
    assert sensed(now + 1, now) == now
    assert sensed(40_000_000, now) == now  # of a clock that began with the stream


class Scripted:
    """A device that gives what it is told to, and says by whom it was closed."""

    rate = 30.0

    def __init__(self, *items: Array | BaseException | None) -> None:
        self.items, self.closed_by, self.read_count = items, [], 0
        self.hang = threading.Event()

    def read(self) -> Iterator[tuple[Array | None, int]]:
        for item in self.items:
            if isinstance(item, BaseException):
                raise item
            self.read_count += 1
            yield item, self.read_count
        self.hang.wait(20)

    def close(self) -> None:
        self.closed_by.append(threading.current_thread())


def test_one_frame_waits_and_no_more_are_read_than_one():
    device = Scripted(*[np.zeros(1)] * 9)
    source = Live("camera", device)
    frames = source.frames()
    assert next(frames).captured_ns == 1
    time.sleep(0.1)
    assert device.read_count == 3  # given, waiting, read
    device.hang.set()
    source.close()
    assert device.closed_by == [source._thread]
    assert list(frames) == []  # what waited is not given any more


def test_a_device_is_closed_before_its_loss_is_heard_of():
    device = Scripted(np.zeros(1), SourceLost("gone"))
    source = Live("camera", device)
    frames, lost = until_lost(source)
    assert (len(frames), str(lost)) == (1, "gone")
    assert device.closed_by == [source._thread]
    source.close()
    assert len(device.closed_by) == 1


def test_a_bug_in_a_device_reaches_the_reader():
    with pytest.raises(ZeroDivisionError):
        list(Live("camera", Scripted(ZeroDivisionError())).frames())


def test_what_was_never_read_is_closed_at_once_and_says_so():
    device = Scripted(np.zeros(1))
    source = Live("camera", device)
    source.close()
    assert device.closed_by == [threading.current_thread()]
    with pytest.raises(SourceLost, match="expected camera to be open, found it closed"):
        next(source.frames())


def test_closing_does_not_wait_for_a_device_that_hangs():
    device = Scripted(np.zeros(1))
    source = Live("camera", device)
    frames = source.frames()
    next(frames)
    begun = time.perf_counter()
    source.close(wait_s=0.1)
    assert list(frames) == []
    assert time.perf_counter() - begun < 1
    device.hang.set()
    source._thread.join(5)
    assert device.closed_by == [source._thread]
