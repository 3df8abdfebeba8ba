"""Sounds of .wav files, in chunks."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgekit.errors import DataError
from edgekit.runtime.backend import Array
from edgekit.runtime.sources.recording import Piece


class WavFile:
    """A Tape of a file of 8, 16, 24 or 32 bit PCM, channels mixed to one; raises DataError for another.

    A chunk is due when its last sample was heard. The last chunk is filled up with silence, since a network takes
    chunks of one length. Raises DataError when `sample_rate` (Hz) is given and the file has another.
    """

    def __init__(self, path: Path, chunk: int, sample_rate: int | None = None) -> None:
        self._path, self._chunk = path, chunk
        with self._opened() as file:
            self.sample_rate = file.getframerate()
            self.length = file.getnframes()  # as its header says
        if sample_rate is not None and sample_rate != self.sample_rate:
            raise DataError(f"expected {path} at {sample_rate} Hz, found {self.sample_rate} Hz", "resample it")
        self.rate: float | None = self.sample_rate / chunk

    def pieces(self) -> Iterator[Piece]:
        """float32 [chunk] in -1..1, scaled by 2^(bits-1)."""
        with self._opened() as file:
            channels, width, heard = file.getnchannels(), file.getsampwidth(), 0
            while True:
                try:
                    raw = file.readframes(self._chunk)
                except (wave.Error, EOFError, OSError):
                    return
                whole = len(raw) // (channels * width)  # a file that was cut off may end within a sample
                if not whole:
                    return
                sound = np.zeros(self._chunk, np.float32)
                samples(raw[: whole * channels * width], width).reshape(-1, channels).mean(1, out=sound[:whole])
                heard += self._chunk
                due_ns = heard * 1_000_000_000 // self.sample_rate
                yield Piece(sound, due_ns, due_ns)

    def _opened(self) -> wave.Wave_read:
        try:
            file = wave.open(str(self._path), "rb")  # noqa: SIM115 (the callers close it)
        except (wave.Error, EOFError, OSError) as error:
            found = str(error) or "an empty file"
            raise DataError(
                f"expected PCM of 8 to 32 bits at {self._path}, found: {found}", "save it as such"
            ) from error
        if file.getsampwidth() > 4 or file.getframerate() < 1:
            raise DataError(f"expected PCM of 8 to 32 bits at {self._path}, found {8 * file.getsampwidth()} bits")
        return file


def read_wav(path: Path, sample_rate: int | None = None) -> Array:
    """float32 [S] in -1..1, all of a file at once. Raises DataError as `WavFile` does, and for one without a sample."""
    tape = WavFile(path, 1 << 16, sample_rate)
    pieces = [piece.data for piece in tape.pieces() if piece.data is not None]
    if not tape.length or not pieces:
        raise DataError(f"expected samples in {path}, found none")
    whole: Array = np.concatenate(pieces)[: tape.length]
    return whole


def samples(raw: bytes, width: int) -> Array:
    """float32 in -1..1 of little-endian PCM of `width` bytes a value; 8 bits are unsigned, as .wav has them."""
    if width == 1:
        return np.subtract(np.frombuffer(raw, np.uint8), 128, dtype=np.float32) / 128
    if width == 3:  # the upper three bytes of 32 bits
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        integers, bits = padded.view("<i4")[:, 0], 32
    else:
        integers, bits = np.frombuffer(raw, "<i2" if width == 2 else "<i4"), 8 * width
    scaled: Array = np.multiply(integers, 2.0 ** (1 - bits), dtype=np.float32)
    return scaled
