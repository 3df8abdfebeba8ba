"""How a sound becomes the input tensor: windows, spectrum, filters, logarithm and pieces, all as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.errors import RecipeError
from edgekit.specs.checks import finite, scaling, whole
from edgekit.specs.tables import choose_among

# Limits of what a bundle may ask for: 87 s at 48 kHz; more bands than any bank has.
_MOST_SAMPLES, _MOST_BANDS = 2**22, 4096
_CHOICES = {
    "features": ("samples", "spectrogram"),
    "padding": ("zeros", "reflect"),
    "taper": ("hann", "hann_symmetric", "rectangular"),
    "scale": ("slaney", "htk"),
    "norm": ("slaney", "none"),
    "logarithm": ("none", "ln", "log10", "log10(1+x)", "dB"),
    "layout": ("TF", "FT"),
}


@dataclass(frozen=True)
class AudioPreprocess:
    """How a sound, mono, `rate` samples a second, becomes the input tensor; `edgekit.preprocess` applies it.

    `features`: "samples" are the sound itself [N,S], or with a `window` its windows [K,window], along the batch axis;
    a "spectrogram" has F bands a window.

    1. With a `length` the sound is filled up with zeros to so many samples.
    2. `before` and `after` samples of `padding` go on. Window t covers `window` samples from t * `hop` on, for as many
       as lie within: 1 + (before + S + after - window) // hop. librosa and torch, centred, have before = after =
       window / 2; with a last window less (Whisper), after = window / 2 - hop; madmom's ceil(S / hop) windows have
       before = window // 2 and after = window - before - 1.
    3. Each is multiplied by the `taper` (Hann, periodic or symmetric) and, filled up with zeros, transformed by an FFT
       of `fft` samples (0: `window`): the magnitudes to the `power` 1 or 2.
    4. `bands` triangles from `low` to `high` Hz (0: rate / 2), evenly on Slaney's or HTK's mel scale, weigh them; or a
       matrix [bins, F] in the bundle's .npy file `filters`, which may leave out the last bin; or nothing does.
    5. The `logarithm` of max(x, floor); dB is 10 log10 for power 2 and 20 log10 for 1. log10(1+x) needs no floor.
    6. With a `range`, in units of the logarithm, nothing is further below the loudest value of the sound.
    7. With `rise`, max(0, x[t] - x[t-1]) follows as F further bands, zero for the first window.
    8. (x - mean) / std, of one number each or one a band. For samples this comes before the padding.
    9. [N,T,F], or [N,F,T] as the `layout` says. With `frames`, pieces of so many windows, one every `step`, along the
       batch axis: [K,frames,F]; windows behind the last whole piece are left out.
    10. With `channel`, samples and spectra have an axis of one channel behind the batch: [N,1,S], [N,1,T,F].
    """

    KIND: ClassVar[str] = "audio"
    ASSETS: ClassVar[tuple[str, ...]] = ("filters",)

    kind: str
    input: str
    rate: int
    features: str = "samples"
    length: int = 0
    window: int = 0
    hop: int = 0
    before: int = 0
    after: int = 0
    padding: str = "zeros"
    taper: str = "hann"
    fft: int = 0
    power: int = 2
    bands: int = 0
    low: float = 0.0
    high: float = 0.0
    scale: str = "slaney"
    norm: str = "slaney"
    filters: str = ""
    logarithm: str = "none"
    floor: float = 1e-10
    range: float = 0.0
    rise: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = "TF"
    channel: bool = False
    frames: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "preprocess")
        for name, allowed in _CHOICES.items():
            choose_among(name, getattr(self, name), allowed, "preprocess")
        whole("preprocess", "rate", self.rate, 1, 10**6)
        whole("preprocess", "length", self.length, 0, _MOST_SAMPLES)
        self._check_windows()
        if self.features == "samples":
            self._check_samples()
        else:
            self._check_spectrogram()

    def _check_windows(self) -> None:
        least = 1 if self.features == "spectrogram" else 0
        whole("preprocess", "window", self.window, least, _MOST_SAMPLES)
        whole("preprocess", "hop", self.hop, min(self.window, 1), self.window)
        whole("preprocess", "before", self.before, 0, max(self.window - 1, 0))
        whole("preprocess", "after", self.after, 0, self.window)

    def _check_samples(self) -> None:
        plain = ("fft", "bands", "filters", "range", "rise", "frames", "step")
        given = [name for name in plain if getattr(self, name)]
        if given or self.logarithm != "none":
            names = ", ".join(given) or "logarithm"
            raise RecipeError(f"preprocess: expected {names} of a spectrogram only", 'features = "spectrogram"')
        scaling("preprocess", self.mean, self.std, (0, 1))

    def _check_spectrogram(self) -> None:
        if self.fft:
            whole("preprocess", "fft", self.fft, self.window, _MOST_SAMPLES)
        whole("preprocess", "power", self.power, 1, 2)
        whole("preprocess", "bands", self.bands, 0, _MOST_BANDS)
        finite("preprocess", "high", self.high, 0, self.rate / 2)
        finite("preprocess", "low", self.low, 0, self.high or self.rate / 2)
        if self.bands and self.filters:
            raise RecipeError("preprocess: expected bands of a mel scale or a file of filters, found both")
        if self.logarithm in ("ln", "log10", "dB"):
            finite("preprocess", "floor", self.floor, 1e-30)
        finite("preprocess", "range", self.range, 0)
        if self.range and (self.logarithm == "none" or self.rise):
            raise RecipeError("preprocess: expected a range with a logarithm and without rise, found another")
        whole("preprocess", "frames", self.frames, 0, _MOST_SAMPLES)
        whole("preprocess", "step", self.step, min(self.frames, 1), self.frames)
        count = self.bands * (2 if self.rise else 1)
        scaling("preprocess", self.mean, self.std, (0, 1, count) if count else ())
