"""What is judged of a bundle are the bytes that were verified, whatever becomes of its files meanwhile."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgekit.bundle import archive
from edgekit.configs import ValidateConfig
from edgekit.errors import IntegrityError, ModelError
from edgekit.validate import kept, validate
from edgekit.validate.running import running
from edgekit.validate.subject import Subject, open_subject
from tests.validate.bundles import edited, noisy

pytest.importorskip("onnx")
X = np.random.default_rng(3).normal(size=(2, 3, 8, 8)).astype(np.float32)


def answer(model: str | bytes) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": X})[0])


def swapped(path: Path, data: bytes, *, in_place: bool) -> None:
    """Other bytes in a file, written over, or in another that takes its name."""
    if in_place:
        path.write_bytes(data)
    else:
        aside = path.with_name("aside.part")
        aside.write_bytes(data)
        aside.replace(path)


@pytest.fixture
def made(small_bundle: Path, small_onnx: Path, tmp_path: Path) -> Path:
    """A bundle whose model is a bad one: it fails where the FP32 would pass."""
    return edited(small_bundle, tmp_path / "bundle", noisy(small_onnx))


@pytest.fixture
def asked(small_onnx: Path, small_data: Path) -> ValidateConfig:
    return ValidateConfig(small_onnx, str(small_data), "sqnr_db>=60")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("form", ["folder", "link", "archive"])
def test_the_model_that_was_verified_is_run(made, small_onnx, tmp_path, form, in_place):
    wanted = answer(str(made / "model.onnx"))
    digest = hashlib.sha256((made / "model.onnx").read_bytes()).hexdigest()
    source = {"folder": made, "link": tmp_path / "current", "archive": tmp_path / "b.ekb"}[form]
    if form == "link":
        source.symlink_to(made.name)
    elif form == "archive":
        archive(made, source)
    subject = open_subject(source, ValidateConfig())
    good, file = small_onnx.read_bytes(), made / "model.onnx"
    if form == "archive":
        good, file = source.read_bytes().replace(file.read_bytes(), good), source
    swapped(file, good, in_place=in_place)
    with running(subject, "auto") as ran:
        np.testing.assert_array_equal(ran.runner.run({"image": X})["logits"], wanted)
    assert hashlib.sha256(subject.onnx.read_bytes()).hexdigest() == digest
    assert subject.digests("ort", "auto") == {"model": digest}
    with pytest.raises(IntegrityError, match="it was changed"):
        subject.session("auto")


def test_a_link_is_followed_once(made, small_bundle, tmp_path, monkeypatch):
    """Promises, model and Session are one bundle's, whichever the link leads to by then."""
    monkeypatch.chdir(tmp_path)
    other = edited(small_bundle, tmp_path / "other", budget="p99_ms<=1")
    link = Path("current")
    link.symlink_to("bundle")
    subject = open_subject(link, ValidateConfig())
    link.unlink()
    link.symlink_to("other")
    with subject.session("auto") as session, running(subject, "auto") as ran:
        found = [session.run({"image": X})["logits"], ran.runner.run({"image": X})["logits"]]
    for item in found:
        np.testing.assert_allclose(item, answer(str(made / "model.onnx")), rtol=1e-5)
    assert [str(limit) for limit in subject.promises] == ["sqnr_db>=30"]
    assert [str(limit) for limit in open_subject(other, ValidateConfig()).promises] == ["p99_ms<=1"]


def test_another_bundle_in_its_place_is_not_measured(made, small_bundle, asked, tmp_path, monkeypatch):
    """It verifies, and is not what was judged: its latency is another model's."""
    monkeypatch.setattr("edgekit.validate.judged_latency", exchanging(made, small_bundle))
    config = ValidateConfig(asked.reference, asked.data, "p50_ms<=60000", requests=20)
    with pytest.raises(IntegrityError, match=r"as it was when it was verified, found another") as error:
        validate(made, tmp_path / "report.json", config)
    assert error.value.exit_code == 7
    assert not (tmp_path / "report.json").exists()


def exchanging(bundle: Path, other: Path) -> Callable[..., object]:
    from edgekit.validate.latency import judged_latency

    def latency(*given: object) -> object:
        shutil.rmtree(bundle)
        shutil.copytree(other, bundle)
        return judged_latency(*given)  # type: ignore[arg-type]

    return latency


