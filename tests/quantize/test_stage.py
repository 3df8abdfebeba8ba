"""The stage as a whole: what it writes beside the model, what a scale table is good for, every precision, Ctrl-C."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.configs import QuantizeConfig  # noqa: E402
from edgekit.errors import DataError, ModelError, QuantizeError  # noqa: E402
from edgekit.judge import Judge, outputs_of, plain_session  # noqa: E402
from edgekit.quantize import picture_file, quantize, scales_file  # noqa: E402
from edgekit.quantize.calibration_cache import read_calibration_cache  # noqa: E402
from edgekit.reports import report_file  # noqa: E402
from edgekit.rewrite.emulated import emulated  # noqa: E402
from tests.quantize import hostile  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(shared) -> Path:
    """The folder of tests/quantize/hostile.py."""
    return shared("hostile", hostile.make)


def int8(made: Path, **options) -> QuantizeConfig:
    return QuantizeConfig(**{"precision": "int8", "data": str(made / "x.npz"), "method": "max"} | options)


def digits(made: Path) -> np.ndarray:
    with np.load(made / "x.npz") as archive:
        return archive["image"]


def db(wanted: np.ndarray, found: np.ndarray) -> float:
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def db_of(model: Path, reference: Path, image: np.ndarray) -> float:
    """In processes of their own, as models are judged."""
    wanted, found = (next(outputs_of(path, [{"image": image}]))["logits"] for path in (reference, model))
    return db(wanted, found)


def same(first: Path, second: Path) -> bool:
    return first.read_bytes() == second.read_bytes()


# --- what is written


KEYS = {
    "stage", "path", "seconds", "peak_rss_mib", "warnings", "precision", "source", "bytes_before", "bytes_after",
    "weights", "kept_ops", "quantized_layers", "left", "calibrated_on", "calibration_sha256",
    "calibration_samples", "method", "verdict", "exit_code",
    "held_back_samples", "held_back", "tried", "kept_layers", "ranking",
}  # fmt: skip


def test_the_report_says_what_was_tried_and_what_each_layer_costs(made, tmp_path):
    out = tmp_path / "q.onnx"
    report = quantize(made / "hostile.onnx", out, int8(made, method="auto", keep_layers="1"))
    found = json.loads(report_file(out).read_text())
    assert found.keys() == KEYS
    assert (found["bytes_before"], found["bytes_after"]) == ((made / "hostile.onnx").stat().st_size, out.stat().st_size)
    assert found["weights"]["int8"] > 0
    assert found["tried"][0]["what"] == "the largest value everywhere"
    assert [tried["what"] for tried in found["tried"]].count("bias correction") >= 1
    assert found["held_back"]["sqnr_db"] == pytest.approx(report.held_back.sqnr_db)
    assert "by_batch" not in found["held_back"] or found["held_back"]["by_batch"] == [], "64 numbers say nothing"
    powers = [item["power"] for item in found["ranking"]]
    assert powers == sorted(powers, reverse=True)
    assert {item["layer"] for item in found["ranking"]} == set(hostile.LAYERS)
    assert found["kept_layers"] == [found["ranking"][0]["layer"]]


def test_the_ranking_is_what_each_layer_alone_does(made, tmp_path):
    """Kept three of four, in turns: what the file does on the digits is the power that the ranking has for the one."""
    report = quantize(made / "plain.onnx", tmp_path / "q.onnx", int8(made, keep_layers="3"))
    last = report.ranking[-1]
    assert set(report.kept_layers) == {noise.layer for noise in report.ranking[:-1]}
    found = db_of(report.path, made / "plain.onnx", digits(made))
    assert -10 * math.log10(last.power) == pytest.approx(found, abs=1.5)  # 16 samples there, 797 here


def test_the_picture_is_xml_with_a_bar_a_layer(made, tmp_path):
    out = tmp_path / "q.onnx"
    report = quantize(made / "hostile.onnx", out, int8(made, min_sqnr_db=30.0))
    root = ElementTree.fromstring(picture_file(out).read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [element.text or "" for element in root.iter()]
    for layer in hostile.LAYERS:
        assert layer in words
    assert sum(word.endswith("% kept") for word in words) == len(report.kept_layers) == 1
    assert any(word == "target 30.0 dB" for word in words)
    measured = f"measured with 1 layer kept: {report.held_back.sqnr_db:.1f} dB"
    assert measured in words


def test_no_picture_of_an_earlier_model_stays(made, tmp_path):
    out = tmp_path / "q.onnx"
    quantize(made / "hostile.onnx", out, int8(made, keep_layers="1"))
    assert picture_file(out).exists()
    quantize(made / "plain.onnx", out, int8(made))
    assert not picture_file(out).exists()
    quantize(made / "plain.onnx", out, int8(made, keep_layers="1"))
    quantize(made / "plain.onnx", out, QuantizeConfig("fp16"))
    assert not picture_file(out).exists()


def test_the_table_says_of_what_it_is_and_what_was_seen(made, tmp_path):
    source = made / "hostile.onnx"
    quantize(source, tmp_path / "q.onnx", int8(made, samples=797))
    text = scales_file(tmp_path / "q.onnx").read_text()
    table = json.loads(text)
    assert text == json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert table["model_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (table["samples"], table["complete"], table["data"]) == (797, True, "797 samples of x.npz")
    assert table["choice"]["ranges"] == "max"
    seen = largest_of(source, digits(made))
    assert table["ranges"].keys() == {"image", "hidden0", "hidden1", "hidden2"}
    for name, value in table["ranges"].items():
        assert value == pytest.approx(seen[name], rel=1e-6), name
        assert table["tensors"][name]["largest"] == value


def largest_of(source: Path, image: np.ndarray) -> dict[str, float]:
    """The largest |x| of every float tensor of the model that is no weight, by a run with all of them as outputs."""
    model = onnx.load(source)
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    found = plain_session(model.SerializeToString()).run(names, {"image": image})
    return {"image": float(np.abs(image).max())} | {
        name: float(np.abs(array).max()) for name, array in zip(names, found, strict=True)
    }


@pytest.mark.parametrize("precision", ["int8", "int8+fp16"])
def test_the_calibration_cache_has_every_float_tensor(made, tmp_path, precision):
    cache = tmp_path / "calibration.cache"
    asked = int8(made, precision=precision, samples=797, calibration_cache=cache)
    quantize(made / "plain.onnx", tmp_path / "q.onnx", asked)
    scales = read_calibration_cache(cache.read_text(encoding="utf-8"))
    seen = largest_of(made / "plain.onnx", digits(made))
    assert (
        scales.keys() == seen.keys() == {"image", "logits", *(f"{k}{i}" for k in ("sum", "hidden") for i in range(3))}
    )
    for name, scale in scales.items():
        assert 127 * scale == pytest.approx(seen[name], rel=1e-6), name


def test_the_cache_of_a_clipping_method_clips(made, tmp_path):
    """What the layers read: of 512 digits times 24 values only the largest one lies beyond 99.99 %."""
    caches = {}
    for method in ("max", "percentile"):
        asked = int8(made, method=method, calibration_cache=tmp_path / method)
        quantize(made / "plain.onnx", tmp_path / "q.onnx", asked)
        caches[method] = read_calibration_cache((tmp_path / method).read_text(encoding="utf-8"))
    assert caches["max"].keys() == caches["percentile"].keys()
    assert all(caches["percentile"][name] <= scale for name, scale in caches["max"].items())
    assert caches["percentile"]["hidden1"] < 0.999 * caches["max"]["hidden1"]


def test_two_runs_give_the_same_bytes(made, tmp_path):
    for name in "ab":
        quantize(made / "hostile.onnx", tmp_path / name, int8(made, method="auto", min_sqnr_db=38.0, samples=64))
    for file in (lambda out: out, scales_file, picture_file):
        assert same(file(tmp_path / "a"), file(tmp_path / "b"))


def test_progress_is_told_of_every_step(made, tmp_path):
    calls: list[tuple[str, int, int]] = []
    quantize(
        made / "hostile.onnx",
        tmp_path / "q.onnx",
        int8(made, method="auto", keep_layers="1", samples=100),
        lambda what, done, total: calls.append((what, done, total)),
    )
    seen = [(done, total) for what, done, total in calls if what == "calibrating"]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (100, 100)
    words = list(dict.fromkeys(what for what, _, _ in calls))
    assert words[0] == "reading hostile.onnx"
    assert "measuring what each layer costs" in words
    assert any(word.startswith("trying SmoothQuant") for word in words)
    assert words[-1] == "writing q.onnx"
    assert all(done <= total for _, done, total in calls if total)


# --- what a scale table is good for


@pytest.fixture(scope="module")
def tables(made, tmp_path_factory) -> Path:
    """`auto.onnx` of the hostile network with its table."""
    folder = tmp_path_factory.mktemp("tables")
    quantize(made / "hostile.onnx", folder / "auto.onnx", int8(made, method="auto"))
    return folder


@pytest.mark.parametrize("method", ["max", "mse", "percentile"])
def test_a_table_gives_another_method_without_another_run(made, tables, tmp_path, method):
    """As though that method had seen the data itself."""
    table = scales_file(tables / "auto.onnx")
    found = quantize(made / "hostile.onnx", tmp_path / "a", int8(made, data=None, scales=table, method=method))
    assert found.calibrated_on == "512 of 797 samples of x.npz"
    alone = quantize(made / "hostile.onnx", tmp_path / "b", int8(made, method=method))
    assert same(found.path, alone.path)
    assert not same(found.path, tables / "auto.onnx")


def test_a_table_gives_its_own_model_again(made, tables, tmp_path):
    table = scales_file(tables / "auto.onnx")
    found = quantize(made / "hostile.onnx", tmp_path / "a", int8(made, data=None, scales=table, method="auto"))
    if json.loads(table.read_text())["choice"]["weights"] == "gptq":
        assert any("GPTQ needs the data" in line for line in found.warnings)
    else:
        assert same(found.path, tables / "auto.onnx")
        assert same(scales_file(found.path), table)


def test_a_table_of_kept_layers_keeps_them(made, tmp_path):
    kept = quantize(made / "hostile.onnx", tmp_path / "a", int8(made, keep_layers="2"))
    table = scales_file(kept.path)
    again = quantize(made / "hostile.onnx", tmp_path / "b", int8(made, data=None, scales=table))
    assert same(again.path, kept.path)
    assert again.kept_layers == kept.kept_layers


REFUSED = {
    "another model": ("worst.onnx", {}, "expected the scale table .* to be of this model"),
    "layers to rank": ("hostile.onnx", {"keep_layers": "1"}, "expected samples held back"),
    "tensors it has not": ("hostile.onnx", {"precision": "int8+fp16"}, "to say"),
    "a cache it has not": ("hostile.onnx", {"calibration_cache": Path("c")}, "to say"),
    "samples to try on": (
        "hostile.onnx",
        {"data": True, "method": "auto"},
        "expected samples held back from the scale",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_table_is_not_good_for(made, tables, tmp_path, name):
    model, options, says = REFUSED[name]
    given = options | {"data": str(made / "x.npz") if "data" in options else None}
    asked = int8(made, scales=scales_file(tables / "auto.onnx"), **given)
    with pytest.raises((DataError, QuantizeError), match=says):
        quantize(made / model, tmp_path / "q.onnx", asked)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_other_data_is_refused(made, tables, tmp_path):
    np.savez(tmp_path / "other.npz", image=digits(made)[::-1])
    asked = int8(made, data=str(tmp_path / "other.npz"), scales=scales_file(tables / "auto.onnx"))
    with pytest.raises(DataError, match="found other data"):
        quantize(made / "hostile.onnx", tmp_path / "q.onnx", asked)


class Stop:
    """Ctrl-C at the first step whose words begin so."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __call__(self, what: str, done: int, total: int) -> None:
        if what.startswith(self.words) and (done or what != "calibrating"):
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("method", "step"),
    [("auto", "calibrating"), ("auto", "trying weights by GPTQ")]
    + [("mse", step) for step in ("calibrating", "measuring what each", "rewriting", "writing")]
    + [("max", "calibrating"), ("max", "writing")],
)
def test_an_interrupt_leaves_a_table_that_the_same_command_goes_on_from(made, tmp_path, method, step):
    asked = int8(made, method=method, keep_layers="1", samples=64)
    out = tmp_path / "q.onnx"
    with pytest.raises(KeyboardInterrupt):
        quantize(made / "hostile.onnx", out, asked, Stop(step))
    assert [file.name for file in tmp_path.iterdir()] == ["q.onnx.scales.json"]
    going_on = int8(made, method=method, keep_layers="1", samples=64, scales=scales_file(out))
    quantize(made / "hostile.onnx", out, going_on)
    whole = quantize(made / "hostile.onnx", tmp_path / "whole", asked)
    assert same(out, whole.path)
    assert same(scales_file(out), scales_file(whole.path))


