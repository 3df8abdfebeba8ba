"""The robustness smoke: what is kept, what is perturbed, and what is said of models whose answers are known."""

from __future__ import annotations

import json
import math

import numpy as np
import onnxruntime
import pytest

from edgekit.configs import ValidateConfig
from edgekit.data import Samples, Watched
from edgekit.data.perturb import NONE, PERTURBATIONS, Picture, perturb
from edgekit.errors import UsageError
from edgekit.reports import no_progress
from edgekit.specs import ImagePreprocess, TensorSpec
from edgekit.validate import validate
from edgekit.validate.robustness import Robust, Robustness, picture_inputs

pytest.importorskip("onnx")

RANDOM = np.random.default_rng(0)


def smoke(model, reference, pictures, classifies=True, size=4, total=None, other=None) -> Robustness:
    """What `Robust` says of two functions of a picture batch [N,1,H,W]."""
    robust, watched = Robust({"image": 2}, len(pictures) if total is None else total), Watched()
    whole = Samples(np.arange(len(pictures)), {"image": pictures} | ({} if other is None else {"x": other}))
    for samples in watched.through(whole[at : at + size] for at in range(0, len(pictures), size)):
        robust.watch(samples)
    runs = [lambda batch, run=run: {"y": run(batch)} for run in (reference, model)]
    return robust.measure(*runs, watched, classifies, no_progress)


def brighter_than(threshold: float):
    """Scores of two classes: dark, bright."""
    return lambda batch: np.stack(
        [np.full(len(batch["image"]), threshold, np.float32), batch["image"].mean((1, 2, 3))], 1
    )


def test_a_model_that_is_its_reference_is_as_robust():
    pictures = RANDOM.random((40, 1, 8, 8), np.float32)
    found = smoke(brighter_than(0.5), brighter_than(0.5), pictures)
    assert [item.kind for item in found.perturbed] == ["none", *(how.kind for how in PERTURBATIONS)]
    for item in found.perturbed:
        assert (item.sqnr_db, item.agreement) == (math.inf, 1)
        assert item.reference_kept == item.found_kept
    assert (found.samples, found.inputs, list(found.warnings())) == (32, ("image",), [])
    kept = {(item.kind, item.strength): item.found_kept for item in found.perturbed}
    assert kept["none", 0.0] == 1
    assert kept["brightness", 0.1] < 0.8, "a mean of 64 random pixels is near 0.5, and 0.1 decides"


def test_a_model_that_is_more_fragile_is_told_and_warned_of():
    """All pictures are dark, 0.3 of 0..1; the model calls 0.35 bright, its reference 0.6."""
    pictures = np.full((32, 1, 8, 8), 0.3, np.float32)
    pictures[:, :, 0, 0], pictures[:, :, 0, 1] = 0, 1
    pictures[:, :, 0, 2] += 0.01 * RANDOM.random((32, 1))
    found = smoke(brighter_than(0.35), brighter_than(0.6), pictures)
    told = {(item.kind, item.strength): item for item in found.perturbed}
    brighter = told["brightness", 0.1]
    assert (brighter.agreement, brighter.reference_kept, brighter.found_kept) == (0, 1, 0)
    assert told["brightness", -0.1].found_kept == told["blur", 1.0].found_kept == 1
    (line,) = found.warnings()
    assert line == (
        "more fragile than its reference: brightness +10% changes 100% of its answers, and 0% of the reference's, "
        "on 32 samples"
    )
    header, *lines = found.lines()
    assert header == "robustness on 32 samples, image perturbed:"
    assert "brightness +10%: SQNR " in lines[-1]
    assert lines[-1].endswith("same class 0.0%; answers kept 0.0%, by the reference 100.0%")


def test_each_is_compared_with_its_own_clean_answers():
    """A model that is always wrong the same way is robust: it keeps all its answers, and agrees in none."""
    pictures = RANDOM.random((8, 1, 8, 8), np.float32)
    for item in smoke(brighter_than(-9), brighter_than(9), pictures).perturbed:
        assert (item.agreement, item.reference_kept, item.found_kept) == (0, 1, 1)


def test_a_network_without_classes_has_a_distance_only():
    pictures = RANDOM.random((8, 1, 8, 8), np.float32)
    found = smoke(lambda batch: batch["image"] * 1.1, lambda batch: batch["image"], pictures, classifies=False)
    for item in found.perturbed:
        assert item.sqnr_db == pytest.approx(20, abs=0.01)
        assert (item.agreement, item.reference_kept, item.found_kept) == (None, None, None)
    assert list(found.warnings()) == []
    assert list(found.lines())[1] == "  none: SQNR 20.0 dB"


def test_both_see_the_same_pixels_and_other_inputs_stay():
    pictures, other = RANDOM.random((8, 1, 8, 8), np.float32), RANDOM.random((8, 3), np.float32)
    seen = {"model": [], "reference": []}

    def watching(name):
        def run(batch):
            seen[name].append({key: array.copy() for key, array in batch.items()})
            return batch["image"].mean((2, 3))

        return run

    smoke(watching("model"), watching("reference"), pictures, classifies=False, other=other)
    assert len(seen["model"]) == 2 * (1 + len(PERTURBATIONS))
    for one, two in zip(seen["model"], seen["reference"], strict=True):
        np.testing.assert_array_equal(one["image"], two["image"])
    known = Picture(2, float(pictures.min()), float(pictures.max()))
    for at, how in enumerate((NONE, *PERTURBATIONS)):
        np.testing.assert_array_equal(seen["model"][at]["image"], perturb(pictures[:4], how, known, 0))
        np.testing.assert_array_equal(seen["model"][at]["x"], other[:4])