@pytest.mark.slow
def test_no_race_gives_a_verdict_on_other_bytes(made, small_onnx, asked, tmp_path):
    """The FP32 that is put in its place for a moment would pass; a run fails the bundle's own model, or refuses."""
    bad, good, file = (made / "model.onnx").read_bytes(), small_onnx.read_bytes(), made / "model.onnx"
    wanted = validate(made, tmp_path / "report.json", asked)
    assert wanted.exit_code == 3
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for data, seconds in ((good, 0.02), (bad, 0.05)):
                swapped(file, data, in_place=False)
                time.sleep(seconds)

    thread = threading.Thread(target=swap)
    thread.start()
    found = []
    try:
        for _ in range(12):
            try:
                report = validate(made, tmp_path / "report.json", asked)
                found.append((report.exit_code, report.accuracy.sqnr_db))
            except IntegrityError as error:
                found.append((error.exit_code, {}))
    finally:
        ended.set()
        thread.join()
    assert {code for code, _ in found} <= {3, 7}
    assert all(sqnr == wanted.accuracy.sqnr_db for code, sqnr in found if code == 3)


def test_two_manifests_of_one_opening_are_refused(made, small_bundle, monkeypatch):
    """The first says which files to keep, the second was verified."""
    from edgekit.validate import subject

    real = subject.read_signed
    other = edited(small_bundle, made.with_name("other"), verdict="another")
    monkeypatch.setattr(subject, "read_signed", lambda path, trust: real(other, trust))
    with pytest.raises(IntegrityError, match="as it was a moment ago, found another"):
        open_subject(made, ValidateConfig())


def test_messages_name_the_bundles_file(small_bundle, tmp_path):
    """Not the copy, which has no name; this one passes the bounds, and onnx finds what is wrong with it."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(small_bundle / "model.onnx")
    model.graph.node[1].input[0] = "nowhere"
    bundle = edited(small_bundle, tmp_path / "bundle", model.SerializeToString())
    with pytest.raises(ModelError, match=rf"expected an ONNX model in {bundle}/model\.onnx, found: ") as error:
        open_subject(bundle, ValidateConfig())
    assert "/proc" not in str(error.value)


def test_nothing_of_the_model_is_in_the_folder_of_temporary_files(made, temporary):
    subject = open_subject(made, ValidateConfig())
    assert list(temporary.iterdir()) == []
    number = int(subject.onnx.name)
    os.fstat(number)
    del subject
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_without_proc_a_folder_of_this_user_holds_it(made, temporary, monkeypatch):
    monkeypatch.setattr(kept, "_OPEN_FILES", Path("/nowhere"))
    wanted = answer(str(made / "model.onnx"))
    subject = open_subject(made, ValidateConfig())
    (folder,) = temporary.iterdir()
    assert (folder.stat().st_mode & 0o777, subject.onnx.parent) == (0o700, folder)
    swapped(made / "model.onnx", b"other", in_place=True)
    with running(subject, "auto") as ran:
        np.testing.assert_array_equal(ran.runner.run({"image": X})["logits"], wanted)
    del subject, ran
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_an_onnx_is_no_copy(small_onnx):
    subject: Subject = open_subject(small_onnx, ValidateConfig())
    assert (subject.onnx, subject.kept, subject.called) == (small_onnx, None, str(small_onnx))


SLOW = """
import pathlib, time, numpy
def samples():
    yield {"image": numpy.ones((4, 3, 8, 8), numpy.float32)}
    pathlib.Path("begun").touch()
    time.sleep(120)
"""


# Where onnxruntime is built with it, it keeps a number of this user there from run to run.
ONNXRUNTIMES = ".ses"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_an_end_in_the_middle_leaves_nothing(made, small_onnx, tmp_path, form, end):
    """Of what is judged; the report that a SIGKILL interrupts leaves an empty .part."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    (work / "slow.py").write_text(SLOW)
    source = made if form == "folder" else tmp_path / "b.ekb"
    if form == "archive":
        archive(made, source)
    words = ["validate", source, "--reference", small_onnx, "--data", "slow.py:samples", "--out", "report.json"]
    with subprocess.Popen(
        [sys.executable, "-m", "edgekit", *words],
        cwd=work,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 120
        while not (work / "begun").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(end)
        process.communicate(timeout=60)
    assert process.returncode == (143 if end == signal.SIGTERM else -9)
    assert {path.name for path in temporary.iterdir()} <= {ONNXRUNTIMES}
    if end == signal.SIGTERM:
        assert {path.name for path in work.iterdir()} - {"__pycache__"} == {"slow.py", "begun"}
