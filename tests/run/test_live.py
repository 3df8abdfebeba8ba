"""`run` on what comes by itself, or as if it did: clips of known colours, a lost camera, signals, the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("onnx")

from edgekit.configs import RunConfig  # noqa: E402
from edgekit.errors import DataError, IntegrityError, OutputError, UsageError  # noqa: E402
from edgekit.run import Answered, run  # noqa: E402
from edgekit.run import live as living  # noqa: E402
from edgekit.runtime.sources import SourceLost  # noqa: E402
from tests.runtime.loop.cameras import Camera, Scripted, frame  # noqa: E402

NAMES = ("red", "green", "blue")
ROOT = Path(__file__).parents[2]


def picture(number: int) -> np.ndarray:
    """Red, green, blue, red, …: uint8 [48,64,3]."""
    pixels = np.full((48, 64, 3), 60, np.uint8)
    pixels[..., number % 3] = 200
    return pixels


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Twelve frames at 25 a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


def test_every_frame_of_a_clip_is_answered_as_fast_as_it_goes(colours, clip, tmp_path):
    shown = []
    report = run(colours, RunConfig(source=str(clip), answers=tmp_path / "a.jsonl"), shown.append)
    assert [item.answer[0].split()[0] for item in shown] == [NAMES[number % 3] for number in range(12)]
    assert [item.name for item in shown] == [str(number) for number in range(12)]
    loop = report.loop
    assert (loop["captured"], loop["processed"], loop["dropped"]) == (12, 12, 0)
    assert (loop["ended"], report.failed, report.frames, report.backend) == ("sources ended", "", (), "ort")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["answer"][0]["name"] for line in lines] == [NAMES[number % 3] for number in range(12)]
    assert [(line["source"], line["number"], line["held"]) for line in lines] == [
        (str(clip), number, False) for number in range(12)
    ]
    json.dumps(report.to_json())


def test_a_clip_that_seems_live_keeps_its_pace_and_begins_again(colours, clip):
    shown = []
    config = RunConfig(source=str(clip), live=True, repeat=True, seconds=1.2, deadline_ms=0.001)
    loop = run(colours, config, shown.append).loop
    assert loop["ended"] == "seconds"
    assert loop["captured"] == loop["processed"] + loop["dropped"]
    assert 12 < loop["captured"] <= 1 + 1.2 * 25, "more than one round, and no faster than recorded"
    assert 1 <= len(shown) <= 3 < loop["processed"], "said once a second"
    assert loop["deadline_misses"] == loop["processed"]


def test_a_loop_ends_after_so_many_frames_and_a_folder_can_seem_live(colours, tmp_path):
    from PIL import Image

    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    assert [item.answer[0][:3] for item in run(colours, RunConfig(source=str(tmp_path))).frames] == [
        "red",
        "gre",
        "blu",
    ]
    report = run(colours, RunConfig(source=str(tmp_path), live=True, repeat=True, frames=7))
    assert (report.loop["processed"], report.loop["ended"]) == (7, "frames")
    assert run(colours, RunConfig(source="synthetic:500", frames=3)).loop["processed"] == 3


def test_a_camera_that_is_lost_is_opened_again_and_said(colours, monkeypatch):
    cameras = [Scripted(*(frame(n, "cam", picture(n)) for n in range(2)), SourceLost("unplugged"), name="cam")]
    cameras.append(Scripted(*(frame(n, "cam", picture(2)) for n in range(2)), name="cam"))
    monkeypatch.setattr(living, "open_source", lambda text, **rest: cameras.pop(0))
    shown = []
    report = run(colours, RunConfig(source="camera:0", frames=3), shown.append)
    assert "lost cam unplugged" in shown
    assert report.loop["event_counts"]["lost"] == 1
    assert [item.answer[0][:4] for item in shown if isinstance(item, Answered)][-1] in ("blue", "gree", "red ")
    assert report.failed == ""


def test_a_loop_that_has_to_end_says_why(colours, monkeypatch, clip):
    lost = Scripted(frame(0, "clip", picture(0)), SourceLost("the disk is gone"), name="clip")
    monkeypatch.setattr(living, "open_source", lambda text, **rest: lost)
    report = run(colours, RunConfig(source=str(clip)))
    assert (report.failed, report.loop["ended"]) == ("source lost: the disk is gone", "source lost")


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"source": "camera:0", "repeat": True}, UsageError, "expected --repeat for a recording"),
        (
            {"source": "clip", "answers": Path("/nowhere/a")},
            OutputError,
            "to write answers to /nowhere/a, .*; next: another name",
        ),
        ({"source": "text.mp4"}, DataError, "expected a video at .*; next: ffprobe .*text.mp4"),
        ({"source": "synthetic:0"}, UsageError, "expected synthetic:RATE"),
        ({"source": "nothing.mp4"}, DataError, "expected a source of frames, found nothing at nothing.mp4"),
        ({"source": "clip", "deadline_ms": 5.0}, UsageError, "expected --deadline-ms for what does not wait"),
        ({"source": "clip", "port": 9000}, UsageError, "expected --show web for --port"),
        ({"source": "a.npz", "live": True}, UsageError, "expected a recording to play, found a.npz"),
        ({"source": "sound.wav"}, UsageError, "pictures for this bundle, found .*sound.wav; next: --source a video"),
        ({"source": "."}, DataError, "expected an .npz"),
        ({"source": "x.npz", "frames": 2, "repeat": True}, UsageError, "for --frames, --repeat, found samples"),
    ],
)
def test_what_does_not_fit_is_said_beforehand(colours, clip, tmp_path, config, error, said):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "sound.wav").write_bytes(b"")
    here = {name: str(tmp_path / name) for name in ("text.mp4", "sound.wav")} | {"clip": str(clip), ".": str(tmp_path)}
    source = here.get(config["source"], config["source"])
    with pytest.raises(error, match=said):
        run(colours, RunConfig(**{**config, "source": source}))


def test_no_error_shows_a_cameras_password(colours, capsys):
    """Also not with its traceback, and not where a reader of frames would be told to try without an option."""
    from edgekit.cli import main

    for words in ("", " --repeat", " --live"):
        with pytest.raises(SystemExit) as ended:
            main(["run", "-v", str(colours), "--source", "rtsp://me:s3c@ret@127.0.0.1:1/x?pw=s3cret", *words.split()])
        said = "".join(capsys.readouterr())
        assert ended.value.code in (1, 2)
        assert "rtsp://127.0.0.1:1/x" in said
        assert "s3c" not in said
        assert "ret@" not in said
    assert "found: Connection refused; next: ffplay rtsp://127.0.0.1:1/x" in said


def test_a_bundle_is_no_place_for_answers(colours, clip):
    with pytest.raises(UsageError, match="expected answers outside of the bundle"):
        run(colours, RunConfig(source=str(clip), answers=colours / "a.jsonl"))
    assert not (colours / "a.jsonl").exists()


def test_a_run_without_a_good_answer_says_so_soon(colours, monkeypatch):
    broken = Camera(100, 200, data=np.zeros(4, np.float32))
    monkeypatch.setattr(living, "open_source", lambda text, **rest: broken)
    report = run(colours, RunConfig(source="synthetic:30"))
    assert report.failed.startswith("bad answers: 10 bad answers in a row: expected a picture")
    assert report.loop["processed"] == 10


def test_a_reader_that_goes_ends_the_command(colours):
    command = f"{sys.executable} -m edgekit run {colours} --source synthetic:30 | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert re.match(r"0 +(red|green|blue)", done.stdout)
    assert "Traceback" not in done.stderr


def test_only_a_trusted_makers_bundle_is_run(colours, clip, tmp_path):
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    from edgekit.bundle import make_keys, sign

    for name in ("maker", "other"):
        make_keys(tmp_path / name)
    bundle = shutil.copytree(colours, tmp_path / "bundle")
    with pytest.raises(IntegrityError, match="found no signature"):
        run(bundle, RunConfig(source=str(clip), require_signature=True))
    sign(bundle, tmp_path / "maker")
    for key in ("maker.pub", "other.pub"):
        config = RunConfig(source=str(clip), frames=1, trusted_keys=(tmp_path / key,))
        if key == "maker.pub":
            assert run(bundle, config).loop["processed"] == 1
        else:
            with pytest.raises(IntegrityError, match="expected a signature by a trusted key"):
                run(bundle, config)


def test_the_page_shows_the_loop_while_it_runs(colours, clip):
    found, pages, urls, ready = [], [], [], threading.Event()

    def show(item):
        if isinstance(item, str) and (url := re.search(r"http://\S+/", item)):
            urls.append(url.group())
        elif isinstance(item, Answered) and not ready.is_set():
            with urllib.request.urlopen(urls[0] + "state", timeout=10) as answer:
                found.append(json.load(answer))
            with urllib.request.urlopen(urls[0], timeout=10) as answer:
                pages.append(answer.read().decode())
            ready.set()

    report = run(colours, RunConfig(source=str(clip), show="web", port=0, repeat=True, seconds=1.0), show)
    assert ready.is_set()
    assert report.loop["processed"] >= 1
    assert str(clip) in json.dumps(found[0])
    assert "<title>out/bundle</title>" in pages[0]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(urls[0], timeout=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_in_order(colours, clip, number):
    command = [sys.executable, "-m", "edgekit", "run", str(colours), "--source", str(clip), "--live", "--repeat"]
    done = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
    )
    assert re.match(r"\d+ +(red|green|blue)", done.stdout.readline())
    done.send_signal(number)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (0, "")
    counts, ages, ran = out.splitlines()[-3:]
    captured, processed, dropped = re.match(r"(\d+) captured = (\d+) processed \+ (\d+) dropped", counts).groups()
    assert int(captured) == int(processed) + int(dropped)
    assert counts.endswith(f"ended: {signal.Signals(number).name}")
    assert ages.startswith("age p50 ")
    assert ran.startswith("ran on ort")


def test_a_loop_that_had_to_end_is_an_error_of_the_command(colours, clip, monkeypatch, capsys):
    from edgekit.cli import main

    lost = Scripted(frame(0, "clip", picture(0)), SourceLost("the disk is gone"), name="clip")
    monkeypatch.setattr(living, "open_source", lambda text, **rest: lost)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(colours), "--source", str(clip)])
    out, err = capsys.readouterr()
    assert ended.value.code == 1
    assert "lost source clip the disk is gone" in out
    assert (
        err == "edgekit: error: expected the loop to go on, found that it had to end: source lost: the disk is gone\n"
    )
