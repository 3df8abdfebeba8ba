"""Video files, through FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import DataError
from edgekit.runtime.sources.ffmpeg import Converter, decoded, nanoseconds, pyav, rate_of, reason, video_stream
from edgekit.runtime.sources.recording import Piece


class VideoFile:
    """A Tape of the first video stream of a file; raises DataError for a file without one.

    Frames are due as their time stamps say, counted from the first. A frame whose damage FFmpeg saw and concealed is as
    good as none; those that were predicted from it are given. A file that was cut off ends there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as container:
            self.rate = rate_of(video_stream(container, str(path)))

    def pieces(self) -> Iterator[Piece]:
        """uint8 [H,W,3] RGB; one picture is held here, and as many decoded frames as FFmpeg has threads."""
        import av.error

        converter, clock = Converter(), _Clock(self.rate)
        with self._opened() as container:
            stream = video_stream(container, str(self._path))
            stream.thread_type = "AUTO"
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError:
                    packet = None
                    yield clock.damaged()
                if packet is None:
                    return
                frames = decoded(packet)
                if frames is None:
                    yield clock.damaged()
                for frame in frames or ():
                    piece = clock.piece(frame)
                    yield piece if frame.is_corrupt else piece._replace(data=converter.picture(frame))

    def _opened(self) -> Any:
        av = pyav()
        try:
            # With file: a colon in the name is no protocol, and a playlist's addresses are not opened.
            return av.open(f"file:{self._path}")
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(
                f"expected a video at {self._path}, found: {reason(error)}", f"ffprobe {self._path}"
            ) from error


class _Clock:
    """When frames are due: as they say, or one period after the last where they do not."""

    def __init__(self, rate: float | None) -> None:
        self._period_ns = round(1e9 / rate) if rate else 0
        self._first: int | None = None  # nanoseconds in the file
        self._due = self._end = 0

    def piece(self, frame: Any) -> Piece:
        """Without its data."""
        if frame.pts is None or frame.time_base is None:
            self._due = self._end
            self._end += self._period_ns
        else:
            at = nanoseconds(frame.pts, frame.time_base)
            self._first = at if self._first is None else self._first
            self._due = max(self._due, at - self._first)
            lasts = nanoseconds(frame.duration, frame.time_base) if frame.duration else self._period_ns
            self._end = self._due + lasts
        return Piece(None, self._due, self._end)

    def damaged(self) -> Piece:
        """What stands for a packet that could not be decoded."""
        return Piece(None, self._due, self._end)
