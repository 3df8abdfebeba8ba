"""The main job, end to end."""

from __future__ import annotations

import hashlib
import json
import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from edgekit.budget import parse_budget
from edgekit.build import build
from edgekit.bundle import verify
from edgekit.configs import BuildConfig, DeployConfig, ExportConfig, QuantizeConfig, RunConfig, ValidateConfig
from edgekit.deploy import deploy
from edgekit.errors import RecipeError, UsageError
from edgekit.export import export
from edgekit.files import sha256_of
from edgekit.inspect import inspect
from edgekit.quantize import quantize
from edgekit.run import run
from edgekit.runtime import Session
from edgekit.validate import validate

RTX = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engines of these tests")

USERS_MODULE = textwrap.dedent("""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                torch.nn.Linear(8, 4),
            )

        def forward(self, frame, gain):
            return {"speed": self.layers(frame) * gain, "gain": gain * 2}

    def make_model():
        frame = torch.linspace(-1, 1, 3 * 12 * 12).reshape(1, 3, 12, 12)
        return Net(), {"gain": torch.full((1, 1), 3.0), "frame": frame}
""")


@pytest.mark.slow  # exports EfficientNet-Lite0
@pytest.mark.parametrize(
    ("photo", "answers"),
    [("cat", {"tiger cat", "Egyptian cat"}), ("coffee", {"espresso"}), ("camera_man", {"tripod"})],
)
def test_the_demo_names_what_is_on_the_photographs(lite0, photos, photo, answers):
    report = run(lite0 / "bundle", RunConfig(source=str(photos / f"{photo}.png")))
    (frame,) = report.frames
    assert frame.answer[0].rsplit(" ", 1)[0] in answers
    assert frame.compute_ms > 0
    assert (report.backend, report.device) == ("ort", "cpu")


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_the_demo_bundle_holds_what_ships(lite0):
    manifest = verify(lite0 / "bundle").manifest
    assert set(manifest.files) == {
        "golden.npz",
        "model.onnx",
        "model.rtx.engine",
        "preprocess.json",
        "postprocess.json",
        "reports/accuracy.json",
        "reports/build.json",
    }
    assert manifest.engines[0].compute_capabilities == ("8.6", "8.9")
    assert manifest.engines[0].version == RTX.__version__
    assert (manifest.engines[0].os, manifest.engines[0].minimum_cuda) == ("linux", "13.0")  # tensorrt_rtx_cu13
    assert (manifest.model.architecture, manifest.model.family) == ("efficientnet_lite0", "cnn")
    assert manifest.model.source_sha256 == sha256_of(lite0 / "stages" / "model.onnx")
    quantization = manifest.quantization
    assert (quantization.method, quantization.calibration_samples) == ("casts, by what data showed", 3)
    assert quantization.scales_sha256 == "", "no scale is in a file of FP16"
    assert parse_budget(manifest.budget) == parse_budget("sqnr_db>=30")
    assert manifest.reports == ("reports/accuracy.json", "reports/build.json")
    assert manifest.tools.keys() >= {"python", "numpy", "onnx", "onnxruntime", "torch"}
    assert manifest.verdict == "PASS (ort, cpu, fp16 emulated); engine rtx sm86,sm89: built, not run (no GPU here)"
    # FP16: half the bytes of FP32, and a little more for the casts.
    sizes = {path.name: path.stat().st_size for path in (lite0 / "stages").iterdir()}
    assert sizes["model.fp16.onnx"] < 0.52 * sizes["model.onnx"]
    assert (lite0 / "bundle" / "model.onnx").read_bytes() == (lite0 / "stages" / "model.fp16.onnx").read_bytes()
    assert json.loads((lite0 / "bundle.json").read_text())["accuracy"]["sqnr_db"]["logits"] > 40


@pytest.fixture(scope="module")
def users_output(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "my.py").write_text(USERS_MODULE)
    deploy(f"{folder / 'my.py'}:make_model", folder / "out", DeployConfig(target="rtx"))
    return folder


