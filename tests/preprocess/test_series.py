"""A series becomes its last steps, scaled channel by channel; float64 NumPy is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError, ShapeError
from edgekit.preprocess import preprocessor, windows
from edgekit.specs import SeriesPreprocess

# Air pressure in Pa, temperature and relative humidity: far apart in size.
MEAN, STD = (101325.0, 21.5, 0.4), (40.0, 3.0, 0.1)


def weather(steps: int) -> np.ndarray:
    return np.random.default_rng(steps).normal(MEAN, STD, (steps, 3))


def spec(**more) -> SeriesPreprocess:
    return SeriesPreprocess("series", "x", **{"mean": MEAN, "std": STD, **more})


def written(made_of: SeriesPreprocess, rows: np.ndarray, dtype: str = "float32") -> np.ndarray:
    made = preprocessor(made_of, {})
    [axes] = made.prepare(rows).values()
    [(axis, size)] = axes.items()
    shape = [2, len(made_of.mean), len(made_of.mean)]
    shape[axis] = size
    buffer = np.full(shape, np.nan, dtype)
    made.write(rows, lambda name: {"x": buffer}[name], 1)
    assert np.isnan(buffer[0]).all()
    return buffer[1]


@pytest.mark.parametrize("steps", [1, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("layout", ["TC", "CT"])
def test_all_steps_in_either_layout(steps, layout):
    rows = weather(steps)
    wanted = ((rows - MEAN) / STD).astype(np.float32)
    found = written(spec(layout=layout), rows)
    np.testing.assert_array_equal(found, wanted if layout == "TC" else wanted.T)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_last_steps_are_seen_and_none_before(dtype):
    rows = weather(50)
    rows[:30] = np.nan
    np.testing.assert_array_equal(written(spec(length=20), rows, dtype), ((rows[30:] - MEAN) / STD).astype(dtype))


def test_one_channel_needs_no_axis_and_whole_numbers_are_values():
    one = SeriesPreprocess("series", "x", (2.0,), (4.0,))
    np.testing.assert_array_equal(written(one, np.array([2, 6, -2], np.int16)), [[0], [1], [-1]])


@given(
    steps=st.integers(0, 60),
    length=st.integers(1, 9),
    sizes=st.lists(st.integers(0, 15), max_size=20),
    layout=st.sampled_from(["TC", "CT"]),
    step=st.integers(1, 9),
)
def test_a_stream_gives_windows_of_the_whole(steps, length, sizes, layout, step):
    step = min(step, length)
    rows = weather(steps)
    made = windows(spec(length=length, step=step, layout=layout), {})
    found, taken = [], 0
    for size in [*sizes, steps]:
        found += [window.copy() for window in made.push(rows[taken : taken + size])]
        taken += size
    wanted = [written(spec(length=length, layout=layout), rows[:end]) for end in range(length, steps + 1, step)]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_one_sample_at_a_time():
    rows = weather(7)
    made = windows(spec(length=3), {})
    found = [window.copy() for row in rows for window in made.push(row)]
    np.testing.assert_allclose(found[-1], written(spec(length=3), rows), rtol=1e-6)
    assert len(found) == 5
    single = windows(SeriesPreprocess("series", "x", (1.0,), (2.0,), length=2), {})
    assert list(single.push(3.0)) == []
    [window] = single.push(np.array(5.0))
    np.testing.assert_array_equal(window, [[1], [2]])
    single.reset()
    assert [window.tolist() for window in single.push(np.array([3.0, 1.0]))] == [[[1], [0]]]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((20, 2)), r"series of real values \[T, 3\], found float64\[20, 2\]"),
        (np.zeros(20), r"found float64\[20\]"),
        (np.zeros((20, 3), complex), "found complex128"),
        (np.zeros((19, 3)), "at least 20 steps, found 19"),
        (np.array([[0.0] * 3] * 19 + [[0, np.inf, -np.inf]]), "found 2 NaN or infinite of 60"),
    ],
)
def test_what_is_no_series_is_refused(rows, says):
    with pytest.raises(DataError, match=says):
        preprocessor(spec(length=20), {}).prepare(rows)


def test_streams_are_refused_as_well():
    with pytest.raises(DataError, match="of a length for a stream"):
        windows(spec(), {})
    made = windows(spec(length=3), {})
    for wrong in (np.zeros(2), np.zeros((4, 2)), np.array([0, np.nan, 0])):
        with pytest.raises(DataError):
            made.push(wrong)


def test_a_buffer_of_another_shape_is_refused():
    made = preprocessor(spec(length=20), {})
    for buffer in (np.zeros((1, 20, 2), np.float32), np.zeros((1, 20, 3), np.int32), np.float32(0)):
        with pytest.raises(ShapeError, match=r"^x: "):
            made.write(weather(20), lambda name, buffer=buffer: np.asarray(buffer), 0)
