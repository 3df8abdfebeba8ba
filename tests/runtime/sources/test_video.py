"""Video files: the oracle is what was encoded, its pixels and its time stamps."""

from __future__ import annotations

import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

from edgekit.errors import DataError  # noqa: E402
from edgekit.runtime.sources import open_source  # noqa: E402
from edgekit.runtime.sources.ffmpeg import nanoseconds  # noqa: E402
from edgekit.runtime.sources.video import VideoFile  # noqa: E402
from tests.runtime.sources.clips import difference, moving, turned, write_video  # noqa: E402
from tests.runtime.sources.sounds import write_wav  # noqa: E402


def played(path: Path) -> list:
    return list(open_source(str(path), pace=False).frames())


@pytest.mark.parametrize("size", [(120, 160), (90, 122), (64, 66)])
def test_pictures_are_what_was_encoded(tmp_path, size):
    pictures = moving(8, *size)
    frames = played(write_video(tmp_path / "clip.mp4", pictures, options={"crf": "12"}))
    assert [frame.number for frame in frames] == list(range(8))
    for frame, picture in zip(frames, pictures, strict=True):
        assert (frame.data.shape, frame.data.dtype) == (picture.shape, np.uint8)
        assert difference(frame.data, picture) < 5  # chroma at half size
        assert difference(frame.data, picture) < difference(frame.data, pictures[frame.number - 1]) / 2


@pytest.mark.parametrize("size", [(75, 101), (1, 1), (33, 200)])
def test_odd_sizes_without_loss_are_exact(tmp_path, size):
    pictures = moving(4, *size)
    for frame, picture in zip(played(write_video(tmp_path / "c.mkv", pictures, codec="ffv1")), pictures, strict=True):
        np.testing.assert_array_equal(frame.data, picture)


def test_frames_are_not_written_again(tmp_path):
    pictures = moving(12)
    frames = played(write_video(tmp_path / "c.mkv", pictures, codec="ffv1"))
    for frame, picture in zip(frames, pictures, strict=True):  # after all of them were read
        np.testing.assert_array_equal(frame.data, picture)


@pytest.mark.parametrize("matrix", [(709, "full"), (709, "limited"), (601, "full")])
def test_colours_follow_the_matrix_and_range_that_the_file_names(tmp_path, matrix):
    space, spread = matrix
    colour = np.array([200, 40, 90])
    # ITU-R BT.601 and BT.709, 8 bits
    red, blue = {709: (0.2126, 0.0722), 601: (0.299, 0.114)}[space]
    luma = red * colour[0] + (1 - red - blue) * colour[1] + blue * colour[2]
    chroma = (colour[2] - luma) / (2 - 2 * blue), (colour[0] - luma) / (2 - 2 * red)
    y, u, v = luma, chroma[0] + 128, chroma[1] + 128
    if spread == "limited":
        y, u, v = 16 + luma * 219 / 255, 128 + chroma[0] * 224 / 255, 128 + chroma[1] * 224 / 255
    planes = np.concatenate([np.full(64 * 64, round(y)), np.full(32 * 32, round(u)), np.full(32 * 32, round(v))])
    frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8).reshape(96, 64), "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    with av.open(str(tmp_path / "c.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = 1 if space == 709 else 5
        stream.codec_context.color_range = 2 if spread == "full" else 1
        file.mux([*stream.encode(frame), *stream.encode()])
    (found,) = played(tmp_path / "c.mp4")
    assert np.abs(found.data.astype(int) - colour).max() <= 3


@pytest.mark.parametrize(
    ("matrix", "quarters"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1), ((1, 0, 0, 1), 0)]
)
def test_a_phone_held_sideways_is_shown_upright(tmp_path, matrix, quarters):
    pictures = moving(2, 48, 64)
    turned(write_video(tmp_path / "c.mp4", pictures, options={"crf": "8"}), matrix)
    for frame, picture in zip(played(tmp_path / "c.mp4"), pictures, strict=True):
        expected = np.rot90(picture, quarters)
        assert frame.data.shape == expected.shape
        assert difference(frame.data, expected) < 5
        assert frame.data.flags.c_contiguous or not quarters  # torch takes no negative strides


def test_time_stamps_of_a_variable_rate_are_kept_exactly(tmp_path):
    ticks = [7, 8, 10, 33, 34, 60, 61, 90]
    base = Fraction(1, 90000)
    path = write_video(tmp_path / "c.mkv", moving(8), ticks=[tick * 900 for tick in ticks], base=base, codec="ffv1")
    pieces = list(VideoFile(path).pieces())
    assert [piece.due_ns for piece in pieces] == [10_000_000 * (tick - 7) for tick in ticks]
    assert all(piece.end_ns > piece.due_ns for piece in pieces)


def test_time_stamps_behind_b_frames_run_forward(tmp_path):
    path = write_video(tmp_path / "c.mp4", moving(20), options={"bf": "3", "b-adapt": "0"})
    assert [piece.due_ns for piece in VideoFile(path).pieces()] == [40_000_000 * index for index in range(20)]


def test_a_stream_without_time_stamps_is_due_at_its_rate(tmp_path):
    path = write_video(tmp_path / "c.h264", moving(6), options={"bf": "0"})
    tape = VideoFile(path)
    assert tape.rate == 25
    assert [piece.due_ns for piece in tape.pieces()] == [40_000_000 * index for index in range(6)]


