"""A sound that arrives in chunks becomes what the network takes: windows, frames of a spectrum, or pieces of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.preprocess.checks import check_sound
from edgekit.preprocess.cutting import SlidingWindows
from edgekit.preprocess.spectrum import Spectrum
from edgekit.specs import AudioPreprocess


def sound_windows(spec: AudioPreprocess, assets: Mapping[str, bytes]) -> SampleWindows | SpectrumWindows:
    """The Windows of sounds; DataError where `spec` needs the sound as a whole."""
    whole = {"range": spec.range, "length": spec.length}
    if spec.padding == "reflect":
        whole["reflect"] = spec.before
    needs = [name for name, value in whole.items() if value]
    if needs or not spec.window:
        raise DataError(f"expected preprocessing of windows for a stream, found {', '.join(needs) or 'no window'}")
    return SampleWindows(spec) if spec.features == "samples" else SpectrumWindows(spec, assets)


class SampleWindows:
    """Windows [window] of the sound itself: those of the whole sound, but for the ones that reach behind its end.

    Each is one batch position of the input: with an axis of one channel where it has that.
    """

    def __init__(self, spec: AudioPreprocess) -> None:
        scaled = (spec.mean, spec.std) if spec.features == "samples" else ((), ())
        self._windows = SlidingWindows(spec.window, spec.hop, spec.before).scaled(*scaled)
        self._channel = spec.channel and spec.features == "samples"
        self.reset = self._windows.reset

    def push(self, samples: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """float32 [n], any n."""
        check_sound(samples)
        windows = self._windows.push(samples)
        return (window[None] for window in windows) if self._channel else windows


class SpectrumWindows:
    """Frames of a spectrum, [1,F] or [F,1] as the layout says; with `frames`, pieces [frames,F] or [F,frames]."""

    def __init__(self, spec: AudioPreprocess, assets: Mapping[str, bytes]) -> None:
        self._windows = SampleWindows(spec)
        self._spectrum = Spectrum(spec, assets, 1)
        self._pieces = SlidingWindows(spec.frames, spec.step, 0, (self._spectrum.width,)) if spec.frames else None
        self._by_time, self._channel = spec.layout == "TF", spec.channel

    def push(self, samples: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """float32 [n], any n."""
        return self._made(self._windows.push(samples))

    def reset(self) -> None:
        """Begin anew: the frame that the next one rises from is forgotten, too."""
        self._windows.reset()
        self._spectrum.reset()
        if self._pieces:
            self._pieces.reset()

    def _made(self, windows: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for window in windows:
            frame = self._spectrum.features(window[None])
            for piece in self._pieces.push(frame) if self._pieces else (frame,):
                turned = piece if self._by_time else piece.T
                yield turned[None] if self._channel else turned
