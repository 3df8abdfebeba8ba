"""Where a verdict could be wrong in silence: class names, equal drops, weights elsewhere, overload, odd models."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

onnx = pytest.importorskip("onnx")

from edgekit.budget import parse_budget  # noqa: E402
from edgekit.configs import DeployConfig, ValidateConfig  # noqa: E402
from edgekit.deploy import deploy  # noqa: E402
from edgekit.errors import DataError, ModelError, UsageError  # noqa: E402
from edgekit.validate import validate  # noqa: E402
from edgekit.validate.accuracy import Comparison  # noqa: E402

helper = onnx.helper


def saved(nodes, inputs, outputs, path, **weights):
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_drop_of_exactly_the_budget_is_kept():
    """0.98 - 0.97 is 0.010000000000000009."""
    labels = np.arange(100) % 10
    scores = np.eye(10, dtype=np.float32)[labels]
    wanted, found = scores.copy(), scores.copy()
    wanted[:2], found[:3] = scores[5:7], scores[5:8]
    meters = Comparison(classifies=True)
    meters.add({"y": wanted}, {"y": found}, labels)
    (limit,) = parse_budget("top1_drop<=0.01")
    assert limit.holds(meters.result().of(limit))


@pytest.fixture
def pictures(tmp_path):
    """Pictures in folders of classes, a network that tells dark from light, and a recipe that names the two."""
    for name, values in (("night", range(8)), ("day", range(200, 208))):
        (tmp_path / "pics" / name).mkdir(parents=True)
        for value in values:
            Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / "pics" / name / f"{value}.png")
    (tmp_path / "r.toml").write_text(
        '[preprocess]\nkind = "image"\ninput = "image"\nresize = 8\ncrop = 8\nmean = [127.0, 127.0, 127.0]\n'
        'std = [127.0, 127.0, 127.0]\n[postprocess]\nkind = "classify"\noutput = "y"\nlabels = ["night", "day"]\n'
    )
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
             helper.make_node("MatMul", ["f", "w"], ["y"])]  # fmt: skip
    image = helper.make_tensor_value_info("image", 1, ["batch", 3, 8, 8])
    y = helper.make_tensor_value_info("y", 1, ["batch", 2])
    saved(nodes, [image], [y], tmp_path / "m.onnx", w=np.array([[-1, 1]] * 3, np.float32))
    return tmp_path


def test_the_recipes_labels_name_the_folders(pictures):
    config = DeployConfig("cpu", str(pictures / "pics"), precision="fp32", recipe=str(pictures / "r.toml"),
                          budget="top1>=1,sqnr_db>=60")  # fmt: skip
    report = deploy(str(pictures / "m.onnx"), pictures / "out", config)
    assert (report.exit_code, report.accuracy.top1.found) == (0, 1)
    (pictures / "l.csv").write_text(
        "sample,label\n"
        + "".join(f"{value}.png,{'night' if value < 9 else 'day'}\n" for value in [*range(8), *range(200, 208)])
    )
    asked = ValidateConfig(pictures / "m.onnx", str(pictures / "pics"), "top1>=1", str(pictures / "r.toml"),
                           labels=pictures / "l.csv")  # fmt: skip
    assert validate(pictures / "m.onnx", pictures / "v.json", asked).exit_code == 0


def test_weights_elsewhere_are_timed_too(digits, tmp_path, monkeypatch):
    """The latency is that of the file's own weights, not of a file of that name in the current folder."""
    model = onnx.load(digits / "good.onnx")
    (tmp_path / "ext").mkdir()
    onnx.save(model, tmp_path / "ext/m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    asked = ValidateConfig(tmp_path / "ext/m.onnx", str(digits / "data.npz"), "p50_ms<=60000", requests=20)
    report = validate(tmp_path / "ext/m.onnx", tmp_path / "v.json", asked)
    assert report.latency.summary.n == 20


def test_a_rate_that_cannot_be_kept_fails(digits, tmp_path, monkeypatch):
    import time

    from edgekit.runtime.ort import OrtBackend

    real = OrtBackend.enqueue
    monkeypatch.setattr(OrtBackend, "enqueue", lambda self: (time.sleep(0.004), real(self)))
    asked = ValidateConfig(digits / "good.onnx", str(digits / "data.npz"), "p50_ms<=60000", fps=1000, requests=100)
    report = validate(digits / "good.onnx", tmp_path / "v.json", asked)
    assert (report.exit_code, report.findings[0].high) == (4, math.inf)
    assert report.latency.utilisation > 2
    assert any("the queue grows without end" in line for line in report.warnings)
    assert json.loads((tmp_path / "v.json").read_text())["findings"][0]["high"] == "inf"


def test_a_rate_without_a_promise_is_measured(digits, tmp_path):
    asked = ValidateConfig(digits / "good.onnx", str(digits / "data.npz"), "sqnr_db>=9", fps=200, requests=20)
    report = validate(digits / "good.onnx", tmp_path / "v.json", asked)
    assert (report.exit_code, report.latency.summary.n) == (0, 20)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_input_of_a_fixed_batch_beside_an_open_one(tmp_path, order):
    inputs = [helper.make_tensor_value_info("x", 1, ["batch", 6]), helper.make_tensor_value_info("h", 1, [1, 6])]
    node = helper.make_node("Add", ["x", "h"], ["y"])
    y = helper.make_tensor_value_info("y", 1, ["batch", 6])
    model = saved([node], [inputs[index] for index in order], [y], tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.ones((5, 6), np.float32), h=np.arange(30, dtype=np.float32).reshape(5, 6))
    report = validate(model, tmp_path / "v.json", ValidateConfig(model, str(tmp_path / "d.npz")))
    assert (report.exit_code, report.samples) == (0, 5)


def test_a_refusal_says_what_onnxruntime_said(tmp_path):
    x, y = (helper.make_tensor_value_info(name, 1, ["batch", "c"]) for name in "xy")
    model = saved(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [y], tmp_path / "m.onnx", w=np.ones((4, 2), np.float32)
    )
    np.savez(tmp_path / "d.npz", x=np.ones((5, 6), np.float32))
    with pytest.raises(ModelError, match="MatMul"):
        validate(model, tmp_path / "v.json", ValidateConfig(model, str(tmp_path / "d.npz")))


def test_labels_for_more_samples_than_a_generator_has(digits, tmp_path):
    (tmp_path / "g.py").write_text(
        "import numpy as np\ndef few():\n    yield {'image': np.ones((50, 64), np.float32)}\n"
    )
    asked = ValidateConfig(digits / "good.onnx", f"{tmp_path}/g.py:few", labels=digits / "labels.npy")
    with pytest.raises(DataError, match="found 300 for 50 samples"):
        validate(digits / "good.onnx", tmp_path / "v.json", asked)


def test_what_was_used_is_what_is_told(digits, tmp_path):
    asked = ValidateConfig(digits / "good.onnx", str(digits / "data.npz"), samples=10)
    assert validate(digits / "good.onnx", tmp_path / "v.json", asked).data == "10 of 300 samples of data.npz"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"precision": "int8"}, "expected real inputs to calibrate int8 on"),
        ({"precision": "fp32", "calibrate_on": "DATA"}, "expected a precision that is calibrated for --calibrate-on"),
        ({"precision": "fp16", "budget": "top1>=0.5"}, "expected labels to judge top1 by"),
    ],
)
def test_what_is_wrong_is_found_before_the_export(digits, tmp_path, monkeypatch, config, says):
    monkeypatch.setattr("edgekit.deploy._source", lambda *_: pytest.fail("the export was started first"))
    shutil.copy(digits / "data.npz", tmp_path / "DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says):
        deploy("resnet18", tmp_path / "out", DeployConfig("cpu", **config))


@pytest.mark.parametrize("values", [{"fps": math.inf}, {"duration": math.inf}, {"fps": math.nan}, {"requests": 0}])
def test_a_setting_without_bounds_is_refused(values):
    with pytest.raises(UsageError, match=r"expected .* or more"):
        ValidateConfig(**values)