def test_nanoseconds_are_exact():
    ticks = 3_000_000_000_000_001  # a thousand years of 90 kHz, which no float64 holds in nanoseconds
    assert nanoseconds(ticks, Fraction(1, 90000)) == Fraction(ticks, 90000) * 10**9 // 1


def damaged(path: Path, at: int, length: int) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + length] = bytes(length)
    path.write_bytes(content)


def test_a_damaged_picture_is_counted_and_left_out(tmp_path):
    pictures = moving(9)
    path = write_video(tmp_path / "c.mkv", pictures, codec="mjpeg", options={"qscale": "2"})
    with av.open(str(path)) as file:
        packet = [bytes(packet) for packet in file.demux(video=0)][4]
    damaged(path, path.read_bytes().find(packet), len(packet))
    source = open_source(str(path), pace=False)
    frames = list(source.frames())
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert source.skipped == 1
    for frame in frames:
        assert difference(frame.data, pictures[frame.number]) < 6


def test_a_frame_whose_damage_ffmpeg_saw_and_concealed_is_left_out(tmp_path):
    path = write_video(tmp_path / "c.ts", moving(10), options={"bf": "0", "g": "5", "crf": "12", "threads": "1"})
    with av.open(str(path)) as file:
        packet = [bytes(packet) for packet in file.demux(video=0)][7]
    content = path.read_bytes()
    at = content.find(packet[len(packet) // 2 : len(packet) // 2 + 40])
    seen = set()
    for seed in range(6):  # of some damage it sees nothing
        path.write_bytes(content[:at] + np.random.default_rng(seed).bytes(40) + content[at + 40 :])
        source = open_source(str(path), pace=False)
        left_out = set(range(10)) - {frame.number for frame in source.frames()}
        assert source.skipped == len(left_out)
        seen |= left_out
    assert seen == {7}


def test_a_file_that_was_cut_off_ends_where_it_was_cut(tmp_path):
    pictures = moving(20)
    path = write_video(tmp_path / "c.mkv", pictures, codec="ffv1")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = played(path)
    assert 5 < len(frames) < 15
    for frame, picture in zip(frames[:-1], pictures, strict=False):
        np.testing.assert_array_equal(frame.data, picture)


@pytest.mark.parametrize(("name", "found"), [("c.mkv", "End of file"), ("c.mp4", "no stream at all")])
def test_a_file_without_frames_says_so(tmp_path, name, found):
    with pytest.raises(DataError, match=f"expected a?.*video (at|in) .*, found:? {found}"):
        open_source(str(write_video(tmp_path / name, [])))


def test_a_file_of_which_no_frame_can_be_decoded_says_so(tmp_path):
    path = write_video(tmp_path / "c.mkv", moving(3), codec="mjpeg")
    with av.open(str(path)) as file:
        packets = [bytes(packet) for packet in file.demux(video=0)][:3]
    for packet in packets:
        damaged(path, path.read_bytes().find(packet), len(packet))
    source = open_source(str(path))
    with pytest.raises(DataError, match=r"expected frames in .*, found none that could be decoded"):
        list(source.frames())
    assert source.skipped == 3


def test_a_file_without_video_says_what_it_has(tmp_path):
    sound = write_wav(tmp_path / "c.wav", np.zeros((100, 1), np.int64), 2)
    sound = sound.rename(tmp_path / "sound.mka")
    with pytest.raises(DataError, match=r"expected video in .*, found audio; next: for sound, a .wav file"):
        open_source(str(sound))


@pytest.mark.parametrize("content", [b"", b"not a video" * 100, b"#EXTM3U\n#EXT-X-ENDLIST\n"])
def test_a_file_that_is_no_video_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "c.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"expected a?.*video (at|in) .*c.mp4, found"):
        played(path)


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    write_video(tmp_path / "c.mkv", moving(3)).rename(tmp_path / "at:12:30.mkv")
    monkeypatch.chdir(tmp_path)
    assert len(played(Path("at:12:30.mkv"))) == 3


def test_a_playlist_opens_no_address_of_its_own(tmp_path, streams):
    path = tmp_path / "c.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{streams.address}/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(DataError):
        played(path)
    assert streams.asked == []


def test_one_picture_is_held_at_a_time(tmp_path):
    path = write_video(tmp_path / "c.mp4", moving(20))
    alive: list[weakref.ref] = []
    for piece in VideoFile(path).pieces():
        alive = [one for one in alive if one() is not None] + [weakref.ref(piece.data)]
        assert len(alive) <= 2  # the last is let go when this one has been bound
    assert len(alive) <= 2


def test_reading_on_and_on_does_not_grow(tmp_path):
    path = write_video(tmp_path / "c.mp4", moving(25, 240, 320), options={"preset": "ultrafast"})
    frames = open_source(str(path), pace=False, loop=True).frames()
    sizes = []
    for _ in range(4):
        for _ in range(100):
            next(frames)
        sizes.append(resident_mb())
    frames.close()
    assert sizes[-1] - sizes[0] < 8  # three hundred pictures would be 69


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6