def test_a_users_module_outside_the_package_deploys(users_output):
    torch = pytest.importorskip("torch")
    report = json.loads((users_output / "out" / "bundle.json").read_text())
    engine = "engine rtx sm80,sm86,sm89,sm120,sm121"
    assert report["verdict"].startswith(f"PASS (ort, cpu, fp16 emulated); {engine}: built, not run")
    assert report["judged_on"] == "example inputs only (the module's own example inputs), not real data"
    # The oracle is torch, at a batch that neither the example nor the parity check had.
    space: dict[str, object] = {}
    exec(USERS_MODULE, space)
    module, _ = space["make_model"]()
    random = np.random.default_rng(0)
    frame = random.normal(size=(5, 3, 12, 12)).astype(np.float32)
    gain = random.normal(size=(5, 1)).astype(np.float32)
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(frame), torch.from_numpy(gain))
    with Session.open(users_output / "out" / "bundle") as session:
        assert list(session.inputs) == ["frame", "gain"]
        found = session.run({"gain": gain, "frame": frame})
    np.testing.assert_allclose(found["speed"], wanted["speed"], atol=5e-3)
    np.testing.assert_allclose(found["gain_out"], wanted["gain"], rtol=2e-3)


def test_a_users_bundle_is_judged_again(users_output):
    stages = users_output / "out" / "stages"
    config = ValidateConfig(stages / "model.onnx", str(stages / "model.onnx.examples.npz"))
    report = validate(users_output / "out" / "bundle", users_output / "again.json", config)
    assert report.verdict == "PASS (ort, cpu, fp16 emulated); engine rtx sm80,sm86,sm89,sm120,sm121: not run"
    assert report.emulated == ("fp16",)


def test_a_users_bundle_runs_on_arrays(users_output):
    examples = users_output / "out" / "stages" / "model.onnx.examples.npz"
    report = run(users_output / "out" / "bundle", RunConfig(source=str(examples)))
    assert [frame.answer for frame in report.frames] == [("speed[1, 4]", "gain_out[1, 1]")] * 2


def test_a_broken_budget_is_a_verdict_and_leaves_the_earlier_bundle(small_onnx, small_data, tmp_path):
    config = DeployConfig(target="cpu", data=str(small_data))
    good = deploy(str(small_onnx), tmp_path, config)
    assert (good.exit_code, good.verdict) == (0, "PASS (ort, cpu, fp16 emulated)")
    before = (tmp_path / "bundle" / "manifest.json").read_bytes()
    bad = deploy(str(small_onnx), tmp_path, DeployConfig(target="cpu", data=str(small_data), budget="sqnr_db>=200"))
    assert (bad.exit_code, bad.verdict) == (3, "FAIL (ort, cpu, fp16 emulated)")
    assert str(bad.findings[0]).startswith("sqnr_db>=200: FAIL, found ")
    assert (tmp_path / "bundle" / "manifest.json").read_bytes() == before


def test_a_budget_that_fails_writes_no_bundle(small_onnx, small_data, tmp_path):
    deploy(str(small_onnx), tmp_path, DeployConfig(target="cpu", data=str(small_data), budget="sqnr_db>=200"))
    assert not (tmp_path / "bundle").exists()
    assert (tmp_path / "stages" / "model.fp16.onnx").exists()


def test_the_same_inputs_give_the_same_engine(small_onnx, small_data, tmp_path):
    config = DeployConfig(target="rtx", data=str(small_data), compute_capability=("8.6",))
    digests = []
    for name in ("a", "b"):
        deploy(str(small_onnx), tmp_path / name, config)
        digests.append(inspect(tmp_path / name / "stages" / "model.rtx.engine").facts["sha256"])
    assert digests[0] == digests[1]


def test_int8_judged_on_its_own_calibration_data_says_so(small_onnx, small_data, tmp_path):
    data = str(small_data)
    report = deploy(str(small_onnx), tmp_path / "a", DeployConfig(target="rtx", data=data, precision="int8+fp16"))
    assert report.exit_code == 0
    assert report.judged_on == "8 samples of small.npz (INT8 was calibrated on them too)"
    copy, other = tmp_path / "copy.npz", tmp_path / "other.npz"
    copy.write_bytes(small_data.read_bytes())
    np.savez(other, image=np.random.default_rng(5).normal(size=(8, 3, 8, 8)).astype(np.float32))
    again = DeployConfig(target="cpu", data=data, precision="int8", calibrate_on=str(copy))
    assert deploy(str(small_onnx), tmp_path / "c", again).judged_on.endswith("(INT8 was calibrated on them too)")
    apart = DeployConfig(target="cpu", data=data, precision="int8", calibrate_on=str(other))
    assert deploy(str(small_onnx), tmp_path / "b", apart).judged_on == "8 samples of small.npz"


