"""Nothing of a bundle that was changed reaches a deserialiser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.bundle import (
    Contents,
    EngineEntry,
    FileEntry,
    Manifest,
    ModelEntry,
    QuantizationEntry,
    pack,
    read_manifest,
    verify,
)
from edgekit.errors import IntegrityError
from edgekit.files import json_bytes
from edgekit.install import install
from edgekit.runtime import Session
from edgekit.specs import TensorSpec
from tests.install.bundles import HEALTH


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
    """In any file, the manifest included."""
    name = data.draw(st.sampled_from(["model.onnx", "reports/accuracy.json", "manifest.json"]))
    path = bundle / name
    good = path.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= 1 << bit
    path.write_bytes(bad)
    try:
        with pytest.raises(IntegrityError):
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
        (lambda bundle: (bundle / "manifest.json").write_bytes(b"\xff\xfe"), "as strict JSON"),
        (lambda bundle: (bundle / "manifest.json").write_text("[" * 5000), "as strict JSON"),
        (lambda bundle: (bundle / "manifest.json").write_text(" " * (1 << 20) + "{}"), "below 1048576 bytes"),
        (lambda bundle: change(bundle, schema=1), "schema 3"),
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


def test_one_changed_byte_in_any_file_is_refused(bundle):
    for name in read_manifest(bundle).files:
        good = (bundle / name).read_bytes()
        (bundle / name).write_bytes(bytes([good[0] ^ 0xFF]) + good[1:])
        with pytest.raises(IntegrityError, match=f"{name}, found .*: it was changed"):
            Session.open(bundle)
        (bundle / name).write_bytes(good)
    verify(bundle)


def test_every_single_bit_of_the_manifest_is_covered(bundle):
    """Its own digest finds what JSON and the checks of values let through, such as another verdict."""
    good = (bundle / "manifest.json").read_bytes()
    for place in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            with pytest.raises(IntegrityError):
                Manifest.parse(bytes(bad))
    assert Manifest.parse(good).dump() == good


def test_another_verdict_is_refused(bundle):
    change(bundle, verdict="PASS (trt, a GPU that never was)")
    with pytest.raises(IntegrityError, match="match its own SHA-256"):
        Session.open(bundle)


def swap_for_a_link_to_itself(bundle: Path, name: str) -> None:
    """What a link points to is right: the link is what is refused."""
    (bundle / name).rename(bundle.parent / "elsewhere")
    (bundle / name).symlink_to(bundle.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda bundle: swap_for_a_link_to_itself(bundle, "model.onnx"), "found a link or a device"),
        (lambda bundle: swap_for_a_link_to_itself(bundle, "reports"), "found a link or a device"),
        (lambda bundle: swap_for_a_link_to_itself(bundle, "manifest.json"), "expected a bundle with manifest.json"),
        (lambda bundle: os.mkfifo(bundle / "pipe"), "found a link or a device"),
        (lambda bundle: (bundle / "reports" / "more").write_text("x"), "found reports/more too"),
        (lambda bundle: (bundle / "manifest.json").write_text("[]"), "schema 3"),
        (lambda bundle: (bundle / "manifest.json").write_text("1" * 5000), "as strict JSON"),
        (lambda bundle: change(bundle, files={"a": entry(mode=7)}), "unknown key 'mode'"),
        (lambda bundle: change(bundle, files={"a": entry(size=-1)}), "a size and a SHA-256"),
        (lambda bundle: change(bundle, files={"manifest.json": entry()}), "file names that differ"),
        *(
            (lambda bundle, name=name: change(bundle, files={name: entry()}), "plain file names")
            for name in ("", ".", "a/../b", "a//b", "./a", ".hidden", "a\\b", "a\n", "a\0", "a/", "C:a")
        ),
        *(
            (lambda bundle, sizes=sizes: change(bundle, ranges={"batch": sizes}), "ranges")
            for sizes in ([1, 8], [], [8, 1, 1], [0, 0, 8], [1, 1.5, 8], "138", [True, 1, 8])
        ),
    ],
)
def test_what_a_hostile_bundle_may_try_is_refused_in_one_line(bundle, damage, says):
    damage(bundle)
    with pytest.raises(IntegrityError) as error:
        Session.open(bundle)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tensor_that_numpy_does_not_have_is_said_in_one_line(bundle):
    """It verifies, since an engine may have it; but no Session has a buffer for it."""
    manifest = read_manifest(bundle)
    made = replace(manifest, outputs=(replace(manifest.outputs[0], dtype="float4_e2m1fn"),))
    (bundle / "manifest.json").write_bytes(made.dump())
    verify(bundle)
    # A process of its own: the package onnx, which other tests import, makes NumPy know more types.
    code = f"from edgekit.runtime import Session; Session.open({str(bundle)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = "logits: expected a tensor of a type that NumPy has, found float4_e2m1fn"
    assert said in done.stderr.splitlines()[-1]


def test_bytes_that_the_manifest_does_not_list_cannot_be_kept(bundle):
    with pytest.raises(IntegrityError, match=r"expected other\.onnx"):
        verify(bundle, keep={"other.onnx"})


SIZES = st.lists(st.integers(1, 99), min_size=3, max_size=3).map(sorted).map(tuple)
SPECS = st.builds(
    TensorSpec, st.text(), st.just("float32"), st.lists(st.integers(1, 9) | st.text(), max_size=4).map(tuple)
)


@given(
    st.text(),
    st.dictionaries(st.text(), SIZES, max_size=3),
    st.lists(SPECS, max_size=3, unique_by=lambda spec: spec.name).map(tuple),
    st.floats(0, allow_infinity=False),
)
def test_a_manifest_survives_its_own_json(text, ranges, specs, number):
    files = {"model.onnx": FileEntry(3, "0" * 64)}
    model = ModelEntry("model.onnx", text, text, "fp16", "all", text, "1" * 64)
    engines = (EngineEntry("model.onnx", text, text, ("8.6", text), "model.onnx", (text,), text, text, "13.0"),)
    made = Manifest("1", text, model, "", "model.onnx", "", ("model.onnx",), specs, specs, ranges, engines, files)
    made = replace(
        made,
        quantization=QuantizationEntry(text, "2" * 64, "3" * 64, 7),
        budget=f"p99_ms<={number!r}",
        fps=number,
        reports=("model.onnx",),
        tools={text: text},
    )
    assert Manifest.parse(made.dump()) == made


def test_an_engine_whose_plugins_are_not_in_the_bundle_is_refused():
    files = {"model.onnx": FileEntry(3, "0" * 64)}
    model = ModelEntry("model.onnx", "", "", "fp16", "all")
    engines = (EngineEntry("model.onnx", "tensorrt", "10.3.0", ("8.7",), "plugins/kernels.so"),)
    made = Manifest("1", "PASS", model, "", "", "", (), (), (), {}, engines, files)
    with pytest.raises(IntegrityError, match=r"expected plugins/kernels\.so among the files"):
        Manifest.parse(made.dump())


@pytest.mark.parametrize(
    ("schema", "found"),
    [(4, "schema 4"), (2, "schema 2"), ("3", "another or none"), (True, "another or none"), (3.0, "another or none")],
)
def test_a_manifest_of_another_schema_is_told_of_which(small_bundle, schema, found):
    table = json.loads((small_bundle / "manifest.json").read_text()) | {"schema": schema}
    with pytest.raises(
        IntegrityError, match=f"expected a bundle manifest of schema 3, found {found}; next: edgekit deploy"
    ):
        Manifest.parse(json_bytes(table))


def test_a_folder_of_installed_bundles_says_which_is_the_bundle(small_bundle, tmp_path):
    install(small_bundle, tmp_path / "root", check=lambda folder, config: HEALTH)
    with pytest.raises(IntegrityError, match=f"in {tmp_path}/root, found none; next: {tmp_path}/root/current"):
        read_manifest(tmp_path / "root")
    with pytest.raises(IntegrityError) as error:
        read_manifest(tmp_path)
    assert error.value.next_step == ""
