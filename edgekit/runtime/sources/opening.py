"""One line of text, such as camera:0 or clip.mp4, becomes a source; what reads it is imported only then."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.errors import DataError, UsageError
from edgekit.runtime.sources.frame import Source
from edgekit.runtime.sources.names import is_pipeline, shown

FORMS = (
    "a video file, a folder of pictures, sound.wav, camera:0 (or camera:0:1280x720:mjpeg), "
    "rtsp://… (or http, udp, tcp; rtsp://…#timeout_s=20 for a slow one), 'gst:… ! appsink', "
    "microphone: (or microphone:hw:1,0), synthetic:30"
)
_URL = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|rtp|srt)://.+")
# FFmpeg would not see it either: what is behind # is not sent.
_TIMEOUT = re.compile(r"#timeout_s=(.*)")
# Names under /dev/v4l/by-path hold colons, so that the size is looked for from the end.
_CAMERA = re.compile(r"camera:(\d+|/dev/\S+?)(?::(\d+x\d+)(?::(\w+))?)?")


def open_source(
    text: str,
    *,
    pace: bool = True,
    loop: bool = False,
    fps: float | None = None,
    chunk: int = 512,
    sample_rate: int | None = None,
) -> Source:
    """Open what `text` names, one of FORMS; of a camera or a stream, which may fail later, see `Reconnecting`.

    `pace` and `loop` concern recordings: played at their own pace, or as fast as they are read; begun again at the end.
    `fps` is that of a folder of pictures (30 unless given), or what a camera is asked for. Sounds come in chunks of
    `chunk` samples; `sample_rate` in Hz is what a microphone is asked for (16000), and what a file is checked against.
    A stream that gives nothing for 5 s, at its opening or later, is lost; #timeout_s=20 behind its address allows 20.

    Raises UsageError for a text or a number that is none of these, DataError for a file that cannot be read,
    TargetError for a device or a package that is not there, and SourceLost for a stream that nobody serves.
    """
    if not isinstance(text, str) or not text:
        raise UsageError(f"expected the name of a source, found {text!r}", FORMS)
    if chunk < 1 or (fps is not None and not fps > 0) or (sample_rate is not None and sample_rate < 1):
        raise UsageError(f"expected positive numbers, found fps {fps}, chunk {chunk}, sample_rate {sample_rate}")
    live = _live(text, fps, chunk, sample_rate)
    if live is not None:
        return live
    from edgekit.runtime.sources.recording import Recording

    if text.startswith("synthetic:"):
        from edgekit.runtime.sources.synthetic import Synthetic

        return Recording(text, Synthetic(_rate(text)), pace=pace)
    path = Path(text)
    if path.is_dir():
        from edgekit.runtime.sources.folder import PictureFolder

        return Recording(text, PictureFolder(path, fps or 30.0), pace=pace, loop=loop)
    _refuse(fps, text)
    if not path.exists():
        wrong = UsageError if re.match(r"[a-z]+:", text) else DataError
        raise wrong(f"expected a source of frames, found nothing at {shown(text)}", FORMS)
    if path.suffix.lower() in (".wav", ".wave"):
        from edgekit.runtime.sources.wav import WavFile

        return Recording(text, WavFile(path, chunk, sample_rate), pace=pace, loop=loop)
    from edgekit.runtime.sources.video import VideoFile

    return Recording(text, VideoFile(path), pace=pace, loop=loop)


def _live(text: str, fps: float | None, chunk: int, sample_rate: int | None) -> Source | None:
    """A device or a stream, or None where `text` is something else."""
    from edgekit.runtime.sources.live import Live

    camera = _CAMERA.fullmatch(text)
    if camera:
        from edgekit.runtime.sources.streams import open_camera

        device, size, coding = camera.groups()
        return Live(text, open_camera(f"/dev/video{device}" if device.isdigit() else device, size, coding, fps))
    if text.startswith("camera:"):
        raise UsageError(f"expected camera:0 or camera:0:1280x720:mjpeg, found {shown(text)}", FORMS)
    if _URL.fullmatch(text):
        from edgekit.runtime.sources.streams import TIMEOUT_S, open_stream

        url, timeout_s = _timeout(text, TIMEOUT_S)
        _refuse(fps, url)
        return Live(shown(url), open_stream(url, timeout_s))
    if is_pipeline(text):
        from edgekit.runtime.sources.gstreamer import Pipeline

        _refuse(fps, "a pipeline")
        return Live(shown(text), Pipeline(text.removeprefix("gst:").strip()))
    if text.startswith("microphone:"):
        from edgekit.runtime.sources.microphone import open_microphone

        _refuse(fps, text)
        return Live(text, open_microphone(text.removeprefix("microphone:") or "default", chunk, sample_rate or 16000))
    return None


def _timeout(text: str, otherwise_s: float) -> tuple[str, float]:
    """The address, and the seconds that stand behind it."""
    found = _TIMEOUT.search(text)
    if found is None:
        return text, otherwise_s
    try:
        timeout_s = float(found[1])
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s <= 3600:
        value = found[1] if re.fullmatch(r"[-+.\w]{0,9}", found[1]) else "…"  # it may be the rest of a password
        raise UsageError(f"expected #timeout_s=SECONDS with 0 < SECONDS <= 3600, found #timeout_s={value}", FORMS)
    return text[: found.start()], timeout_s


def _rate(text: str) -> float:
    try:
        rate = float(text.removeprefix("synthetic:"))
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 10_000:
        raise UsageError(f"expected synthetic:RATE with 0 < RATE <= 10000 frames a second, found {shown(text)}", FORMS)
    return rate


def _refuse(fps: float | None, what: str) -> None:
    if fps is not None:
        raise UsageError(f"expected fps for a camera or a folder of pictures alone, found it for {shown(what)}")