def test_an_interrupt_of_int4_leaves_the_table_too(made, tmp_path):
    out, asked = tmp_path / "q.onnx", QuantizeConfig("int4", data=str(made / "x.npz"))
    with pytest.raises(KeyboardInterrupt):
        quantize(made / "plain.onnx", out, asked, Stop("measuring second moments"))
    assert [file.name for file in tmp_path.iterdir()] == ["q.onnx.scales.json"]
    quantize(made / "plain.onnx", out, replace(asked, scales=scales_file(out)))
    assert same(out, quantize(made / "plain.onnx", tmp_path / "whole", asked).path)


def test_an_interrupt_while_the_file_is_judged_leaves_the_table(made, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Judge, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        quantize(made / "hostile.onnx", tmp_path / "q.onnx", int8(made, method="mse"))
    assert [file.name for file in tmp_path.iterdir()] == ["q.onnx.scales.json"]


def test_half_a_table_goes_on_with_another_method(made, tmp_path):
    """What it had seen whole is seen whole to the end: no histogram of half of the data passes for all of it."""
    out = tmp_path / "q.onnx"
    with pytest.raises(KeyboardInterrupt):
        quantize(made / "hostile.onnx", out, int8(made, method="mse", samples=64), Stop("calibrating"))
    quantize(made / "hostile.onnx", out, int8(made, samples=64, scales=scales_file(out)))
    of_half = int8(made, data=None, method="percentile", scales=scales_file(out))
    alone = quantize(made / "hostile.onnx", tmp_path / "alone", int8(made, method="percentile", samples=64))
    found = quantize(made / "hostile.onnx", tmp_path / "found", of_half)
    assert same(found.path, alone.path)


# --- every precision


# The options, and the SQNR in dB that the precision is worth: 11, 8, 4 bits of precision, or 8 bits of range.
PRECISIONS = {
    "fp16": ({}, 50),
    "fp16 with data": ({"data": True}, 50),
    "bf16": ({}, 35),
    "int8": ({"data": True}, 30),
    "int8+fp16": ({"data": True}, 30),
    "fp8": ({"data": True}, 20),
    "int4": ({}, 12),
    "int4 with data": ({"data": True}, 12),
}


@pytest.fixture(scope="module")
def precise(made, tmp_path_factory):
    """`precise(name)`: the report on the plain network at that precision, made once."""
    folder, reports = tmp_path_factory.mktemp("precise"), {}

    def of(name: str):
        if name not in reports:
            data = str(made / "x.npz") if PRECISIONS[name][0] else None
            method = "max" if name.startswith("int8") else "auto"
            asked = QuantizeConfig(name.partition(" ")[0], data=data, method=method)
            reports[name] = quantize(made / "plain.onnx", folder / f"{name.replace(' ', '_')}.onnx", asked)
        return reports[name]

    return of


@pytest.mark.parametrize("name", PRECISIONS)
def test_every_precision_is_valid_runs_and_is_near(made, tmp_path, precise, name):
    report = precise(name)
    model = onnx.load(report.path)
    onnx.checker.check_model(model, full_check=True)
    assert [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)] == [1, 1]
    assert report.bytes_after < 0.8 * report.bytes_before
    path = report.path
    if name == "bf16":
        with pytest.raises(ModelError):
            db_of(path, made / "plain.onnx", digits(made))
        assert any("not judged here" in line for line in report.warnings)
        onnx.save(emulated(model), path := tmp_path / "emulated.onnx")
    found = db_of(path, made / "plain.onnx", digits(made))
    assert PRECISIONS[name][1] < found < 120


