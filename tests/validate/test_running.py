"""FP16 and BF16 are judged by what a GPU would round: oracles are NumPy's half precision and torch's BF16."""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.configs import DeployConfig, QuantizeConfig, ValidateConfig  # noqa: E402
from edgekit.deploy import deploy  # noqa: E402
from edgekit.errors import ModelError, TargetError  # noqa: E402
from edgekit.judge import outputs_of  # noqa: E402
from edgekit.metrics import Sqnr  # noqa: E402
from edgekit.quantize import quantize  # noqa: E402
from edgekit.runtime.ort import OrtBackend  # noqa: E402
from edgekit.validate import validate  # noqa: E402
from edgekit.validate.running import check_timeable, running  # noqa: E402
from edgekit.validate.subject import open_subject  # noqa: E402

helper = onnx.helper
node = helper.make_node
FLOAT, HALF, BF16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16


def saved(path, nodes, weights, size=4, dtype=FLOAT, domain=""):
    """x [batch,size] -> y [batch,any], both of `dtype`."""
    x, y = (helper.make_tensor_value_info(name, dtype, ["batch", axis]) for name, axis in (("x", size), ("y", "any")))
    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    opsets = [helper.make_opsetid("", 21), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def judged(model, reference, budget="sqnr_db>=30", **more):
    data = model.with_name("data.npz")
    if not data.exists():
        x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
        x[7, 2] = 1e4
        np.savez(data, x=x)
    return validate(model, model.with_name("report.json"), ValidateConfig(reference, str(data), budget, **more))


def narrowed(dtype):
    """x times 1e4, times 1e-4, in `dtype`: of 1e4 it makes 1e8 on the way."""
    return [
        node("Cast", ["x"], ["narrow"], "narrow", to=dtype),
        node("Cast", ["up"], ["up_narrow"], "up_narrow", to=dtype),
        node("Cast", ["down"], ["down_narrow"], "down_narrow", to=dtype),
        node("Mul", ["narrow", "up_narrow"], ["a"], "first"),
        node("Mul", ["a", "down_narrow"], ["b"], "second"),
        node("Cast", ["b"], ["y"], "wide", to=FLOAT),
    ]


FACTORS = {"up": np.float32(1e4), "down": np.float32(1e-4)}


@pytest.fixture
def chain(tmp_path):
    """A folder of the chain in `fp32.onnx`, `fp16.onnx` and `bf16.onnx`."""
    wide = [node("Mul", ["x", "up"], ["a"]), node("Mul", ["a", "down"], ["y"])]
    saved(tmp_path / "fp32.onnx", wide, FACTORS)
    for name, dtype in (("fp16", HALF), ("bf16", BF16)):
        saved(tmp_path / f"{name}.onnx", narrowed(dtype), FACTORS)
    return tmp_path


def test_an_overflow_between_two_nodes_fails(chain):
    """onnxruntime itself goes on in FP32 there, and sees none; BF16 has FP32's range."""
    report = judged(chain / "fp16.onnx", chain / "fp32.onnx")
    assert (report.exit_code, report.verdict) == (3, "FAIL (ort, cpu, fp16 emulated)")
    assert (report.backend, report.emulated) == ("ort, cpu, fp16 emulated", ("fp16",))
    assert report.accuracy.sqnr_db == {"y": -np.inf}
    assert json.loads((chain / "report.json").read_text())["emulated"] == ["fp16"]
    x = np.float32([[1e4, 1, 2, 3]])
    assert np.isfinite(next(outputs_of(chain / "fp16.onnx", [{"x": x}]))["y"]).all()
    report = judged(chain / "bf16.onnx", chain / "fp32.onnx")
    assert (report.exit_code, report.verdict) == (0, "PASS (ort, cpu, bf16 emulated)")
    assert 40 < report.accuracy.sqnr_db["y"] < 60


def test_fp32_is_no_emulation(chain):
    report = judged(chain / "fp32.onnx", chain / "fp32.onnx")
    assert (report.verdict, report.backend, report.emulated) == ("PASS (ort, cpu)", "ort, cpu", ())


def test_both_are_named(tmp_path):
    nodes = [
        node("Cast", ["x"], ["half"], to=HALF),
        node("Cast", ["half"], ["brain"], to=BF16),
        node("Cast", ["brain"], ["y"], to=FLOAT),
    ]
    model = saved(tmp_path / "m.onnx", nodes, {})
    report = judged(model, saved(tmp_path / "fp32.onnx", [node("Identity", ["x"], ["y"])], {}))
    assert report.verdict == "PASS (ort, cpu, fp16 and bf16 emulated)"


@pytest.mark.parametrize(
    ("stage", "says"), [("edgekit.validate.running.emulated", "no luck"), ("edgekit.judge.Judge.load", "refused it")]
)
def test_without_an_emulation_the_model_itself_is_judged(chain, monkeypatch, stage, says):
    """Here it hides the overflow, as the warning says; nothing is left of what was tried."""
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 1:
            raise ModelError(says)

    monkeypatch.setattr(tempfile, "tempdir", str(chain))
    with monkeypatch.context() as patched:
        patched.setattr(stage, fail)
        with running(open_subject(chain / "fp16.onnx", ValidateConfig()), "ort") as ran:
            assert (ran.backend, ran.emulated) == ("ort, cpu, fp16 not emulated", ())
    (warning,) = ran.warnings
    assert warning.startswith("fp16 was not emulated but run by onnxruntime")
    assert warning.endswith(f"({says})")
    monkeypatch.setattr("edgekit.validate.running.emulated", fail)
    calls.clear()
    report = judged(chain / "fp16.onnx", chain / "fp32.onnx")
    assert (report.exit_code, report.verdict) == (0, "PASS (ort, cpu, fp16 not emulated)")
    assert any(line.startswith("fp16 was not emulated") for line in report.warnings)
    assert not list(chain.glob("edgekit-*"))


def test_an_operator_that_onnx_does_not_know_is_not_emulated(tmp_path):
    """What it makes may be narrow: nobody knows, so nobody can round it."""
    half = [
        node("Gelu", ["x"], ["a"], "gelu", domain="com.microsoft"),
        node("Cast", ["a"], ["b"], "narrow", to=HALF),
        node("Cast", ["b"], ["y"], "wide", to=FLOAT),
    ]
    model = saved(tmp_path / "m.onnx", half, {}, domain="com.microsoft")
    wide = saved(
        tmp_path / "fp32.onnx", [node("Gelu", ["x"], ["y"], domain="com.microsoft")], {}, domain="com.microsoft"
    )
    report = judged(model, wide)
    assert report.verdict == "PASS (ort, cpu, fp16 not emulated)"
    assert any("dtype of 'a'" in line and "node Gelu" in line for line in report.warnings)


def test_bf16_without_an_emulation_cannot_be_judged(chain, monkeypatch):
    def fail(*_):
        raise ModelError("no luck")

    monkeypatch.setattr("edgekit.validate.running.emulated", fail)
    with pytest.raises(
        ModelError, match=r"onnxruntime refuses .*bf16\.onnx.*; and its bf16 cannot be emulated: no luck$"
    ):
        judged(chain / "bf16.onnx", chain / "fp32.onnx")


def test_a_batch_that_does_not_fit_names_the_model(chain):
    subject = open_subject(chain / "fp16.onnx", ValidateConfig())
    says = r"onnxruntime refuses the FP32 twin of .*fp16\.onnx: .*"
    with running(subject, "auto") as ran, pytest.raises(ModelError, match=says) as caught:
        ran.runner.run({"x": np.zeros((2, 5), np.float32)})
    assert "\n" not in str(caught.value)


def test_nothing_is_left_on_disk_while_it_runs(chain, monkeypatch):
    (chain / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(chain / "tmp"))
    with running(open_subject(chain / "fp16.onnx", ValidateConfig()), "auto") as ran:
        assert list((chain / "tmp").iterdir()) == []
        assert np.isinf(ran.runner.run({"x": np.full((1, 4), 7, np.float32)})["y"]).all()


def test_inputs_and_outputs_in_half_precision(tmp_path):
    model = saved(tmp_path / "m.onnx", [node("Mul", ["x", "f"], ["y"])], {"f": np.float16(1.1)}, dtype=HALF)
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float16)
    np.savez(tmp_path / "data.npz", x=x)
    with running(open_subject(model, ValidateConfig()), "auto") as ran:
        found = ran.runner.run({"x": x})["y"]
    np.testing.assert_array_equal(found, x * np.float16(1.1))
    assert judged(model, model, "sqnr_db>=60").verdict == "PASS (ort, cpu, fp16 emulated)"


