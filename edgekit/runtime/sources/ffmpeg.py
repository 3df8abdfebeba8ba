"""PyAV, and what its decoded frames become: RGB pictures, converted once and not copied."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import DataError, TargetError
from edgekit.runtime.backend import Array

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame


def pyav() -> Any:
    """The package av; raises TargetError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise TargetError("expected PyAV for video, found none", "pip install 'edgekit[video]'") from error
    return av


class Converter:
    """Makes pictures of decoded frames; holds FFmpeg's scaler, so that its tables are made once a size."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def picture(self, frame: VideoFrame) -> Array:
        """uint8 [H,W,3] RGB, turned upright as the file says; mirrored pictures and oblong pixels stay as they are.

        The conversion writes into memory of the picture's own, and the array is a view of it: rows may be padded. Only
        a turned picture is copied. Colours are those of the matrix and range that the stream names; one that names none
        is taken as ITU-R BT.601, as FFmpeg does.
        """
        # One thread: half a millisecond for 1080p, and others would be woken for strips of it.
        plane = self._reformatter.reformat(frame, format="rgb24", threads=1).planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
        picture = rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
        quarters = round(frame.rotation / 90)  # counter-clockwise, as np.rot90 turns
        return np.ascontiguousarray(np.rot90(picture, quarters)) if quarters else picture


def video_stream(container: InputContainer, what: str) -> Any:
    """The first video stream; raises DataError where there is none."""
    if not container.streams.video:
        kinds = ", ".join(sorted({str(stream.type) for stream in container.streams})) or "no stream at all"
        raise DataError(f"expected video in {what}, found {kinds}", "for sound, a .wav file")
    return container.streams.video[0]


def decoded(packet: Packet[Any]) -> list[Any] | None:
    """The frames that a packet completes; None where it is damaged."""
    import av.error

    try:
        return packet.decode()
    except av.error.EOFError:  # the packet that flushes, after a decoder that gave up
        return []
    except av.error.FFmpegError:
        return None


def rate_of(stream: Any) -> float | None:
    """Frames a second, where the stream says it."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def nanoseconds(ticks: int, time_base: Fraction) -> int:
    """Exactly, rounded down."""
    return ticks * time_base.numerator * 1_000_000_000 // time_base.denominator


def reason(error: Exception) -> str:
    """What FFmpeg says, without the address, which may hold a password."""
    said = getattr(error, "strerror", None) or ("" if "://" in str(error) else str(error))
    return str(said or type(error).__name__)
