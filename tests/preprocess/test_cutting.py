"""Windows of what arrives in chunks are those of the whole, however it is cut."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.preprocess import windows
from edgekit.preprocess.cutting import SlidingWindows
from edgekit.specs import ImagePreprocess, TextPreprocess
from tests.export.real.recording import RATE, call
from tests.preprocess.sounds import BEATNET, CENTRED, SILERO, WHISPER, audio, written

CHUNKS = st.lists(st.integers(0, 40), max_size=40)


def pushed(made: Any, rows: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Copies of all windows of `rows` in chunks of these sizes, and then the rest at once."""
    taken, found = 0, []
    for size in [*sizes, len(rows)]:
        found += [window.copy() for window in made.push(rows[taken : taken + size])]
        taken += size
    return found


@given(
    data=st.data(),
    window=st.integers(1, 12),
    count=st.integers(0, 200),
    sizes=CHUNKS,
    row=st.sampled_from([(), (1,), (3,)]),
)
def test_any_cut_gives_the_windows_of_the_whole(data, window, count, sizes, row):
    hop, before = data.draw(st.integers(1, window)), data.draw(st.integers(0, window - 1))
    rows = np.arange(1, count * int(np.prod(row)) + 1, dtype=np.float32).reshape(count, *row)
    padded = np.concatenate([np.zeros((before, *row), np.float32), rows])
    wanted = [padded[start : start + window] for start in range(0, len(padded) - window + 1, hop)]
    made = SlidingWindows(window, hop, before, row)
    for _ in range(2):
        found = pushed(made, rows, sizes)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
        made.reset()


def test_a_window_is_a_view_of_one_buffer_and_nothing_is_allocated():
    made = SlidingWindows(1000, 100, 900)
    chunk = np.ones(100, np.float32)
    for _ in range(100):
        assert all(window.base is not None for window in made.push(chunk))
    tracemalloc.start()
    for _ in range(1000):
        for window in made.push(chunk):
            assert window.shape == (1000,)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000  # a window is 4000 bytes


@pytest.mark.parametrize("chunk", [1, 160, 511, 512, 513, 5000, 10**6])
def test_silero_from_a_microphone_is_silero_from_a_file(chunk):
    sound = call()[5 * RATE : 7 * RATE]
    found = pushed(windows(audio(SILERO, mean=(0.1,), std=(2.0,)), {}), sound, [chunk] * (len(sound) // chunk))
    np.testing.assert_array_equal(np.stack(found), written(audio(SILERO, mean=(0.1,), std=(2.0,)), sound))


@pytest.mark.parametrize("layout", ["TF", "FT"])
@pytest.mark.parametrize("chunk", [441, 1000, 220500])
def test_beatnet_from_a_microphone_is_beatnet_from_a_file(beats, chunk, layout):
    """Each frame as one batch position of a time of 1; the last two reach behind the end of the sound."""
    sound = beats["sound"]
    made = windows(audio(BEATNET, layout=layout), beats["assets"])
    for _ in range(2):
        found = pushed(made, sound, [chunk] * (len(sound) // chunk))
        assert {one.shape for one in found} == {(1, 272) if layout == "TF" else (272, 1)}
        together = np.concatenate(found, axis=0 if layout == "TF" else 1)
        whole = written(audio(BEATNET, layout=layout), sound, beats["assets"])[0]
        count = len(found)
        assert count == 1 + (705 + len(sound) - 1411) // 441 >= 498
        np.testing.assert_allclose(together, whole[:count] if layout == "TF" else whole[:, :count], atol=2e-6)
        made.reset()


@pytest.mark.parametrize("layout", ["TF", "FT"])
def test_pieces_from_a_microphone_are_pieces_from_a_file(layout):
    spec = audio(CENTRED, after=0, bands=40, frames=160, step=77, layout=layout, mean=(0.5,), std=(0.25,))
    sound, made = call(), windows(spec, {})
    for _ in range(2):
        found = pushed(made, sound, [777] * 500)
        np.testing.assert_allclose(np.stack(found), written(spec, sound), rtol=1e-5, atol=1e-6)
        made.reset()


def test_a_channel_is_an_axis_of_its_own():
    sound = call()[: 2 * RATE]
    for table in (SILERO, {**CENTRED, "after": 0}, {**CENTRED, "after": 0, "frames": 9, "step": 4, "layout": "FT"}):
        [first, *_] = pushed(windows(audio(table, channel=True), {}), sound, [])
        [plain, *_] = pushed(windows(audio(table), {}), sound, [])
        np.testing.assert_array_equal(first, plain[None])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (audio(WHISPER), "found range, reflect"),
        (audio(SILERO, length=2000), "found length"),
        (audio({"rate": RATE}), "found no window"),
        (TextPreprocess("text", "x", "t.json"), "found text; next: session.preprocess"),
        (ImagePreprocess("image", "x", 8, 8, (0.0,) * 3, (1.0,) * 3), "found image"),
    ],
)
def test_what_needs_the_whole_has_no_windows(spec, says):
    with pytest.raises(DataError, match=says):
        windows(spec, {})


def test_reflection_of_nothing_is_no_hindrance():
    assert list(windows(audio(SILERO, before=0, padding="reflect"), {}).push(np.zeros(576, np.float32)))


def test_samples_are_checked_before_they_are_taken():
    made = windows(audio(SILERO), {})
    with pytest.raises(DataError, match="found 1 NaN"):
        made.push(np.array([0, np.nan], np.float32))
    with pytest.raises(DataError, match="mono"):
        made.push(np.zeros((2, 3), np.float32))
    assert list(made.push(np.zeros(511, np.float32))) == []
    assert len(list(made.push(np.zeros(1, np.float32)))) == 1