def test_the_latency_of_fp16_is_that_of_the_file(chain, monkeypatch):
    timed = []
    real = OrtBackend.__init__
    monkeypatch.setattr(
        OrtBackend, "__init__", lambda self, model, *rest: (timed.append(model), real(self, model, *rest))[1]
    )
    report = judged(chain / "fp16.onnx", chain / "fp32.onnx", "p50_ms<=60000", requests=200)
    # On a busy machine 200 requests of microseconds may be worth too few for a verdict.
    assert report.verdict in ("PASS (ort, cpu, fp16 emulated)", "INCONCLUSIVE (ort, cpu, fp16 emulated)")
    assert report.latency.summary.n == 200
    assert timed == [(chain / "fp16.onnx").read_bytes()]


@pytest.mark.parametrize(
    ("budget", "more"), [("p50_ms<=9", {}), ("sqnr_db>=30", {"fps": 30.0}), ("sqnr_db>=30", {"requests": 20})]
)
def test_the_latency_of_bf16_is_refused(chain, monkeypatch, budget, more):
    monkeypatch.setattr("edgekit.validate.compare", lambda *_: pytest.fail("the accuracy was judged first"))
    with pytest.raises(
        TargetError, match=r"found BF16 in .*bf16\.onnx, which onnxruntime's CPU cannot run; next: "
    ) as e:
        judged(chain / "bf16.onnx", chain / "fp32.onnx", budget, **more)
    assert e.value.exit_code == 6
    assert not (chain / "report.json").exists()