def test_gptq_is_worth_its_data(made, precise):
    """On all digits, half of which it did not see."""
    with_data, without = (db_of(precise(name).path, made / "plain.onnx", digits(made))
                          for name in ("int4 with data", "int4"))  # fmt: skip
    assert with_data > without + 1
    assert precise("int4").warnings == ("INT4 weights were rounded each by itself; with --data GPTQ loses less",)


@pytest.mark.slow  # an engine each
@pytest.mark.parametrize("name", PRECISIONS)
def test_tensorrt_rtx_builds_every_precision(tmp_path, precise, name):
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    capability = "8.9" if name == "fp8" else "8.6"
    assert build(precise(name).path, tmp_path / "m.engine", BuildConfig("rtx", (capability,))).bytes > 1000


@pytest.mark.parametrize("precision", ["fp16", "int4", "int8+fp16"])
def test_what_fp16_cannot_hold_stays_in_fp32_with_data(made, tmp_path, precision):
    """A hidden value of a million: the oracle is the same model with each tensor rounded to its dtype."""
    asked = QuantizeConfig(precision, data=str(made / "x.npz"), method="max" if precision == "int8+fp16" else "auto")
    report = quantize(made / "large.onnx", tmp_path / "q.onnx", asked)
    assert any("Gemm 'layer1' stays in FP32: 'sum1' reaches " in line for line in report.warnings)
    onnx.save(emulated(onnx.load(report.path)), tmp_path / "emulated.onnx")
    with np.errstate(all="raise"):
        found = next(outputs_of(tmp_path / "emulated.onnx", [{"image": digits(made)}]))["logits"]
    assert np.isfinite(found).all()
    if precision == "fp16":
        assert db_of(tmp_path / "emulated.onnx", made / "large.onnx", digits(made)) > 50
        blind = quantize(made / "large.onnx", tmp_path / "blind.onnx", QuantizeConfig("fp16"))
        onnx.save(emulated(onnx.load(blind.path)), tmp_path / "broken.onnx")
        broken = next(outputs_of(tmp_path / "broken.onnx", [{"image": digits(made)}]))["logits"]
        assert not np.isfinite(broken).all()


