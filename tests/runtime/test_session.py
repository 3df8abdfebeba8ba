"""The Session on onnxruntime: names, shapes, views, threads and honesty about who computes."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgekit.bundle import Manifest
from edgekit.errors import EdgekitError, IntegrityError, SessionError, ShapeError, TargetError
from edgekit.runtime import Session


def expected_logits(onnx: Path, image: np.ndarray) -> np.ndarray:
    """The oracle: onnxruntime's plain `run` at its default settings."""
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": image})[0]


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def answering(small_onnx, small_data, tmp_path) -> Path:
    """The small classifier with the names of its classes."""
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    (tmp_path / "r.toml").write_text('[postprocess]\nkind = "classify"\noutput = "logits"\n')
    config = DeployConfig("cpu", precision="fp32", data=str(small_data), recipe=str(tmp_path / "r.toml"))
    return deploy(str(small_onnx), tmp_path / "out", config).path


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_run_follows_the_batch(small_bundle, small_onnx, batch):
    image = pictures(batch)
    with Session.open(small_bundle) as session:
        np.testing.assert_allclose(
            session.run({"image": image})["logits"], expected_logits(small_onnx, image), rtol=1e-5
        )


def test_opens_at_the_opt_shape_and_runs_in_place(small_bundle, small_onnx):
    image = pictures(1)
    with Session.open(small_bundle) as session:
        bound = session.input("image")
        assert bound.shape == (1, 3, 8, 8)
        bound[...] = image
        timing = session.execute()
        assert timing.end_ns > timing.start_ns
        view = session.output("logits")
        first = view.copy()
        np.testing.assert_allclose(first, expected_logits(small_onnx, image), rtol=1e-5)
        bound[...] = 0
        session.execute()
        assert session.output("logits") is view
        assert not np.array_equal(view, first), "an output is a view of the last run"


def test_run_returns_copies(small_bundle):
    with Session.open(small_bundle) as session:
        first = session.run({"image": pictures(1)})["logits"]
        kept = first.copy()
        session.run({"image": pictures(1) + 1})
        np.testing.assert_array_equal(first, kept)


def test_submit_and_wait(small_bundle):
    with Session.open(small_bundle) as session:
        session.input("image")[...] = 1
        ticket = session.submit()
        assert session.wait(ticket, timeout=5).start_ns == ticket.start_ns


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ({}, "expected inputs image, found no 'image'"),
        ({"imag": pictures(1)}, "did you mean 'image'?"),
        ({"image": pictures(1), "extra": pictures(1)}, "expected one of image, found 'extra'"),
        ({"image": pictures(1).astype(np.float64)}, "expected float32[batch, 3, 8, 8], found float64[1, 3, 8, 8]"),
        ({"image": pictures(1)[0]}, "expected float32[batch, 3, 8, 8], found float32[3, 8, 8]"),
        ({"image": pictures(1).transpose(0, 2, 3, 1)}, "found float32[1, 8, 8, 3]"),
        ({"image": pictures(9)}, "expected batch in 1..8, the range of the bundle, found 9"),
    ],
)
def test_says_what_was_wrong(small_bundle, feeds, says):
    with Session.open(small_bundle) as session, pytest.raises(ShapeError) as error:
        session.run(feeds)
    assert says in str(error.value)


def test_belongs_to_one_thread(small_bundle):
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            session.execute()
        except SessionError as error:
            caught.append(error)

    with Session.open(small_bundle) as session:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        session.execute()
    assert "thread" in str(caught[0])


def test_a_closed_session_says_so_and_closes_twice(small_bundle):
    session = Session.open(small_bundle)
    session.close()
    session.close()
    with pytest.raises(SessionError, match="found it closed"):
        session.execute()


