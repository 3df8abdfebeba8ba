"""Nothing of a bundle that was changed reaches a deserialiser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.bundle import Contents, Manifest, pack, read_manifest, verify
from edgekit.errors import IntegrityError
from edgekit.runtime import Session


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch):
    """Every test here ends before onnxruntime sees a byte."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("a model was loaded"))


def test_an_untouched_bundle_verifies_and_hands_out_the_hashed_bytes(bundle):
    verified = verify(bundle, keep={"model.onnx"})
    assert verified.contents == {"model.onnx": (bundle / "model.onnx").read_bytes()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), data=st.data())
def test_any_flipped_bit_is_refused(bundle, place, bit, data):
    """Also in the manifest: there a flip leaves malformed JSON, another digest, or a value that is not ours."""
    name = data.draw(st.sampled_from(["model.onnx", "reports/accuracy.json"]))
    path = bundle / name
    good = path.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= 1 << bit
    path.write_bytes(bad)
    try:
        with pytest.raises(IntegrityError, match="it was changed"):
            Session.open(bundle)
    finally:
        path.write_bytes(good)


def change(bundle: Path, **values) -> None:
    table = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**table, **values}))


def entry(**values) -> dict:
    return {"size": 1, "sha256": "0" * 64, **values}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda bundle: (bundle / "model.onnx").unlink(), "expected model.onnx in"),
        (lambda bundle: (bundle / "extra").write_text("x"), "found extra too"),
        (lambda bundle: (bundle / "model.onnx").write_bytes(b"x"), "bytes in"),
        (lambda bundle: (bundle / "link").symlink_to("/etc/hostname"), "found a link or a device"),
        (lambda bundle: (bundle / "manifest.json").unlink(), "found none"),
        (lambda bundle: (bundle / "manifest.json").write_bytes(b"\xff\xfe"), "as edgekit writes it"),
        (lambda bundle: (bundle / "manifest.json").write_text("[" * 5000), "as edgekit writes it"),
        (lambda bundle: (bundle / "manifest.json").write_text(" " * (1 << 20) + "{}"), "below 1048576 bytes"),
        (lambda bundle: change(bundle, schema=2), "schema 1"),
        (lambda bundle: change(bundle, surprise=1), "no other keys"),
        (lambda bundle: change(bundle, files={"../model.onnx": entry()}), "plain file names"),
        (lambda bundle: change(bundle, files={"/etc/passwd": entry()}), "plain file names"),
        (lambda bundle: change(bundle, files={"a": entry(sha256="short")}), "a size and a SHA-256"),
        (lambda bundle: change(bundle, files={"a": entry(size=True)}), "expected int"),
        (lambda bundle: change(bundle, preprocess="nowhere.json"), "expected nowhere.json among the files"),
        (lambda bundle: change(bundle, ranges={"batch": "many"}), "as edgekit writes it"),
        (lambda bundle: change(bundle, model={"file": "model.onnx"}), "as edgekit writes it"),
    ],
)
def test_damage_is_refused_in_one_line(bundle, damage, says):
    damage(bundle)
    with pytest.raises(IntegrityError) as error:
        Session.open(bundle)
    assert error.value.exit_code == 7
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_manifest_is_canonical(bundle):
    text = (bundle / "manifest.json").read_bytes()
    assert Manifest.parse(text).dump() == text


def test_packing_twice_gives_the_same_bytes(bundle, tmp_path):
    manifest = read_manifest(bundle)
    contents = Contents({name: bundle / name for name in manifest.files if name != "labels"}, {"made.json": b"{}"})
    first, second = pack(tmp_path / "a", manifest, contents), pack(tmp_path / "b", manifest, contents)
    assert first == second
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()
    assert set(verify(tmp_path / "a").manifest.files) == {*manifest.files, "made.json"}
