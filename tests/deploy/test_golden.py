"""The golden input of a bundle: made up by itself, the user's when it is asked for, right by onnxruntime."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest

from edgekit.bundle import GOLDEN, verify
from edgekit.cli import main
from edgekit.configs import DeployConfig, ValidateConfig
from edgekit.deploy import deploy
from edgekit.deploy.golden import golden
from edgekit.errors import SessionError, UsageError
from edgekit.runtime import Session
from edgekit.runtime.loop import Golden
from edgekit.validate import validate

onnx = pytest.importorskip("onnx")


def ready(digits, out, **more):
    asked = {"data": str(digits / "data.npz"), "precision": "fp32", "budget": "sqnr_db>=20,p50_ms<=60000"}
    return deploy(str(digits / "good.onnx"), out, DeployConfig("cpu", **(asked | more)))


def answers(model, image) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": image})[0]


@pytest.fixture(scope="module")
def bundle(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("golden")
    ready(digits, out)
    return out / "bundle"


def test_by_itself_it_holds_nothing_of_the_data(digits, bundle):
    assert GOLDEN in verify(bundle).manifest.files
    known = Golden.load(bundle / GOLDEN)
    (image,) = known.inputs.values()
    with np.load(digits / "data.npz") as data:
        real = data["image"]
    assert image.dtype == real.dtype
    assert not any(np.array_equal(image[0], one) for one in real)
    assert image.min() < 0 < 1 < image.max(), "pictures are of 0 to 1, or 0 to 16; these are normal numbers"
    np.testing.assert_allclose(known.outputs["logits"], answers(bundle / "model.onnx", image), rtol=1e-5, atol=1e-5)


def test_the_bundle_gives_it_and_another_network_does_not(digits, bundle):
    known = Golden.load(bundle / GOLDEN)
    with Session.open(bundle) as session:
        known(session)
        wrong = {name: -array for name, array in known.outputs.items()}
        with pytest.raises(SessionError, match="golden input: expected logits within 20 dB"):
            Golden(known.inputs, wrong)(session)


def test_a_sample_is_embedded_when_it_is_asked_for(digits, tmp_path):
    ready(digits, tmp_path, embed_samples=True)
    known = Golden.load(tmp_path / "bundle" / GOLDEN)
    with np.load(digits / "data.npz") as data:
        np.testing.assert_array_equal(known.inputs["image"], data["image"][: len(known.inputs["image"])])


def test_a_sample_of_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="of which a sample is to be embedded, found none; next: --data"):
        deploy("efficientnet_lite0", tmp_path, DeployConfig("cpu", embed_samples=True))


def test_what_made_up_numbers_say_nothing_of_has_none(tmp_path):
    """The logarithm of a normal number is NaN half of the time."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Log", ["x"], ["y"])], "g", [value("x", 1, ["n", 64])], [value("y", 1, ["n", 64])]
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(made, tmp_path / "log.onnx")
    assert golden(tmp_path / "log.onnx", ValidateConfig(), {"n": 2}, embed=False) is None
    np.savez(tmp_path / "data.npz", x=np.full((4, 64), 2.0, np.float32))
    known = golden(tmp_path / "log.onnx", ValidateConfig(data=str(tmp_path / "data.npz")), {"n": 2}, embed=True)
    np.testing.assert_allclose(known.outputs["y"], np.log(2.0), rtol=1e-6)


def test_a_bundle_is_judged_by_what_it_was_made_for(digits, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = validate(bundle, tmp_path / "v.json", ValidateConfig(digits / "good.onnx", str(digits / "data.npz")))
    assert [str(finding.limit) for finding in report.findings] == ["sqnr_db>=20", "p50_ms<=60000"]
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(bundle), "--data", str(digits / "data.npz"), "--cold-starts", "0", "--out", "b.json"])
    assert ended.value.code in (0, None)
    found = json.loads((tmp_path / "b.json").read_text())
    assert [finding["limit"]["key"] for finding in found["findings"]] == ["p50_ms"]
    assert "p50_ms<=60000: PASS" in capsys.readouterr().out