def test_health_names_the_backend_and_why(small_bundle):
    with Session.open(small_bundle) as session:
        session.warmup(2)
        assert session.health() == {
            "backend": "ort",
            "device": "cpu",
            "reason": "the bundle has no engine",
            "state": "ready",
            "degraded": "",
            "last_error": "",
            "runs": 2,
            "errors": 0,
            "timeouts": 0,
        }
    assert session.health()["state"] == "closed"


def test_a_bundle_without_an_engine_refuses_the_engine_backends(small_bundle):
    for backend in ("trt", "rtx"):
        with pytest.raises(TargetError, match="expected an engine"):
            Session.open(small_bundle, backend)
    with pytest.raises(SessionError, match="expected backend auto, ort, trt or rtx"):
        Session.open(small_bundle, "cuda")


def test_an_answer_belongs_to_an_inference(answering):
    with Session.open(answering) as session:
        with pytest.raises(SessionError, match=r"found none yet; next: session\.execute\(\)"):
            session.postprocess()
        session.execute()
        assert len(session.postprocess()[0]) == 1
        session.set_shape("image", (2, 3, 8, 8))
        with pytest.raises(SessionError, match="found none yet"):
            session.postprocess()


@pytest.mark.parametrize("feeds", [np.zeros((1, 3, 8, 8), np.float32), [1], None])
def test_arrays_without_names_are_said(small_bundle, feeds):
    with Session.open(small_bundle) as session, pytest.raises(ShapeError, match="expected a dict of arrays by name"):
        session.run(feeds)


def test_no_labels_and_no_preprocessing_are_said(small_bundle):
    with Session.open(small_bundle) as session:
        with pytest.raises(SessionError, match="expected a bundle with preprocessing"):
            session.preprocess(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(SessionError, match="labels"):
            session.postprocess()


def test_one_changed_byte_is_refused_before_onnxruntime_sees_it(small_bundle, tmp_path, monkeypatch):
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle, bundle)
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(IntegrityError) as error:
        Session.open(bundle)
    assert error.value.exit_code == 7


def test_a_bundle_that_is_replaced_while_it_is_opened_is_refused(small_bundle, monkeypatch):
    from dataclasses import replace

    from edgekit.bundle import read_manifest

    other = replace(read_manifest(small_bundle), verdict="of another bundle")
    monkeypatch.setattr("edgekit.runtime.opening.read_signed", lambda path, trust: (other, ()))
    with pytest.raises(IntegrityError, match="as it was a moment ago, found another"):
        Session.open(small_bundle)


def test_another_shape_finds_its_input_zeroed(small_bundle):
    with Session.open(small_bundle) as session:
        session.input("image")[...] = 7
        session.set_shape("image", (2, 3, 8, 8))
        assert not session.input("image").any()
        session.input("image")[...] = 7
        session.set_shape("image", (1, 3, 8, 8))
        assert not session.input("image").any()


def test_a_missing_bundle_is_one_line(tmp_path):
    with pytest.raises(EdgekitError, match="expected a bundle, a folder or an"):
        Session.open(tmp_path / "nowhere")


