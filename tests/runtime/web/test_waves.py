"""Lines of sounds and values: a real voice, and values whose lines can be told by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgekit.runtime.web.waves import sound_lines, value_lines


def chunks(values: np.ndarray, size: int) -> list[np.ndarray]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def test_the_line_of_a_sound_touches_its_highest_and_lowest_samples():
    time_s = np.arange(20_000) / 16_000
    sound = (np.sin(700 * time_s) * np.linspace(0.1, 0.8, 20_000)).astype(np.float32)
    sound[12_345] = -0.95  # a click of one sample is seen
    found = sound_lines(chunks(sound, 512))
    (line,) = found["lines"]
    assert len(line) == 480
    assert max(line) == pytest.approx(sound.max(), rel=1e-4)
    assert min(line) == pytest.approx(-0.95, rel=1e-4)
    assert (found["low"], found["high"]) == (pytest.approx(-0.95), pytest.approx(0.95))


def test_of_a_long_sound_the_end_is_shown():
    sound = np.linspace(0, 1, 100_000, dtype=np.float32)
    (line,) = sound_lines([sound])["lines"]
    assert line[0] == pytest.approx(1 - 2**15 / 100_000, abs=1e-4)
    assert line[-1] == 1


def test_the_level_is_that_of_the_last_chunk():
    loud = np.full(512, 0.9, np.float32)
    sine = (0.5 * np.sin(2 * np.pi * np.arange(512) / 64)).astype(np.float32)
    assert sound_lines([loud, sine])["level_db"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.06)
    silence = sound_lines([np.zeros(512, np.float32)])
    assert silence["level_db"] is None
    assert silence["high"] == 0.05  # else noise of the last bit would fill the picture
    json.dumps(sound_lines([np.array([np.nan, np.inf, 0.5], np.float32)]), allow_nan=False)


def test_values_are_one_line_a_channel_and_end_with_the_newest():
    values = np.stack([np.arange(1000.0), -np.arange(1000.0)], axis=1)
    found = value_lines(chunks(values, 7))
    assert (found["low"], found["high"]) == (-999, 999)
    rising, falling = found["lines"]
    assert (rising[-1], falling[-1]) == (999, -999)
    assert len(rising) == 200
    assert rising == list(range(4, 1000, 5))


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 20)])
def test_few_values_are_all_there_and_of_many_channels_eight(shape):
    values = np.arange(np.prod(shape)).reshape(shape)
    found = value_lines([values])
    wanted = values.reshape(5, -1)[:, :8].T
    assert found["lines"] == wanted.tolist()


def test_what_is_not_finite_is_a_gap():
    found = value_lines([np.array([1.0, np.nan, np.inf, 3.0])])
    assert found == {"lines": [[1, None, None, 3]], "low": 1, "high": 3}
    assert value_lines([np.array([np.nan])]) == {"lines": [[None]], "low": 0, "high": 1}
