"""A microphone, through FFmpeg's ALSA."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import TargetError
from edgekit.runtime.backend import Array
from edgekit.runtime.sources.ffmpeg import decoded, pyav, reason
from edgekit.runtime.sources.names import shown
from edgekit.runtime.sources.streams import TIMEOUT_S, arriving

_ALSA = Path("/usr/share/alsa/alsa.conf")


class SoundStream:
    """An open Device: chunks of `chunk` samples at `sample_rate` Hz, mixed to one channel.

    `captured_ns` is when the packet arrived that completed the chunk.
    """

    def __init__(self, container: Any, name: str, chunk: int, sample_rate: int) -> None:
        self._container, self._name = container, name
        self._stream = container.streams.audio[0]
        self._resampler = pyav().AudioResampler("flt", "mono", sample_rate, frame_size=chunk)
        self._chunk = chunk
        self.sample_rate = sample_rate
        self.rate: float | None = sample_rate / chunk

    def read(self) -> Iterator[tuple[Array | None, int]]:
        """float32 [chunk] in -1..1."""
        for packet in arriving(self._container, self._stream, self._name):
            now = time.perf_counter_ns()
            frames = decoded(packet)
            if frames is None:
                yield None, now
            for frame in frames or ():
                for sound in self._resampler.resample(frame):
                    yield sound.to_ndarray()[0], now

    def close(self) -> None:
        """By the thread that reads."""
        self._container.close()


def open_microphone(device: str, chunk: int, sample_rate: int) -> SoundStream:
    """ALSA's `device`, such as default or hw:1,0; raises TargetError where there is none."""
    av = pyav()
    if "alsa" not in av.formats_available:
        raise TargetError("expected ALSA in PyAV's FFmpeg, found none", "pip install av on Linux")
    # The libasound in PyAV's wheels looks for its settings where it was built.
    if _ALSA.exists():
        os.environ.setdefault("ALSA_CONFIG_PATH", str(_ALSA))
    options = {"sample_rate": str(sample_rate), "channels": "1"}
    try:
        container = av.open(device, format="alsa", options=options, timeout=TIMEOUT_S)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise TargetError(
            f"expected a microphone at ALSA's {shown(device)}, found: {reason(error)}", "arecord -L"
        ) from None
    return SoundStream(container, device, chunk, sample_rate)
