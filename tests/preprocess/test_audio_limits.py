"""Sounds and buffers that do not fit, and the memory that a long sound takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edgekit.errors import DataError, ShapeError
from edgekit.preprocess import preprocessor
from tests.export.real.recording import RATE, call
from tests.preprocess.sounds import CENTRED, SILERO, audio, written


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        (np.zeros((9000, 2), np.float32), r"mono sound float32\[S\], found float32\[9000, 2\]; next: sound.mean"),
        (np.zeros(9000, np.int16), r"float32\[S\] of -1 .. 1, found int16\[9000\]; next: .* / 32768$"),
        (np.zeros(9000, bool), "found bool"),
        (np.zeros(511, np.float32), "at least 512 samples, found 511"),
        (np.zeros(0, np.float32), "at least 512 samples, found 0"),
        (np.array([0.0] * 600 + [np.nan, np.inf], np.float32), "found 2 NaN or infinite of 602"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_line(sound, says):
    with pytest.raises(DataError, match=says) as error:
        preprocessor(audio(SILERO), {}).prepare(sound)
    assert "\n" not in str(error.value)


def test_loud_finite_samples_are_no_infinity():
    assert preprocessor(audio(SILERO), {}).prepare(np.full(512, 3e38, np.float32)) == {"x": {0: 1}}


@pytest.mark.parametrize(
    ("table", "samples", "least"),
    [
        ({"padding": "reflect"}, 200, 201),
        ({"frames": 10, "step": 5}, 1439, 1440),
        ({"before": 0, "after": 0}, 399, 400),
        ({"before": 0, "after": 400}, 0, 1),
    ],
)
def test_a_sound_below_its_least_length_is_refused_and_one_of_it_is_not(table, samples, least):
    spec = audio(CENTRED, **table)
    with pytest.raises(DataError, match=f"at least {least} samples, found {samples}"):
        preprocessor(spec, {}).prepare(np.zeros(samples, np.float32))
    assert written(spec, np.zeros(least, np.float32)).size > 0


def test_buffers_that_do_not_fit_are_refused():
    sound = call()[:1600]
    made = preprocessor(audio(CENTRED, bands=40), {})
    made.prepare(sound)
    for buffer, slot in [
        (np.zeros((1, 11, 41), np.float32), 0),
        (np.zeros((1, 11, 40), np.float64), 0),
        (np.zeros((1, 11, 40), np.float32), 1),
        (np.zeros((1, 11, 40), np.float32), -1),
        (np.broadcast_to(np.float32(0), (1, 11, 40)), 0),
    ]:
        with pytest.raises(ShapeError, match=r"^x: expected a"):
            made.write(sound, lambda name, buffer=buffer: buffer, slot)


def test_scratch_does_not_grow_with_the_sound():
    made = preprocessor(audio(CENTRED, bands=40), {})
    peaks = []
    for seconds in (5, 30):
        sound = call()[: seconds * RATE]
        made.prepare(sound)
        buffer = np.empty((1, 1 + len(sound) // 160, 40), np.float32)
        tracemalloc.start()
        made.write(sound, lambda name, buffer=buffer: buffer, 0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 4096
    assert peaks[1] < 100_000  # 64 kB are a buffer of NumPy's own