def test_an_output_of_unknown_shape_is_allocated_by_onnxruntime(small_bundle, small_onnx, tmp_path):
    """NonZero's length depends on the data: the manifest names an axis that no range gives."""
    onnx = pytest.importorskip("onnx")
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    helper = onnx.helper
    nodes = [helper.make_node("NonZero", ["x"], ["where"]), helper.make_node("Neg", ["x"], ["minus"])]
    graph = helper.make_graph(
        nodes,
        "data-dependent",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3])],
        [
            helper.make_tensor_value_info("where", onnx.TensorProto.INT64, [2, "count"]),
            helper.make_tensor_value_info("minus", onnx.TensorProto.FLOAT, ["batch", 3]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    x = np.array([[0, 1, 2], [3, 0, 0]], np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    config = DeployConfig(target="cpu", precision="fp32", data=str(tmp_path / "x.npz"))
    deploy(str(tmp_path / "m.onnx"), tmp_path / "out", config)
    with Session.open(tmp_path / "out" / "bundle") as session:
        made = session.run({"x": x})
        np.testing.assert_array_equal(made["where"], np.nonzero(x))
        np.testing.assert_array_equal(made["minus"], -x)
        for other in (np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32), x):
            np.testing.assert_array_equal(session.run({"x": other})["where"], np.nonzero(other))


def test_the_manifest_opens_at_opt(small_bundle):
    manifest = Manifest.parse((small_bundle / "manifest.json").read_bytes())
    assert manifest.ranges == {"batch": (1, 1, 8)}


@pytest.fixture
def signed(small_bundle, tmp_path) -> tuple[Path, Path]:
    """The small classifier with a signature, and the public key to it."""
    pytest.importorskip("cryptography", reason="signatures need the extra sign")
    from edgekit.bundle import make_keys, sign

    shutil.copytree(small_bundle, tmp_path / "signed")
    make_keys(tmp_path / "key")
    sign(tmp_path / "signed", tmp_path / "key")
    return tmp_path / "signed", tmp_path / "key.pub"


def test_a_trusted_bundle_opens_and_names_its_signer(signed, small_bundle, small_onnx):
    from edgekit.bundle import key_id
    from edgekit.bundle.keys import read_public

    bundle, key = signed
    signer, image = key_id(read_public(key)), pictures(1)
    for asked, said in (
        ({"trusted_keys": key}, "trusted"),
        ({"trusted_keys": [str(key.parent)], "require_signature": True}, "trusted"),
        ({"require_signature": True}, "valid, no trusted keys given"),
        ({}, "valid, no trusted keys given"),
    ):
        with Session.open(bundle, **asked) as session:
            assert session.signed == f"signed by {signer}, {said}"
            np.testing.assert_allclose(
                session.run({"image": image})["logits"], expected_logits(small_onnx, image), rtol=1e-5
            )
    with Session.open(small_bundle) as session:
        assert session.signed == "not signed"


def test_trust_comes_before_every_choice(signed, small_bundle):
    """An unsigned bundle is refused as that, not for the engine that it does not have."""
    for backend in ("auto", "ort", "trt", "rtx"):
        with pytest.raises(IntegrityError, match="expected a signed bundle"):
            Session.open(small_bundle, backend, trusted_keys=signed[1])
        with pytest.raises(IntegrityError, match="expected a signed bundle"):
            Session.open(small_bundle, backend, require_signature=True)


def test_who_takes_over_is_trusted_too(signed, monkeypatch):
    """By the digest in the manifest that was signed: the signature may be gone by then, and the key file too."""
    from edgekit.bundle import EngineEntry
    from edgekit.runtime import opening
    from edgekit.runtime.choice import Choice

    bundle, key = signed
    engine = EngineEntry("model.onnx", "tensorrt_rtx", "1", ("8.6",))
    monkeypatch.setattr(opening, "choose", lambda *_: (Choice("rtx", engine, "a test"),))
    monkeypatch.setattr(opening, "load", lambda verified, choice: choice.backend)
    opened = opening.open_bundle(bundle, "auto", "ort", key)
    key.unlink()
    (bundle / "signatures.json").unlink()
    assert opened.fallback() == "ort"
    (bundle / "model.onnx").write_bytes(b"x" * (bundle / "model.onnx").stat().st_size)
    with pytest.raises(IntegrityError, match="as it was when it was opened, found that it was changed"):
        opened.fallback()
    opened.let_go()


def test_a_session_that_cannot_be_made_gives_its_backend_back(small_bundle, monkeypatch):
    from edgekit.runtime.ort import OrtBackend

    closed = []
    monkeypatch.setattr(OrtBackend, "close", lambda self: closed.append(self))
    monkeypatch.setattr("edgekit.runtime.session.Sizes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Session.open(small_bundle)
    assert len(closed) == 1