def test_the_manifest_says_how_the_numbers_came_to_be(small_onnx, small_data, tmp_path):
    budget = "sqnr_db>=10.25,cosine>=0.9"
    deploy(str(small_onnx), tmp_path, DeployConfig("cpu", str(small_data), precision="int8", budget=budget, fps=25.0))
    manifest = verify(tmp_path / "bundle").manifest
    told = json.loads((tmp_path / "stages" / "model.int8.onnx.json").read_text())
    with (tmp_path / "stages" / "model.onnx").open("rb") as file:
        assert manifest.model.source_sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    quantization = manifest.quantization
    assert quantization.method == told["method"]
    assert quantization.method.startswith("activations by max, weights by max")
    assert quantization.calibration_samples == 8
    assert quantization.calibration_sha256 == told["calibration_sha256"]
    assert len(quantization.scales_sha256) == 64
    assert (manifest.budget, manifest.fps) == ("sqnr_db>=10.25,cosine>=0.9", 25.0)
    assert "torch" not in manifest.tools, "the source was an ONNX file"
    assert manifest.tools["numpy"] == np.__version__


def test_what_cannot_be_built_here_comes_as_a_package_and_a_bundle_that_waits_for_its_engine(
    small_onnx, small_data, tmp_path
):
    report = deploy(str(small_onnx), tmp_path, DeployConfig("jetpack6", str(small_data)))
    assert report.exit_code == 6
    assert report.verdict == "PASS (ort, cpu, fp16 emulated); engine jetpack6: not built here"
    manifest = verify(tmp_path / "bundle").manifest
    assert (manifest.engines, manifest.verdict) == ((), report.verdict)
    folder = tmp_path / "stages" / "model.jetpack6.engine.package"
    # What is built from there is an engine of this very model.
    assert sha256_of(folder / "model.onnx") == manifest.files["model.onnx"].sha256
    assert str(report.error) == (
        "expected TensorRT 10.3 to build for target jetpack6, found none on this machine; "
        "next: sh model.jetpack6.engine.package/build.sh on Jetson Orin with JetPack 6.1 or later, then edgekit bundle "
        "add-engine bundle model.jetpack6.engine.package/engine/model.jetpack6.engine NEW"
    )
    with Session.open(tmp_path / "bundle") as session:
        assert session.backend == "ort"


def test_a_broken_budget_is_worse_than_an_engine_that_is_not_there(small_onnx, small_data, tmp_path):
    report = deploy(str(small_onnx), tmp_path, DeployConfig("jetpack6", str(small_data), budget="sqnr_db>=300"))
    assert (report.exit_code, report.error) == (3, None)
    assert not (tmp_path / "bundle").exists()


def test_external_weights_are_brought_into_the_bundle(small_onnx, small_data, tmp_path, monkeypatch):
    """What is judged and shipped stands on its own: the weights' file may change or go."""
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.load(small_onnx), "ext.onnx", save_as_external_data=True, location="ext.bin", size_threshold=0)
    deploy("ext.onnx", tmp_path / "out", DeployConfig("cpu", str(small_data), precision="fp32"))
    with np.load(small_data) as archive:
        image = archive["image"]
    with Session.open(tmp_path / "out" / "bundle") as session:
        before = session.run({"image": image})["logits"]
    Path("ext.bin").write_bytes(bytes(Path("ext.bin").stat().st_size))
    with Session.open(tmp_path / "out" / "bundle") as session:
        np.testing.assert_array_equal(session.run({"image": image})["logits"], before)
    assert np.abs(before).max() > 0
    assert build(Path("ext.onnx"), tmp_path / "whole.onnx", BuildConfig("cpu")).bytes > Path("ext.onnx").stat().st_size


