"""What a text names, and what is said where nothing is there. Devices that no test machine has are faked."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from edgekit.errors import DataError, TargetError, UsageError  # noqa: E402
from edgekit.runtime.sources import SourceLost, open_source, streams  # noqa: E402
from edgekit.runtime.sources.live import Live  # noqa: E402
from edgekit.runtime.sources.microphone import SoundStream  # noqa: E402
from tests.runtime.sources.clips import moving, until_lost, write_video  # noqa: E402
from tests.runtime.sources.sounds import write_wav  # noqa: E402


@pytest.mark.parametrize("text", ["synthetic:", "synthetic:x", "synthetic:0", "synthetic:-3", "synthetic:nan"])
def test_a_rate_that_is_none_is_a_usage_error(text):
    with pytest.raises(UsageError, match="expected synthetic:RATE"):
        open_source(text)


@pytest.mark.parametrize("text", ["camera:", "camera:x", "camera:0:big", "camera:0:640x480:mjpeg:9", "camera:-1"])
def test_a_camera_that_is_misspelt_is_a_usage_error(text):
    with pytest.raises(UsageError, match="expected camera:0 or camera:0:1280x720:mjpeg, found camera:"):
        open_source(text)


@pytest.mark.parametrize("text", ["screen:0", "rtsp:/one-slash", "rtsp://"])
def test_a_text_that_is_nothing_known_is_told_what_is(text):
    with pytest.raises(UsageError, match=r"found nothing at .*; next: a video file, a folder .*camera:0.*synthetic:30"):
        open_source(text)


@pytest.mark.parametrize("behind", ["", "x", "0", "-1", "nan", "inf", "3601", "5&x=1"])
def test_a_timeout_that_is_none_is_a_usage_error(behind):
    with pytest.raises(UsageError, match=r"expected #timeout_s=SECONDS with 0 < SECONDS <= 3600, found #timeout_s="):
        open_source(f"rtsp://127.0.0.1:1/x#timeout_s={behind}")


def test_a_timeout_is_asked_of_ffmpeg_and_neither_sent_nor_shown(monkeypatch):
    asked = []

    def opened(url, *, options, timeout):
        asked.append((url, timeout))
        return av_open("testsrc=size=64x48:rate=10:duration=1", format="lavfi")

    av_open = av.open
    monkeypatch.setattr(av, "open", opened)
    for text in (
        "rtsp://me:word@host/x?a=1#b",
        "rtsp://me:word@host/x?a=1#b#timeout_s=0.5",
        "udp://:5000#timeout_s=20",
    ):
        source = open_source(text)
        assert source.name in ("rtsp://host/x?…", "udp://:5000")
        source.close()
    url = "rtsp://me:word@host/x?a=1#b"
    assert asked == [(url, 5.0), (url, 0.5), ("udp://:5000", 20.0)]


def test_a_protocol_that_ffmpeg_was_built_without_is_a_usage_error(monkeypatch):
    def opened(url, **options):
        raise av.error.ProtocolNotFoundError(1, "Protocol not found")

    monkeypatch.setattr(av, "open", opened)
    with pytest.raises(UsageError, match="expected a protocol of PyAV's FFmpeg, found srt; next: rtsp://… or udp://…"):
        open_source("srt://127.0.0.1:1")


def test_a_file_that_is_not_there_is_told_what_could_be(tmp_path):
    with pytest.raises(DataError, match=r"found nothing at .*gone.mp4; next: a video file, .*synthetic:30"):
        open_source(str(tmp_path / "gone.mp4"))


@pytest.mark.parametrize("options", [{"fps": 0}, {"fps": float("nan")}, {"chunk": 0}, {"sample_rate": 0}])
def test_numbers_are_positive(options):
    with pytest.raises(UsageError, match="expected positive numbers"):
        open_source("synthetic:30", **options)


def test_a_rate_is_not_taken_where_the_source_has_its_own(tmp_path):
    for path in (
        write_wav(tmp_path / "a.wav", np.zeros((9, 1), np.int64), 2),
        write_video(tmp_path / "c.mp4", moving(2)),
    ):
        with pytest.raises(UsageError, match="expected fps for a camera or a folder of pictures alone"):
            open_source(str(path), fps=30)


@pytest.mark.skipif(Path("/dev/video97").exists(), reason="there is a camera")
@pytest.mark.parametrize("text", ["camera:97", "camera:/dev/video97", "camera:97:640x480:mjpeg"])
def test_a_camera_that_is_not_there_is_said_in_one_line(text):
    with pytest.raises(
        TargetError, match=r"expected a camera at /dev/video97, found: .*No such file.*; next: ls /dev/"
    ):
        open_source(text)


def test_a_camera_is_asked_for_its_size_coding_and_rate(monkeypatch):
    asked = []

    def opened(device, **options):
        asked.append((device, options["format"], options["options"]))
        return av_open("testsrc=size=64x48:rate=10:duration=1", format="lavfi")

    av_open = av.open
    monkeypatch.setattr(av, "open", opened)
    by_path = "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:3:1.0-video-index0"
    for text, fps in (
        ("camera:2:1280x720:mjpeg", 60),
        (f"camera:{by_path}", None),
        (f"camera:{by_path}:640x480", 29.97),
    ):
        open_source(text, fps=fps).close()
    assert asked == [
        ("/dev/video2", "v4l2", {"video_size": "1280x720", "input_format": "mjpeg", "framerate": "60"}),
        (by_path, "v4l2", {}),
        (by_path, "v4l2", {"video_size": "640x480", "framerate": "29.97"}),
    ]


def test_a_camera_counts_from_the_drivers_clock(monkeypatch):
    container = av.open("testsrc=size=64x48:rate=10:duration=1", format="lavfi")
    monkeypatch.setattr(streams, "sensed", lambda stamp, arrived: stamp)
    frames, _ = until_lost(Live("c", streams.VideoStream(container, "c", sensor_clock=True)))
    assert [frame.captured_ns for frame in frames] == [100_000_000 * index for index in range(10)]


@pytest.mark.skipif(Path("/dev/snd").exists(), reason="there may be a microphone")
def test_a_microphone_that_is_not_there_is_said_in_one_line():
    with pytest.raises(TargetError, match=r"expected a microphone at ALSA's hw:9,0, found: .*; next: arecord -L"):
        open_source("microphone:hw:9,0")


def test_a_microphone_gives_chunks_at_the_rate_that_was_asked_for():
    tone = av.open("sine=frequency=500:sample_rate=48000:duration=1", format="lavfi")
    source = Live("microphone:", SoundStream(tone, "sine", 512, 16_000))
    frames, _ = until_lost(source)
    assert all((frame.data.shape, frame.data.dtype) == ((512,), np.float32) for frame in frames)
    assert len(frames) in (30, 31)  # of 31.25
    assert source.rate == 31.25
    sound = np.concatenate([frame.data for frame in frames])[2048:12_032].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(sound))
    assert spectrum.argmax() == round(500 * len(sound) / 16_000)
    assert spectrum.max() ** 2 > 0.999 * (spectrum**2).sum()
    assert frames[0].captured_ns < frames[-1].captured_ns


def test_a_microphone_is_asked_for_one_channel(monkeypatch):
    asked = []

    def opened(device, **options):
        asked.append((device, options["format"], options["options"]))
        return av_open("sine=duration=1", format="lavfi")

    av_open = av.open
    monkeypatch.setattr(av, "open", opened)
    open_source("microphone:hw:1,0", sample_rate=8000).close()
    open_source("microphone:").close()
    assert asked == [
        ("hw:1,0", "alsa", {"sample_rate": "8000", "channels": "1"}),
        ("default", "alsa", {"sample_rate": "16000", "channels": "1"}),
    ]


class Capture:
    """cv2.VideoCapture of a pipeline that gives two blue pictures and ends."""

    def __init__(self, text: str, kind: int) -> None:
        self.text, self.left, self.released = text, 2, False
        OPENED.append(self)

    def isOpened(self) -> bool:
        return "broken" not in self.text

    def get(self, what: int) -> float:
        return 0.0

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((4, 6, 3), (255, 0, 1), np.uint8)

    def release(self) -> None:
        self.released = True


OPENED: list[Capture] = []


def opencv(*backends: int) -> types.ModuleType:
    module = types.ModuleType("cv2")
    module.CAP_GSTREAMER, module.CAP_PROP_FPS, module.COLOR_BGR2RGB = 1800, 5, 4
    module.VideoCapture = Capture
    module.videoio_registry = types.SimpleNamespace(hasBackend=lambda backend: backend in backends)

    def convert(picture, code, dst):
        dst[:] = picture[..., ::-1].copy()
        return dst

    module.cvtColor = convert
    return module


@pytest.mark.parametrize("text", ["gst:videotestsrc ! videoconvert ! appsink", "videotestsrc ! appsink drop=true"])
def test_a_pipeline_gives_red_green_and_blue(monkeypatch, text):
    monkeypatch.setitem(sys.modules, "cv2", opencv(1800))
    source = open_source(text)
    frames, lost = until_lost(source)
    assert "found its end" in str(lost)
    assert [frame.data[0, 0].tolist() for frame in frames] == [[1, 0, 255]] * 2
    assert OPENED[-1].text == text.removeprefix("gst:")
    assert OPENED[-1].released
    assert source.rate is None


@pytest.mark.parametrize(
    ("module", "text", "error", "says"),
    [
        (None, "gst:a ! appsink", TargetError, "expected OpenCV for a GStreamer pipeline, found none"),
        (opencv(200), "gst:a ! appsink", TargetError, "expected an OpenCV built with GStreamer, found one without"),
        (opencv(1800), "gst:broken ! appsink", SourceLost, "expected a pipeline that starts"),
        (opencv(1800), "gst:a ! autovideosink", UsageError, "expected a pipeline that ends in appsink"),
    ],
)
def test_a_pipeline_that_cannot_be_is_said_in_one_line(monkeypatch, module, text, error, says):
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(error, match=says):
        open_source(text)


def test_without_pyav_the_extra_is_named(monkeypatch, tmp_path):
    (tmp_path / "c.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    for text in (str(tmp_path / "c.mp4"), "camera:0", "rtsp://127.0.0.1:1/x", "microphone:"):
        with pytest.raises(
            TargetError, match=r"expected PyAV for video, found none; next: pip install 'edgekit\[video\]'"
        ):
            open_source(text)


def test_nothing_heavy_is_imported_before_it_is_opened(tmp_path):
    script = (
        "import sys, edgekit.runtime.sources as s; print({'av', 'numpy', 'PIL', 'cv2', 'wave'} & set(sys.modules));"
    )
    script += "s.open_source('synthetic:30'); print({'av', 'PIL', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]
