"""Small videos, made for the tests with PyAV."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgekit.runtime.sources import Frame, Source, SourceLost

data = pytest.importorskip("skimage.data")


def moving(count: int, height: int = 120, width: int = 160) -> list[np.ndarray]:
    """Crops of a photograph, each a little further down and to the right: uint8 [height,width,3]."""
    photo = data.astronaut()
    return [np.ascontiguousarray(photo[3 * i : 3 * i + height, 5 * i : 5 * i + width]) for i in range(count)]


def encoded(stream: av.VideoStream, pictures: Sequence[np.ndarray], ticks: Sequence[int], base: Fraction) -> Iterator:
    """Packets of the pictures, and of what the encoder still held."""
    for picture, tick in zip(pictures, ticks, strict=True):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = tick, base
        yield from stream.encode(frame)
    yield from stream.encode()


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    ticks: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
) -> Path:
    """A clip whose frames have these time stamps; pixels survive exactly in ffv1 with bgr0, nearly in the others."""
    height, width = pictures[0].shape[:2] if pictures else (120, 160)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.time_base = width, height, base
        stream.codec_context.time_base = base
        stream.pix_fmt = {"ffv1": "bgr0", "mjpeg": "yuvj444p"}.get(codec, "yuv420p")
        if not pictures:
            file.start_encoding()
        for packet in encoded(stream, pictures, ticks if ticks is not None else range(len(pictures)), base):
            file.mux(packet)
    return path


def turned(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the track header of an .mp4: ISO/IEC 14496-12, 8.3.2; 16.16 fixed point."""
    content = bytearray(path.read_bytes())
    at = content.find(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version 0
    a, b, c, d = (65536 * value for value in matrix)
    assert struct.unpack_from(">2i", content, at) == (65536, 0)
    struct.pack_into(">9i", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(found.astype(np.float64) - expected).mean())


def until_lost(source: Source) -> tuple[list[Frame], SourceLost]:
    """All frames, and the loss that is behind them."""
    frames: list[Frame] = []
    with pytest.raises(SourceLost) as lost:
        for frame in source.frames():
            frames.append(frame)
    return frames, lost.value
