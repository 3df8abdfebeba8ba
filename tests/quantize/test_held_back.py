"""Scores on samples held back, against NumPy and the meters of `edgekit.metrics` on whole arrays; what is a gain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from edgekit.data import Batch, Samples
from edgekit.errors import DataError
from edgekit.judge import plain_session
from edgekit.metrics import Sqnr
from edgekit.quantize import held_back as module
from edgekit.quantize.held_back import HeldBack, Score
from tests.quantize.graphs import graph, node, run, value

COUNT = 96


@pytest.fixture
def opened() -> Iterator[list[HeldBack]]:
    """Those that a test made; closed behind it."""
    made: list[HeldBack] = []
    yield made
    for item in made:
        item.close()


@pytest.fixture
def images(digits: Path) -> np.ndarray:
    with np.load(digits / "data.npz") as archive:
        return archive["image"][:COUNT]


@pytest.fixture
def labels(digits: Path) -> np.ndarray:
    return np.load(digits / "labels.npy")


def outputs(model: Path, images: np.ndarray) -> Batch:
    session = plain_session(str(model))
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


def filled(images: np.ndarray, wanted: Batch, labels: np.ndarray | None = None, step: int = 1) -> HeldBack:
    """Sample i is number 2 i of the set."""
    held = HeldBack(labels)
    for start in range(0, len(images), step):
        rows = slice(start, start + step)
        index = 2 * np.arange(len(images))[rows]
        held.add(Samples(index, {"image": images[rows]}), {name: array[rows] for name, array in wanted.items()})
    return held


def noise(wanted: np.ndarray, found: np.ndarray) -> float:
    """The oracle: of whole arrays, relative to the signal."""
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    return float(np.sum((wanted - found) ** 2) / np.sum(wanted**2))


def db(wanted: np.ndarray, found: np.ndarray) -> float:
    meter = Sqnr()
    meter.add(wanted, found)
    return meter.db()


@pytest.mark.parametrize("step", [1, 5, COUNT])
@pytest.mark.parametrize("name", ["near.onnx", "wrong.onnx", "good.onnx"])
def test_a_score_is_that_of_the_whole_arrays(digits, images, opened, name, step):
    wanted, found = (outputs(digits / model, images) for model in ("good.onnx", name))
    opened.append(held := filled(images, wanted, step=step))
    score = held.score((digits / name).read_bytes())
    both = [noise(wanted[output], found[output]) for output in wanted]
    assert score.noise == pytest.approx(np.mean(both), rel=1e-4, abs=1e-12)
    assert score.sqnr_db == pytest.approx(min(db(wanted[output], found[output]) for output in wanted), abs=1e-3)
    assert score.drop == pytest.approx(np.mean(wanted["logits"].argmax(1) != found["logits"].argmax(1)))
    assert held.samples == COUNT
    rows = [slice(start, start + step) for start in range(0, COUNT, step)]
    each = [np.mean([noise(wanted[output][part], found[output][part]) for output in wanted]) for part in rows]
    np.testing.assert_allclose(score.by_batch, each, rtol=1e-3, atol=1e-12)
    if name == "good.onnx":
        assert (score.sqnr_db, score.noise) == (math.inf, 0) or score.noise < 1e-12


def test_a_drop_counts_labels_where_there_are_any(digits, images, labels, opened):
    """Sample i is number 2 i: each meets its own label."""
    wanted = outputs(digits / "good.onnx", images)
    opened.append(held := filled(images, wanted, labels))
    own = labels[: 2 * COUNT : 2]
    for name in ("near.onnx", "wrong.onnx", "good.onnx"):
        found = outputs(digits / name, images)["logits"].argmax(1)
        drop = np.mean(wanted["logits"].argmax(1) == own) - np.mean(found == own)
        assert held.score((digits / name).read_bytes()).drop == pytest.approx(drop)
    with_more = np.where(np.arange(len(labels)) % 4 == 0, labels, -100)
    opened.append(held := filled(images, wanted, with_more))
    known = with_more[: 2 * COUNT : 2] >= 0
    found = outputs(digits / "wrong.onnx", images)["logits"].argmax(1)
    drop = np.mean((wanted["logits"].argmax(1) == own)[known]) - np.mean((found == own)[known])
    assert held.score((digits / "wrong.onnx").read_bytes()).drop == pytest.approx(drop)


def test_a_better_model_has_a_negative_drop(images, opened):
    wanted = {"logits": np.eye(10, dtype=np.float32)[np.zeros(COUNT, int)]}
    labels = np.ones(2 * COUNT, np.int64)
    opened.append(held := filled(images, wanted, labels))
    right = {"logits": np.eye(10, dtype=np.float32)[np.ones(COUNT, int)]}
    place = iter(range(COUNT))
    assert held.score_of(lambda batch: {"logits": right["logits"][[next(place)]]}).drop == -1


def test_too_few_labels_are_one_line(digits, images, labels, opened):
    opened.append(held := filled(images, outputs(digits / "good.onnx", images), labels[:50]))
    with pytest.raises(DataError, match="expected a label for sample 50, found 50 labels"):
        held.score((digits / "good.onnx").read_bytes())


def other_outputs():
    """A class as int64, a mask as bool, and features that are no scores; all beside logits [N,10]."""
    random = np.random.default_rng(0)
    nodes = [
        node("ArgMax", "logits", "class", axis=1, keepdims=0),
        node("Greater", "logits zero", "mask"),
        node("MatMul", "image left", "features0"),
        node("Reshape", "features0 shape", "features"),
        node("MatMul", "image right", "logits"),
    ]
    arrays = {
        "left": random.normal(size=(64, 6)).astype(np.float32),
        "right": random.normal(size=(64, 10)).astype(np.float32),
        "zero": np.float32(0),
        "shape": np.array([0, 1, 2, 3, 1], np.int64),
    }
    model = graph([nodes[4], *nodes[:4]], [value("image", "batch", 64)], ["features", "logits"], arrays)
    model.graph.output.extend([value("class", "batch", dtype=7), value("mask", "batch", 10, dtype=9)])
    return model


def test_only_real_outputs_are_measured_and_only_scores_are_answers(images, opened):
    model = other_outputs()
    wanted = run(model, {"image": images})
    assert {array.dtype.kind for array in wanted.values()} == {"f", "i", "b"}
    opened.append(held := filled(images, wanted))
    changed = other_outputs()
    for tensor in changed.graph.initializer:
        if tensor.name == "right":
            coarse = np.rint(np.frombuffer(tensor.raw_data, np.float32) * 2).astype(np.float32) / 2
            tensor.raw_data = coarse.tobytes()
    score = held.score(changed.SerializeToString())
    found = run(changed, {"image": images})
    assert score.noise == pytest.approx(noise(wanted["logits"], found["logits"]) / 2, rel=1e-4)
    assert score.sqnr_db == pytest.approx(db(wanted["logits"], found["logits"]), abs=1e-3)
    assert score.drop == pytest.approx(np.mean(wanted["logits"].argmax(1) != found["logits"].argmax(1)))
    assert score.drop > 0


@pytest.mark.parametrize("kind", ["integers", "features"])
def test_without_scores_there_is_no_drop(images, opened, kind):
    wanted = {
        "integers": {"class": np.arange(COUNT)},
        "features": {"features": np.ones((COUNT, 1, 2, 3, 1), np.float32)},
    }[kind]
    opened.append(held := filled(images, wanted))
    score = held.score_of(lambda batch: {name: array[:1] for name, array in wanted.items()})
    assert (score.noise, score.sqnr_db, score.drop) == (0, math.inf, None)
    assert HeldBack().score_of(lambda batch: batch) == Score(0, math.inf, None, ())


def test_labels_choose_the_output_that_they_speak_of(images, opened):
    """A label a sample belongs to [N,10], a label a step to [N,4,10]; features [N,6] come first and mean nothing."""
    random = np.random.default_rng(0)
    wanted = {
        "steps": random.normal(size=(COUNT, 4, 10)).astype(np.float32),
        "whole": random.normal(size=(COUNT, 10)).astype(np.float32),
    }
    for labels, name in ((wanted["steps"].argmax(2), "steps"), (wanted["whole"].argmax(1), "whole")):
        opened.append(held := filled(images, wanted, np.repeat(labels, 2, axis=0)))
        for broken, drop in (("steps", float(name == "steps")), ("whole", float(name == "whole"))):
            place = iter(range(COUNT))

            def answer(batch: Batch, broken: str = broken, place: Iterator[int] = place) -> Batch:
                row = slice(start := next(place), start + 1)
                return {output: -array[row] if output == broken else array[row] for output, array in wanted.items()}

            assert held.score_of(answer).drop == drop


def test_what_does_not_fit_into_memory_scores_the_same(digits, images, opened, monkeypatch):
    wanted = outputs(digits / "good.onnx", images)
    near = (digits / "near.onnx").read_bytes()
    opened.append(held := filled(images, wanted))
    monkeypatch.setattr(module, "_IN_MEMORY", 1000)
    opened.append(spilt := filled(images, wanted))
    assert spilt.score(near) == held.score(near)


def test_more_than_memory_holds(opened):
    """36 MiB, of which 32 MiB stay in memory at the most."""
    random = np.random.default_rng(0)
    held = HeldBack()
    opened.append(held)
    meter = Sqnr()
    for number in range(9):
        x = random.normal(size=(1, 1 << 20)).astype(np.float32)
        held.add(Samples(np.array([number]), {"x": x}), {"y": x[:, :1000]})
        meter.add(x[:, :1000], np.round(x[:, :1000], 1))
    for _ in range(2):
        score = held.score_of(lambda batch: {"y": np.round(batch["x"][:, :1000], 1)})
        assert score.sqnr_db == pytest.approx(meter.db(), rel=1e-12)
        assert len(score.by_batch) == 9


def test_it_is_read_as_often_as_one_likes_and_filled_in_between(digits, images, opened):
    wanted, near = outputs(digits / "good.onnx", images), (digits / "near.onnx").read_bytes()
    opened.append(held := filled(images[:50], {name: array[:50] for name, array in wanted.items()}))
    assert held.score(near) == held.score(near)
    first = held.score(near)
    held.score(near, 3)  # stops in the middle of the file
    for row in range(50, COUNT):
        part = slice(row, row + 1)
        held.add(
            Samples(np.array([2 * row]), {"image": images[part]}), {name: array[part] for name, array in wanted.items()}
        )
    opened.append(whole := filled(images, wanted))
    assert held.score(near) == whole.score(near) != first
    held.close()
    held.close()


def test_a_part_is_enough_for_a_ranking(digits, images, opened):
    wanted, near = outputs(digits / "good.onnx", images), (digits / "near.onnx").read_bytes()
    for step in (1, 5):
        opened.append(held := filled(images, wanted, step=step))
        read = 16 if step == 1 else 20
        opened.append(part := filled(images[:read], {name: array[:read] for name, array in wanted.items()}, step=step))
        assert held.score(near, 16) == part.score(near)
        assert held.score(near) != held.score(near, 16)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_model_is_infinitely_noisy(digits, images, opened, broken):
    opened.append(held := filled(images, outputs(digits / "good.onnx", images)))
    score = held.score_of(lambda batch: {"logits": np.full((1, 10), broken), "double": np.zeros((1, 10))})
    assert (score.noise, score.sqnr_db) == (math.inf, -math.inf)
    good = held.score((digits / "near.onnx").read_bytes())
    assert good.gain_db(score) == math.inf
    assert score.gain_db(good) == 0
    assert score.gain_db(score) == 0


def score_of(*by_batch: float) -> Score:
    return Score(float(np.mean(by_batch)), 0.0, None, by_batch)


def test_a_gain_is_the_mean_over_the_samples_in_decibels():
    other = score_of(1e-3, 2e-3, 5e-3, 1e-2)
    for gain in (0.2, 1, 10):
        better = score_of(*(np.array(other.by_batch) / 10 ** (gain / 10)))
        assert better.gain_db(other) == pytest.approx(gain)
        assert other.gain_db(better) == 0
    assert score_of(*(np.array(other.by_batch) / 10**0.009)).gain_db(other) == 0, "0.09 dB is not worth another form"
    assert score_of(1e-3).gain_db(score_of(2e-3)) == pytest.approx(10 * math.log10(2))
    assert other.gain_db(other) == 0
    assert Score(0.5, 0.0, None).gain_db(Score(1.0, 0.0, None)) == 0


def test_a_gain_that_may_be_chance_is_none():
    """Two dB up and down from sample to sample, half a dB on average: by chance in one of ten, of 16 samples."""
    random = np.random.default_rng(0)
    swing = random.normal(size=64)
    swing = 2 * (swing - swing.mean()) / swing.std(ddof=1)
    for count, mean, kept in ((16, 0.5, False), (16, 0.8, True), (64, 0.3, False), (64, 0.4, True)):
        gains = swing[:count] - swing[:count].mean()
        gains = mean + 2 * gains / gains.std(ddof=1)
        error = 2 / math.sqrt(count)
        assert (mean > 1.28 * error) == kept
        other = np.full(count, 1e-3)
        found = score_of(*(other / 10 ** (gains / 10))).gain_db(Score(1.0, 0.0, None, tuple(other)))
        assert found == pytest.approx(mean if kept else 0)


def test_less_noise_in_all_is_asked_for_as_well():
    """One loud sample that became much worse is no gain, though the others are better."""
    assert score_of(0.1, 0.1, 0.1, 8).gain_db(score_of(0.2, 0.2, 0.2, 4)) == 0


def test_a_sample_on_which_float32_is_silent_says_nothing(images, opened):
    """A detector's empty picture: any noise there is infinitely more than the signal."""
    wanted = np.ones((COUNT, 1, 2, 3, 1), np.float32)
    wanted[7] = 0
    opened.append(held := filled(images, {"boxes": wanted}))
    scores = []
    for error in (0.1, 0.05):
        place = iter(range(COUNT))
        scores.append(held.score_of(lambda batch, e=error, p=place: {"boxes": wanted[[next(p)]] + np.float32(e)}))
    worse, better = scores
    assert worse.by_batch[7] == math.inf
    assert better.gain_db(worse) == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert worse.gain_db(better) == 0
    silent = Score(1.0, 0.0, None, (math.inf, math.inf))
    assert Score(0.5, 0.0, None, (math.inf, math.inf)).gain_db(silent) == 0
    assert Score(0.5, 0.0, None, (0.5, math.inf)).gain_db(Score(1.0, 0.0, None, (1.0, 0.5))) == pytest.approx(
        3.01, abs=0.01
    )


NOISE = st.floats(0, 1e6) | st.sampled_from([0.0, math.inf, 1e-300])


@given(st.lists(st.tuples(NOISE, NOISE), max_size=8), NOISE, NOISE)
@settings(deadline=None)
def test_no_two_models_are_better_than_each_other(pairs, one, other):
    first = Score(one, 0.0, None, tuple(pair[0] for pair in pairs))
    second = Score(other, 0.0, None, tuple(pair[1] for pair in pairs))
    gains = first.gain_db(second), second.gain_db(first)
    assert min(gains) == 0
    assert all(gain == 0 or gain > 0.1 for gain in gains)
