"""Cameras and network streams, through FFmpeg."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgekit.errors import DataError, TargetError, UsageError
from edgekit.runtime.backend import Array
from edgekit.runtime.sources.ffmpeg import Converter, decoded, nanoseconds, pyav, rate_of, reason, video_stream
from edgekit.runtime.sources.frame import SourceLost
from edgekit.runtime.sources.names import shown

# Without a packet for so long, a stream is lost.
TIMEOUT_S = 5.0
# A time stamp of the sensor is believed when it is of this clock, and so at most this old.
_OLDEST_NS = 2_000_000_000


class VideoStream:
    """An open Device of FFmpeg's. `captured_ns` is when the packet arrived; with `sensor_clock`, what the driver says.

    Time spent in the network, or in a socket's buffer while nobody reads, is not seen, and the few frames at which
    FFmpeg looked while it opened the stream count as arrived when that was done. Frames come out as soon as they are
    decoded: no decoder thread holds one back for the next.
    """

    def __init__(self, container: Any, name: str, *, sensor_clock: bool = False) -> None:
        self._container, self._name, self._sensor_clock = container, name, sensor_clock
        self._stream = video_stream(container, name)
        self._stream.thread_type = "SLICE"  # FRAME holds back a frame for each thread
        self.rate = rate_of(self._stream)

    def read(self) -> Iterator[tuple[Array | None, int]]:
        """uint8 [H,W,3] RGB, or None for a damaged frame."""
        converter = Converter()
        arrivals: dict[int | None, int] = {}  # of the packets whose frames are still in the decoder
        for packet in arriving(self._container, self._stream, self._name):
            now = time.perf_counter_ns()
            if len(arrivals) > 64:  # packets that never became frames
                arrivals.clear()
            arrivals[packet.pts] = now
            frames = decoded(packet)
            if frames is None:
                yield None, now
            for frame in frames or ():
                captured = arrivals.pop(frame.pts, now)
                if self._sensor_clock and frame.pts is not None:
                    captured = sensed(nanoseconds(frame.pts, frame.time_base), captured)
                yield None if frame.is_corrupt else converter.picture(frame), captured

    def close(self) -> None:
        """By the thread that reads."""
        self._container.close()


def arriving(container: Any, stream: Any, name: str) -> Iterator[Any]:
    """Packets until the stream ends; raises SourceLost where it breaks, or is silent for its timeout."""
    import av.error

    try:
        yield from container.demux(stream)
    except av.error.ExitError:
        raise SourceLost(f"expected data of {name}, found none for {container.read_timeout:g} s") from None
    except (av.error.FFmpegError, OSError) as error:
        raise SourceLost(f"expected data of {name}, found: {reason(error)}") from None


def sensed(stamp_ns: int, arrived_ns: int) -> int:
    """The driver's time stamp, where it is of CLOCK_MONOTONIC: UVC cameras' are, and on Linux `perf_counter_ns` is."""
    return stamp_ns if 0 <= arrived_ns - stamp_ns <= _OLDEST_NS else arrived_ns


def open_camera(device: str, size: str | None, coding: str | None, fps: float | None) -> VideoStream:
    """A V4L2 camera; raises TargetError where there is none, or none that takes these settings."""
    av = pyav()
    asked = {"video_size": size, "input_format": coding, "framerate": f"{fps:g}" if fps else None}
    options = {name: value for name, value in asked.items() if value}
    try:
        container = av.open(device, format="v4l2", options=options, timeout=TIMEOUT_S)
        return VideoStream(container, device, sensor_clock=True)
    except (av.error.FFmpegError, OSError, ValueError, DataError) as error:
        found = " ".join(f"{name} {value}," for name, value in options.items())
        next_step = "sudo usermod -aG video $USER" if isinstance(error, PermissionError) else "ls /dev/video*"
        raise TargetError(f"expected a camera at {device}, found: {found} {reason(error)}", next_step) from error


def open_stream(url: str, timeout_s: float = TIMEOUT_S) -> VideoStream:
    """An rtsp, http, udp or tcp stream; RTSP over TCP, without its sound.

    `timeout_s` limits the connect with its handshake, the look at the first frames, and each wait for data. Raises
    SourceLost where there is none, UsageError for a protocol that this FFmpeg does not know. FFmpeg's own errors are
    not chained to these: they hold the address with its password, and a traceback would show it.
    """
    av = pyav()
    # FFmpeg would look at twenty frames to tell the rate: 0.9 s at 25 a second, where three take 0.2.
    options = {"fpsprobesize": "3"}
    if url.startswith("rtsp"):
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "video"}
    name = shown(url)
    begun_s = time.monotonic()
    try:
        container = av.open(url, options=options, timeout=timeout_s)
        return VideoStream(container, name)
    except av.error.ProtocolNotFoundError:
        known = "rtsp://… or udp://…"
        raise UsageError(f"expected a protocol of PyAV's FFmpeg, found {url.partition(':')[0]}", known) from None
    except (av.error.FFmpegError, OSError) as error:
        # Of RTSP, FFmpeg says "invalid data" where it was interrupted.
        silent = isinstance(error, av.error.ExitError) or time.monotonic() - begun_s >= timeout_s
        found = f" nothing for {timeout_s:g} s" if silent else f": {reason(error)}"
        next_step = f"#timeout_s={4 * timeout_s:g} behind the address waits longer" if silent else f"ffplay {name}"
        raise SourceLost(f"expected a stream at {name}, found{found}", next_step) from None
    except DataError as error:  # a camera that has sent its sound only may send pictures yet
        raise SourceLost(error.problem, error.next_step) from error