# --- what it costs


MEASURED = """
import sys
from pathlib import Path
from edgekit.configs import QuantizeConfig
from edgekit.quantize import quantize
source, out, data, samples = sys.argv[1:]
report = quantize(Path(source), Path(out), QuantizeConfig("int8", data=data, method="mse", samples=int(samples)))
print(report.peak_rss_mib)
"""


@pytest.mark.slow  # a network of some size in two processes
def test_four_times_the_samples_take_no_more_memory(tmp_path):
    """Convolutions over 96x96 pictures: a batch of activations is 40 MB, of 256 pictures they would be 2.6 GB."""
    helper, random = onnx.helper, np.random.default_rng(0)
    nodes, weights, tensor, channels = [], [], "image", 3
    for index in range(8):
        name = f"w{index}"
        values = random.normal(size=(32, channels, 3, 3)) / math.sqrt(9 * channels)
        weights.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
        nodes.append(helper.make_node("Conv", [tensor, name], [f"c{index}"], f"conv{index}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        tensor, channels = f"r{index}", 32
    image = helper.make_tensor_value_info("image", 1, ["batch", 3, 96, 96])
    nodes.append(helper.make_node("GlobalAveragePool", [tensor], ["y"]))
    graph = helper.make_graph(
        nodes, "g", [image], [helper.make_tensor_value_info("y", 1, ["batch", 32, 1, 1])], weights
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", image=random.normal(size=(256, 3, 96, 96)).astype(np.float32))

    def peak(samples: int) -> float:
        words = [str(tmp_path / "m.onnx"), str(tmp_path / "q.onnx"), str(tmp_path / "x.npz"), str(samples)]
        done = subprocess.run([sys.executable, "-c", MEASURED, *words], check=True, stdout=subprocess.PIPE, cwd=ROOT)
        return float(done.stdout)

    assert peak(256) < 1.15 * peak(64)