@pytest.mark.slow  # a full-size network
def test_a_broken_model_is_not_called_equal(tmp_path):
    """The onnx package fills this network with constants, whose sums overflow FP16: the report says NaN or Inf.

    Without data nobody knows; `deploy` has some, and keeps those sums in FP32.
    """
    onnx = pytest.importorskip("onnx")
    model = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    image = np.random.default_rng(0).uniform(size=(1, 3, 224, 224)).astype(np.float32)
    np.savez(tmp_path / "x.npz", data_0=image)
    data = str(tmp_path / "x.npz")
    blind = quantize(model, tmp_path / "blind.onnx", QuantizeConfig(precision="fp16"))
    reports = [
        validate(blind.path, tmp_path / "report.json", ValidateConfig(model, data)),
        *(deploy(str(model), tmp_path, DeployConfig("cpu", data, precision=it)) for it in ("fp16", "fp32")),
    ]
    found = [(report.exit_code, report.accuracy.sqnr_db["softmaxout_1"]) for report in reports]
    assert found == [(3, -math.inf), (0, math.inf), (0, math.inf)]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('[postprocess]\nkind = "classify"\noutput = "logit"', "[postprocess] output: expected one of logits"),
        (
            '[preprocess]\nkind = "image"\ninput = "img"\nresize = 8\ncrop = 8\nmean = [0, 0, 0]\nstd = [1, 1, 1]',
            "[preprocess] input: expected one of image, found 'img'",
        ),
    ],
)
def test_a_recipe_for_another_network_is_found_before_the_work(
    small_onnx, small_data, tmp_path, table, says, monkeypatch
):
    monkeypatch.setattr("edgekit.deploy.quantize", lambda *_: pytest.fail("the model was quantized first"))
    (tmp_path / "my.toml").write_text(table)
    config = DeployConfig("cpu", str(small_data), recipe=str(tmp_path / "my.toml"))
    with pytest.raises(RecipeError) as error:
        deploy(str(small_onnx), tmp_path / "out", config)
    assert says in str(error.value)


def test_weights_for_an_onnx_file_are_refused_before_the_work(small_onnx, small_data, tmp_path):
    config = DeployConfig("cpu", str(small_data), precision="fp32", weights=tmp_path / "w.pt")
    with pytest.raises(UsageError, match="expected no --weights for an ONNX file, which has its own, found "):
        deploy(str(small_onnx), tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def test_a_recipe_names_data_and_labels(digits, tmp_path):
    for name in ("data.npz", "labels.npy"):
        (tmp_path / name).write_bytes((digits / name).read_bytes())
    (tmp_path / "my.toml").write_text(
        '[quantize]\nprecision = "int8"\ndata = "data.npz"\nsamples = 100\n[validate]\ndata = "data.npz"\n'
        'labels = "labels.npy"\nbudget = "top1_drop<=0.02"\n'
        f'[postprocess]\nkind = "classify"\noutput = "logits"\nlabels = {json.dumps([*"0123456789"])}'
    )
    report = deploy(str(digits / "good.onnx"), tmp_path / "out", DeployConfig("rtx", recipe=str(tmp_path / "my.toml")))
    assert (report.exit_code, report.judged_on) == (0, "300 samples of data.npz (INT8 was calibrated on them too)")
    assert report.accuracy.top1 is not None
    first = run(tmp_path / "out" / "bundle", RunConfig(source=str(digits / "data.npz"))).frames[0].answer[0]
    assert first.split(" ")[0] == str(np.load(digits / "labels.npy")[0])


@pytest.mark.slow  # exports an LSTM
def test_an_engine_that_computes_mostly_otherwise_warns(tmp_path, small_onnx, small_data):
    """FP16 leaves an LSTM with lengths in FP32, since the importer refuses it otherwise: that is said, not hidden."""
    export("lstm_classifier", tmp_path / "lstm.onnx", ExportConfig(set=("hidden_size=16",), save_examples=True))
    data = str(tmp_path / "lstm.onnx.examples.npz")
    warnings = deploy(
        str(tmp_path / "lstm.onnx"), tmp_path / "out", DeployConfig("rtx", data, precision="fp16")
    ).warnings
    (told,) = (line for line in warnings if "multiply-adds" in line)
    assert re.fullmatch(r"only 0\.\d% of the engine's multiply-adds are in fp16: 99\.\d% in fp32, 0\.\d% in fp16", told)
    config = DeployConfig("rtx", data=str(small_data), precision="fp16")
    assert not any("multiply-adds" in line for line in deploy(str(small_onnx), tmp_path / "other", config).warnings)