@pytest.mark.parametrize(
    ("count", "size", "total", "first"),
    [
        (400, 4, 400, [0, 48, 96, 144, 192, 240, 288, 336]),  # every 12th batch
        (400, 4, 0, [0, 4, 8, 12, 16, 20, 24, 28]),  # nobody knows how many will come
        (12, 4, 12, [0, 4, 8]),
        (200, 50, 200, [0]),
    ],
)
def test_few_samples_spread_over_all(count, size, total, first):
    pictures = np.arange(count, dtype=np.float32).reshape(count, 1, 1, 1)
    seen = []

    def run(batch):
        seen.append(int(batch["image"][0, 0, 0, 0]))
        return batch["image"]

    found = smoke(run, lambda batch: batch["image"], pictures, classifies=False, size=size, total=total)
    assert seen[:: 1 + len(PERTURBATIONS)] == first
    assert found.samples == len(first) * size


def test_large_pictures_are_fewer(monkeypatch):
    monkeypatch.setattr("edgekit.validate.robustness._MOST_BYTES", 4 * 8 * 8 * 4 * 2)
    pictures = RANDOM.random((40, 1, 8, 8), np.float32)
    assert smoke(brighter_than(0.5), brighter_than(0.5), pictures).samples == 8


def spec(*shape, dtype="float32", name="x"):
    return TensorSpec(name, dtype, shape)


def recipe(layout: str) -> ImagePreprocess:
    return ImagePreprocess("image", "x", 8, 8, (0.0,) * 3, (1.0,) * 3, layout=layout)


@pytest.mark.parametrize(
    ("inputs", "preprocess", "axes"),
    [
        ([spec("batch", 3, 224, 224)], None, {"x": 2}),
        ([spec("batch", "h", "w", 3)], None, {"x": 1}),
        ([spec(1, 1, 8, 8, dtype="float16")], None, {"x": 2}),
        ([spec("batch", "c", "h", "w")], recipe("NCHW"), {"x": 2}),
        ([spec("batch", 3, 224, 3)], recipe("NHWC"), {"x": 1}),
        ([spec("batch", 3, 8, 8), spec("batch", 5, name="y")], None, {"x": 2}),
        ([spec("batch", 3, 8, 8), spec("batch", 3, 8, 8, name="y")], recipe("NCHW"), {"x": 2}),
    ],
)
def test_what_is_a_picture(inputs, preprocess, axes):
    assert picture_inputs(tuple(inputs), preprocess) == axes


@pytest.mark.parametrize(
    "shape", [("batch", 12, 8, 64), ("batch", 64), ("batch", 3, 8), ("batch", "c", "h", "w"), (1, 3, 8, 8, 8)]
)
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(UsageError, match=r"expected pictures float \[N,C,H,W\] to perturb, found .* x: float32"):
        picture_inputs((spec(*shape),), None)
    with pytest.raises(UsageError, match="--no-robustness"):
        picture_inputs((spec("batch", 3, 8, 8, dtype="uint8"),), None)


def test_on_digits_it_is_what_onnxruntime_gives(dusk, tmp_path):
    asked = {"reference": dusk / "fp32.onnx", "data": str(dusk / "data.npz"), "labels": dusk / "labels.csv"}
    config = ValidateConfig(budget="sqnr_db>=5", samples=64, robustness=True, **asked)
    report = validate(dusk / "dusk.onnx", tmp_path / "v.json", config)
    with np.load(dusk / "data.npz") as archive:
        pictures = archive["image"][np.arange(64) * 1197 // 64]
    kept = np.concatenate([pictures[at : at + 4] for at in range(0, 64, 8)])
    sessions = [
        onnxruntime.InferenceSession(str(dusk / name), providers=["CPUExecutionProvider"])
        for name in ("fp32.onnx", "dusk.onnx")
    ]
    brighter = np.clip(kept + 0.1, 0, 1).astype(np.float32)
    clean, bright = ([session.run(None, {"image": x})[0] for session in sessions] for x in (kept, brighter))
    found = next(item for item in report.accuracy.robustness.perturbed if item.strength == 0.1)
    noise = np.square(bright[0].astype(float) - bright[1]).sum()
    assert found.sqnr_db == pytest.approx(10 * math.log10(np.square(bright[0].astype(float)).sum() / noise), abs=0.01)
    assert found.agreement == (bright[0].argmax(1) == bright[1].argmax(1)).mean()
    assert found.reference_kept == (bright[0].argmax(1) == clean[0].argmax(1)).mean()
    assert found.found_kept == (bright[1].argmax(1) == clean[1].argmax(1)).mean()
    table = json.loads((tmp_path / "v.json").read_text())["accuracy"]["robustness"]
    assert (table["samples"], table["seed"], len(table["perturbed"])) == (32, 0, 1 + len(PERTURBATIONS))
    again = validate(dusk / "dusk.onnx", tmp_path / "v.json", config)
    assert again.accuracy == report.accuracy


def test_it_is_not_run_unless_asked(dusk, tmp_path):
    config = ValidateConfig(dusk / "fp32.onnx", str(dusk / "data.npz"), samples=8)
    assert validate(dusk / "day.onnx", tmp_path / "v.json", config).accuracy.robustness is None


def test_pictures_are_wanted(digits, tmp_path):
    config = ValidateConfig(digits / "good.onnx", str(digits / "data.npz"), robustness=True)
    with pytest.raises(UsageError, match="expected pictures"):
        validate(digits / "good.onnx", tmp_path / "v.json", config)
    assert list(tmp_path.iterdir()) == []
