"""The pace of recordings, folders, sounds and the test picture: the oracle is the clock and arithmetic."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import DataError
from edgekit.runtime.loop import StreamLoop
from edgekit.runtime.sources import SourceLost, open_source
from edgekit.runtime.sources.recording import Piece, Recording
from tests.runtime.sources.sounds import write_wav

MS = 1_000_000


class Played:
    """A tape of numbers, due at these milliseconds; None is damaged. The last ends `last_ms` after it was due."""

    rate = None

    def __init__(self, due_ms: list[int], last_ms: int = 0, damaged: tuple[int, ...] = ()) -> None:
        self.due_ms, self.last_ms, self.damaged = due_ms, last_ms, damaged

    def pieces(self) -> Iterator[Piece]:
        for index, due in enumerate(self.due_ms):
            data = None if index in self.damaged else np.array([index])
            yield Piece(data, due * MS, (due + self.last_ms) * MS)


def test_frames_are_given_when_they_are_due_and_say_when_that_was():
    given = []
    for frame in Recording("tape", Played([0, 10, 15, 40])).frames():
        given.append((frame, time.perf_counter_ns()))
    captured = np.array([frame.captured_ns for frame, _ in given])
    np.testing.assert_array_equal(captured - captured[0], np.array([0, 10, 15, 40]) * MS)
    lateness = np.array([now for _, now in given]) - captured
    assert lateness.min() >= 0
    assert np.median(lateness) < 5 * MS
    assert [frame.source for frame, _ in given] == ["tape"] * 4


def test_a_reader_that_is_late_sees_the_age_of_its_frames():
    frames = Recording("tape", Played([0, 5, 10])).frames()
    first = next(frames)
    time.sleep(0.03)
    begun = time.perf_counter_ns()
    second, third = next(frames), next(frames)
    assert second.captured_ns == first.captured_ns + 5 * MS
    assert third.captured_ns == first.captured_ns + 10 * MS
    assert begun - third.captured_ns >= 20 * MS
    assert time.perf_counter_ns() - begun < 5 * MS  # what is due is not waited for


def test_a_tape_that_is_slower_to_decode_than_to_play_does_not_fall_behind_further_and_further(monkeypatch):
    monkeypatch.setattr("edgekit.runtime.sources.recording._LATE_NS", 300 * MS)

    class Slow(Played):
        def pieces(self):
            for piece in super().pieces():
                time.sleep(0.1)
                yield piece

    source = Recording("tape", Slow([*range(20)]))
    ages = [time.perf_counter_ns() - frame.captured_ns for frame in source.frames()]
    assert max(ages) > 200 * MS, "what is late at first is seen"
    assert np.median(ages[8:]) < 700 * MS, "20 frames of 100 ms in 20 ms would be 1980 ms behind"


def test_without_pace_frames_come_at_once_with_the_time_at_which_they_were_read():
    begun = time.perf_counter_ns()
    captured = [frame.captured_ns for frame in Recording("tape", Played([0, 60_000]), pace=False).frames()]
    assert begun <= captured[0] <= captured[1] <= time.perf_counter_ns() < begun + 1000 * MS


def test_a_tape_that_begins_again_goes_on_in_number_and_time():
    frames = Recording("tape", Played([0, 4], last_ms=6), loop=True).frames()
    given = [next(frames) for _ in range(5)]
    assert [frame.number for frame in given] == [0, 1, 2, 3, 4]
    assert [(frame.captured_ns - given[0].captured_ns) // MS for frame in given] == [0, 4, 10, 14, 20]
    assert [int(frame.data[0]) for frame in given] == [0, 1, 0, 1, 0]


def test_what_cannot_be_decoded_is_a_hole():
    source = Recording("tape", Played([0, 1, 2, 3], damaged=(0, 2)), pace=False)
    assert [frame.number for frame in source.frames()] == [1, 3]
    assert source.skipped == 2


@pytest.mark.parametrize("loop", [False, True])
def test_a_tape_without_a_frame_is_an_error_and_not_silence(loop):
    with pytest.raises(DataError, match="expected frames in tape, found none"):
        next(Recording("tape", Played([0, 1], damaged=(0, 1)), loop=loop).frames())


def test_closing_from_another_thread_ends_the_wait():
    source = Recording("tape", Played([0, 60_000]))
    frames = source.frames()
    next(frames)
    timer = threading.Timer(0.05, source.close)
    timer.start()
    begun = time.perf_counter()
    assert list(frames) == []
    assert 0.04 < time.perf_counter() - begun < 1
    source.close()
    with pytest.raises(SourceLost, match="expected tape to be open, found it closed"):
        next(source.frames())


def test_a_folder_is_played_in_the_order_of_names_and_leaves_out_what_is_damaged(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    for name, picture in zip(["b", "a", "d"], pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"none")
    (tmp_path / "notes.txt").write_text("none")
    source = open_source(str(tmp_path), fps=100)
    frames = list(source.frames())
    assert [frame.number for frame in frames] == [0, 1, 3]
    for frame, picture in zip(frames, [pictures[1], pictures[0], pictures[2]], strict=True):
        np.testing.assert_array_equal(frame.data, picture)
    assert [frame.captured_ns - frames[0].captured_ns for frame in frames] == [0, 10 * MS, 30 * MS]
    assert (source.rate, source.skipped) == (100, 1)
    report = StreamLoop(open_source(str(tmp_path), fps=100), lambda frames: [1]).run()
    assert (report.captured, report.failed) == (3, "")
    left_out = next(event for event in report.events if event.kind == "left out")
    assert left_out.message == "1 that could not be decoded"


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected pictures in .*, found none; next: one of .png"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_scaled_mixed_and_cut_into_chunks(tmp_path, width, channels):
    top = 2 ** (8 * width - 1)
    values = np.random.default_rng(0).integers(-top, top, (250, channels))
    values[:2] = [[-top] * channels, [top - 1] * channels]
    stored = values + 128 if width == 1 else values
    path = write_wav(tmp_path / "a.wav", stored, width, rate=20_000)
    source = open_source(str(path), chunk=100)
    frames = list(source.frames())
    found = np.concatenate([frame.data for frame in frames])
    assert (found.dtype, found.shape, source.rate) == (np.float32, (300,), 200)
    np.testing.assert_allclose(found[:250], values.mean(1) / top, atol=1e-7)
    assert not found[250:].any()
    # heard when its last sample was: the first chunk 5 ms after the beginning
    assert [frame.captured_ns - frames[0].captured_ns for frame in frames] == [0, 5 * MS, 10 * MS]


def test_the_first_chunk_of_a_sound_is_due_at_its_end(tmp_path):
    source = open_source(str(write_wav(tmp_path / "a.wav", np.zeros((400, 1), np.int64), 2, 8000)), chunk=400)
    begun = time.perf_counter_ns()
    (frame,) = source.frames()
    assert 50 * MS <= frame.captured_ns - begun <= 100 * MS
    assert time.perf_counter_ns() >= frame.captured_ns


def test_a_sound_that_was_cut_off_ends_where_it_was_cut(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.full((100, 2), 2**14), 2)
    path.write_bytes(path.read_bytes()[:-31])
    frames = list(open_source(str(path), chunk=50, pace=False).frames())
    assert (frames[0].data == 0.5).all()
    assert (frames[1].data == 0.5).sum() == 42


def test_a_sound_without_samples_is_an_error(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros((0, 1), np.int64), 2)
    with pytest.raises(DataError, match="found none"):
        list(open_source(str(path)).frames())


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all" * 9])
def test_what_is_no_sound_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"expected PCM of 8 to 32 bits at .*a.wav, found: .+; next: "):
        open_source(str(path))


def test_a_sound_at_another_rate_than_the_network_needs_is_refused(tmp_path):
    path = write_wav(tmp_path / "a.wav", np.zeros((9, 1), np.int64), 2, 44_100)
    with pytest.raises(DataError, match=r"expected .*a.wav at 16000 Hz, found 44100 Hz; next: resample it"):
        open_source(str(path), sample_rate=16_000)


def test_the_test_picture_moves_at_its_rate_and_costs_no_memory():
    source = open_source("synthetic:200")
    frames = source.frames()
    given = [next(frames) for _ in range(90)]
    assert [frame.captured_ns - given[0].captured_ns for frame in given] == [5 * MS * index for index in range(90)]
    for before, after in pairwise(given):
        np.testing.assert_array_equal(after.data[:, :-8], before.data[:, 8:])
        assert (after.data != before.data).any()
    assert all(frame.data.shape == (480, 640, 3) and frame.data.dtype == np.uint8 for frame in given)
    assert len({id(frame.data.base) for frame in given}) == 1
    with pytest.raises(ValueError, match="read-only"):
        given[0].data[0] = 0
    assert (source.name, source.rate) == ("synthetic:200", 200)
