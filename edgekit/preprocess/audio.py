"""A sound becomes the input tensor: its windows, or the bands of their spectra, written into the bound buffer.

Shapes: S samples, T windows, F bands, K pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.preprocess import Inputs, Sizes
from edgekit.preprocess.checks import batch_position, check_buffer, check_sound, only_channel
from edgekit.preprocess.spectrum import Spectrum
from edgekit.specs import AudioPreprocess

# A block's windows, times the FFT's size, stay below this: the scratch then lies in the cache, and does not grow with
# the sound.
_BLOCK_SAMPLES = 2**16
_FLOATS = ("float32", "float16")


class Sounds:
    """The Preprocessor of sounds: float32 [S], mono, at the spec's rate; what is written is as the spec says."""

    def __init__(self, spec: AudioPreprocess, assets: Mapping[str, bytes]) -> None:
        self._spec = spec
        self._block = max(1, min(128, _BLOCK_SAMPLES // max(spec.fft, spec.window, 1)))
        self._spectrum = Spectrum(spec, assets, self._block) if spec.features == "spectrogram" else None
        self._scratch = np.empty((self._block - 1) * spec.hop + spec.window if spec.window else 2**14, np.float32)
        self._frames = np.lib.stride_tricks.sliding_window_view(self._scratch, spec.window or 1)[:: spec.hop or 1]
        self._filled = np.empty(spec.length, np.float32)

    def prepare(self, item: NDArray[Any]) -> Sizes:
        """Raises DataError for a sound that is not mono, has a NaN, or is shorter than one window or piece."""
        spec = self._spec
        check_sound(item)
        if spec.length and len(item) > spec.length:
            raise DataError(
                f"expected a sound of at most {spec.length} samples, found {len(item)}", "cut it into pieces"
            )
        samples = spec.length or len(item)
        least = 1
        if spec.window:
            least = spec.window - spec.before - spec.after + max(spec.frames - 1, 0) * spec.hop
        if spec.padding == "reflect":
            least = max(least, spec.before + 1, spec.after + 1)
        if samples < max(least, 1):
            raise DataError(f"expected a sound of at least {max(least, 1)} samples, found {samples}")
        time_axis = 2 if spec.channel else 1
        if not spec.window:
            return {spec.input: {time_axis: samples}}
        windows = self._windows(samples)
        if self._spectrum is None:
            return {spec.input: {0: windows}}
        if spec.frames:
            return {spec.input: {0: self._pieces(windows)}}
        return {spec.input: {time_axis if spec.layout == "TF" else time_axis + 1: windows}}

    def write(self, item: NDArray[Any], inputs: Inputs, slot: int) -> None:
        """Windows and pieces fill the batch; a whole sound or spectrogram goes into position `slot`."""
        spec, sound = self._spec, self._to_length(item)
        buffer = inputs(spec.input)
        if spec.channel:
            buffer = only_channel(spec.input, buffer)
        windows = self._windows(len(sound)) if spec.window else 0
        if self._spectrum is not None:
            self._write_spectrogram(self._spectrum, sound, windows, buffer, slot)
        elif spec.window:
            check_buffer(spec.input, buffer, (windows, spec.window), _FLOATS)
            for start, frames in self._blocks(sound, windows):
                buffer[start : start + len(frames)] = frames
        else:
            out = batch_position(spec.input, buffer, slot)
            check_buffer(spec.input, out, sound.shape, _FLOATS)
            for start in range(0, len(sound), len(self._scratch)):
                part = self._scratch[: len(sound) - start]
                self._copy(sound, start, part)
                out[start : start + len(part)] = part

    def _write_spectrogram(
        self, spectrum: Spectrum, sound: NDArray[Any], windows: int, buffer: NDArray[Any], slot: int
    ) -> None:
        spec = self._spec
        pieces, frames, step = (self._pieces(windows), spec.frames, spec.step) if spec.frames else (1, windows, 1)
        shape = (frames, spectrum.width) if spec.layout == "TF" else (spectrum.width, frames)
        out = buffer if spec.frames else batch_position(spec.input, buffer, slot)[None]
        check_buffer(spec.input, out, (pieces, *shape), _FLOATS)
        by_time = out if spec.layout == "TF" else out.transpose(0, 2, 1)  # [K, frames, F]
        loudest = -np.inf
        spectrum.reset()
        for start, block in self._blocks(sound, windows):
            features = spectrum.features(block)
            stop = start + len(features)
            for piece in range(max(0, (start - frames) // step + 1), min(pieces, (stop - 1) // step + 1)):
                first = piece * step
                low, high = max(start, first), min(stop, first + frames)
                by_time[piece, low - first : high - first] = features[low - start : high - start]
            if spec.range:
                loudest = max(loudest, float(features.max()))
        if spec.range:
            np.maximum(by_time, np.float32(loudest - spec.range), out=by_time, casting="same_kind")
            spectrum.scale(by_time)

    def _windows(self, samples: int) -> int:
        """T, at least 1 for a sound that `prepare` accepted."""
        return 1 + (self._spec.before + samples + self._spec.after - self._spec.window) // self._spec.hop

    def _pieces(self, windows: int) -> int:
        """K: the last windows that make no whole piece are left out."""
        return 1 + (windows - self._spec.frames) // self._spec.step

    def _to_length(self, sound: NDArray[Any]) -> NDArray[Any]:
        if not self._spec.length:
            return sound
        self._filled[: len(sound)] = sound
        self._filled[len(sound) :] = 0
        return self._filled

    def _blocks(self, sound: NDArray[Any], windows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(index of the first, float32 [n, window]) for block after block; the view is overwritten by the next."""
        spec = self._spec
        for start in range(0, windows, self._block):
            count = min(self._block, windows - start)
            self._copy(sound, start * spec.hop - spec.before, self._scratch[: (count - 1) * spec.hop + spec.window])
            yield start, self._frames[:count]

    def _copy(self, sound: NDArray[Any], first: int, out: NDArray[np.float32]) -> None:
        """out[i] = sound[first + i], with the padding outside of the sound; samples are scaled, spectra later."""
        size, end = len(sound), first + len(out)
        left, right = max(0, -first), max(0, end - size)
        middle = out[left : len(out) - right]
        middle[:] = sound[first + left : end - right]
        if self._spectrum is None and self._spec.mean:
            np.subtract(middle, np.float32(self._spec.mean[0]), out=middle)
            np.divide(middle, np.float32(self._spec.std[0]), out=middle)
        reflect = self._spec.padding == "reflect"
        out[:left] = sound[1 : left + 1][::-1] if reflect else 0
        out[len(out) - right :] = sound[size - 1 - right : size - 1][::-1] if reflect else 0
