"""Who takes over reads the model then, of the bundle that was opened: also where installs removed that since."""

from __future__ import annotations

import contextlib
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import EngineEntry, archive
from edgekit.errors import IntegrityError, SessionError, TargetError
from edgekit.install import install
from edgekit.judge import plain_session
from edgekit.runtime import Session, opening
from edgekit.runtime.choice import Choice
from tests.install.bundles import tiny, well
from tests.runtime.fakes import Failing

ENGINE = EngineEntry("reports/accuracy.json", "tensorrt_rtx", "1", ("8.6",))  # any file but the model


@pytest.fixture
def failing(monkeypatch) -> Failing:
    """The backend of every bundle that is opened with an engine: it fails with its first inference."""
    backend, real = Failing(0), opening.load
    monkeypatch.setattr(opening, "choose", lambda *_: (Choice("rtx", ENGINE, "a test"),))
    monkeypatch.setattr(opening, "load", lambda verified, choice: backend if choice.engine else real(verified, choice))
    return backend


@pytest.fixture(params=["folder", "archive", "installed"])
def bundle(request, small_bundle: Path, tmp_path: Path) -> Path:
    """In each of the forms that an app opens."""
    made = tmp_path / {"folder": "bundle", "archive": "b.ekb", "installed": "root/current"}[request.param]
    if request.param == "folder":
        shutil.copytree(small_bundle, made)
    elif request.param == "archive":
        archive(small_bundle, made)
    else:
        install(small_bundle, tmp_path / "root", check=well_enough)
    return made


def well_enough(folder, config):
    """A check that costs nothing."""
    from tests.install.bundles import HEALTH

    return HEALTH


def prune(bundle: Path) -> None:
    """What two installs make of the one that is open; or its owner, who removes it."""
    if bundle.is_symlink():
        version = bundle.resolve()
        for mark in "AB":
            install(tiny(bundle.parents[1] / mark, mark), bundle.parent, check=well)
        assert not version.exists()
    elif bundle.is_dir():
        shutil.rmtree(bundle)
    else:
        bundle.unlink()


def held() -> list[str]:
    """The files that this process has open and that a bundle has."""
    files = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            files.append(str(link.readlink()))
    return [file for file in files if file.removesuffix(" (deleted)").endswith(("model.onnx", ".ekb"))]


def test_a_bundle_that_is_gone_is_fallen_back_to(small_onnx, bundle, failing):
    image = np.random.default_rng(3).normal(size=(2, 3, 8, 8)).astype(np.float32)
    (wanted,) = plain_session(str(small_onnx)).run(None, {"image": image})
    with Session.open(bundle, on_failure="ort") as session:
        prune(bundle)
        answer = session.run({"image": image})["logits"]
        assert (session.backend, session.health()["state"]) == ("ort", "degraded")
        np.testing.assert_allclose(answer, wanted, rtol=1e-6)
        assert held() == [], "let go when it was read"


def test_the_model_is_held_until_the_session_closes(bundle, failing):
    with Session.open(bundle, on_failure="ort"):
        assert len(held()) == 1
    assert held() == []
    with Session.open(bundle, on_failure="raise") as session:
        assert held() == []
        with pytest.raises(SessionError, match="an illegal address"):
            session.execute()


def test_nothing_stays_open_where_the_session_cannot_be_made(bundle, failing, monkeypatch):
    monkeypatch.setattr("edgekit.runtime.session.Sizes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Session.open(bundle, on_failure="ort")
    assert held() == []


def test_nothing_stays_open_of_an_engine_that_does_not_load(bundle, monkeypatch):
    def refuses(verified, choice):
        raise TargetError("expected a CUDA device, found none")

    monkeypatch.setattr(opening, "choose", lambda *_: (Choice("rtx", ENGINE, "one"), Choice("rtx", ENGINE, "two")))
    monkeypatch.setattr(opening, "load", refuses)
    with pytest.raises(TargetError, match="found none"):
        Session.open(bundle, on_failure="ort")
    assert held() == []


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_model_that_was_written_over_is_refused_in_one_line(bundle, failing, damage, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("it was loaded"))
    file = bundle / "model.onnx" if bundle.is_dir() else bundle
    data = file.read_bytes()
    place = data.index(b"kernel")  # in the model, also of an archive
    with Session.open(bundle, on_failure="ort") as session:
        with file.open("r+b") as opened:
            if damage == "flipped":
                opened.seek(place)
                opened.write(b"K")
            else:
                opened.truncate(place if damage == "cut" else 0)
        with pytest.raises(IntegrityError, match=r"expected model\.onnx in .* as it was when it was opened") as error:
            session.execute()
        assert (error.value.exit_code, str(error.value).count("\n")) == (7, 0)


def test_another_bundle_in_its_place_is_not_what_is_held(small_bundle, tmp_path, failing, monkeypatch):
    """Put there when the first was verified, and before its model is held: all is read anew."""
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle, bundle)
    real, calls = opening.verify, []

    def replaced(*arguments):
        found = real(*arguments)
        calls.append(found.manifest.verdict)
        if len(calls) == 1:
            tiny(bundle, "B")
        return found

    def engine_of(manifest, backend):
        file = "labels.txt" if manifest.verdict == "PASS B" else ENGINE.file
        return (Choice("rtx", EngineEntry(file, "tensorrt_rtx", "1", ("8.6",)), "a test"),)

    monkeypatch.setattr(opening, "verify", replaced)
    monkeypatch.setattr(opening, "choose", engine_of)
    opened = opening.open_bundle(bundle, "auto", "ort")
    assert (opened.bundle.manifest.verdict, calls) == ("PASS B", ["PASS (ort, cpu)", "PASS B"])
    opened.let_go()


def test_the_model_is_no_memory_until_then(tmp_path, failing, monkeypatch):
    """Of 32 MiB, in a session whose engine is small."""
    bundle = tiny(tmp_path / "large", "A", 32 << 20)
    entry = EngineEntry("labels.txt", "tensorrt_rtx", "1", ("8.6",))
    monkeypatch.setattr(opening, "choose", lambda *_: (Choice("rtx", entry, ""),))
    tracemalloc.start()
    try:
        opened = opening.open_bundle(bundle, "auto", "ort")
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
        assert set(opened.bundle.contents) == {"labels.txt"}
    finally:
        tracemalloc.stop()
        opened.let_go()