@pytest.mark.parametrize("name", ["fp16", "fp32"])
def test_only_bf16_is_tried_before_it_is_timed(chain, monkeypatch, name):
    monkeypatch.setattr("edgekit.validate.running.Judge", lambda *_: pytest.fail("the model was loaded"))
    check_timeable(open_subject(chain / f"{name}.onnx", ValidateConfig()), "auto")


def test_bf16_that_is_only_stored_is_timed(tmp_path):
    model = saved(tmp_path / "m.onnx", [node("Cast", ["x"], ["a"], to=BF16), node("Cast", ["a"], ["y"], to=FLOAT)], {})
    wide = saved(tmp_path / "fp32.onnx", [node("Identity", ["x"], ["y"])], {})
    report = judged(model, wide, "sqnr_db>=30,p50_ms<=60000", requests=200)
    # On a busy machine 200 requests of microseconds may be worth too few for a verdict.
    assert report.verdict in ("PASS (ort, cpu, bf16 emulated)", "INCONCLUSIVE (ort, cpu, bf16 emulated)")
    assert (report.latency.summary.n, report.findings[0].outcome) == (200, "PASS")


def sqnr_db(wanted, found):
    meter = Sqnr()
    meter.add(wanted, found)
    return meter.db()


def test_bf16_deploys_with_a_verdict(small_onnx, small_data, tmp_path):
    """As far from FP32 as the same network in torch's own BF16."""
    torch = pytest.importorskip("torch")
    report = deploy(str(small_onnx), tmp_path, DeployConfig("cpu", str(small_data), precision="bf16"))
    assert (report.exit_code, report.verdict) == (0, "PASS (ort, cpu, bf16 emulated)")
    weights = {
        item.name: torch.tensor(onnx.numpy_helper.to_array(item)) for item in onnx.load(small_onnx).graph.initializer
    }
    with np.load(small_data) as archive:
        image = torch.from_numpy(archive["image"])

    def logits(dtype):
        kernel, bias, dense = (weights[name].to(dtype) for name in ("kernel", "bias", "dense"))
        pooled = torch.nn.functional.conv2d(image.to(dtype), kernel, bias, padding=1).relu().mean((2, 3))
        return (pooled @ dense).float().numpy()

    wanted = sqnr_db(logits(torch.float32), logits(torch.bfloat16))
    assert report.accuracy.sqnr_db["logits"] == pytest.approx(wanted, abs=3)


def in_half(model, feeds):
    """The outputs by name, each node exact and then rounded to what it makes: the operators of a small INT8 model."""
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer} | feeds
    for item in model.graph.node:
        a, *rest = (values[name].astype(np.float64) for name in item.input)
        attributes = {attribute.name: attribute.i for attribute in item.attribute}
        if item.op_type == "QuantizeLinear":
            made = np.clip(np.rint(a / rest[0]) + rest[1], -128, 127).astype(np.int8)
        elif item.op_type == "DequantizeLinear":  # of activations, or of weights with a scale for each last index
            made = ((a - rest[1]) * rest[0]).astype(np.float16)
        elif item.op_type == "Gemm":
            made = (a @ rest[0] + rest[1]).astype(np.float16)
        elif item.op_type == "Add":
            made = (a + rest[0]).astype(np.float16)
        else:
            assert item.op_type == "Cast"
            made = a.astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))
        values[item.output[0]] = made
    return {output.name: values[output.name] for output in model.graph.output}


def test_int8_with_half_scales_is_numpys_half(digits, tmp_path):
    """onnxruntime's own FP16 differs in every number, the emulation in none, but for sums that end on a tie."""
    config = QuantizeConfig(precision="int8+fp16", data=str(digits / "data.npz"), method="max")
    made = quantize(digits / "good.onnx", tmp_path / "int8.onnx", config)
    with np.load(digits / "data.npz") as archive:
        feeds = {"image": archive["image"]}
    wanted = in_half(onnx.load(made.path), feeds)["logits"]
    with running(open_subject(made.path, ValidateConfig()), "auto") as ran:
        assert ran.emulated == ("fp16",)
        found = ran.runner.run(feeds)["logits"]
    assert (found != wanted).mean() < 0.01
    assert sqnr_db(wanted, found) > 90
    assert sqnr_db(wanted, next(outputs_of(made.path, [feeds]))["logits"]) < 75
