"""Slices: when one fails, warns or is not judged; by counts made here, and on digits whose average hides the damage."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Limit
from edgekit.configs import DeployConfig, ValidateConfig
from edgekit.errors import DataError, UsageError
from edgekit.metrics import SliceCount
from edgekit.validate import validate
from edgekit.validate.accuracy import Comparison
from edgekit.validate.slices import ALLOWED_DROP, NOT_JUDGED, WARN, WORST, Slicing, judge_slices, sliced

pytest.importorskip("onnx")


def count(index: int, samples: int, lost: int, won: int = 0, wrong: int = 0) -> SliceCount:
    """One label a sample, of which both models have `wrong` wrong."""
    reference = samples - won - wrong
    return SliceCount(index, samples, samples, reference, reference - lost + won, lost, won)


def outcomes(*counts: SliceCount, labelled: bool = True, allowed: float = ALLOWED_DROP) -> dict[str, str]:
    return {item.name: item.outcome for item in sliced(counts, Slicing(), labelled=labelled, allowed=allowed).slices}


def limit(value: float) -> Limit:
    return Limit(WORST, "<=", value, "accuracy")


def finding(*counts: SliceCount, value: float = 0.03, promised: bool = True):
    return judge_slices(limit(value), sliced(counts, Slicing(), labelled=True), promised=promised)


@pytest.mark.parametrize(
    ("samples", "lost", "won", "outcome"),
    [
        (29, 29, 0, NOT_JUDGED),
        (30, 5, 0, FAIL),  # 1/32 < 0.05
        (30, 4, 0, WARN),  # 1/16 < 0.1, 13 points
        (30, 3, 0, PASS),  # 1/8
        (30, 0, 5, PASS),
        (200, 4, 0, PASS),  # 2 points
        (500, 5, 0, PASS),  # exactly the point that is allowed
        (499, 5, 0, FAIL),
        (2000, 12, 0, PASS),  # sure, and less than a point
        (100, 12, 5, WARN),  # 7 points at 0.072
        (100, 30, 24, PASS),  # 6 points at 0.25: they change their minds a lot
    ],
)
def test_the_rule(samples, lost, won, outcome):
    assert outcomes(count(0, samples, lost, won)) == {"0": outcome}


def test_a_drop_of_two_samples_is_none():
    """Of 30, two are 6.7 points; labels of which a sample has many show that it is they that count."""
    both = [SliceCount(0, 30, 3000, 3000, 3000 - drop, 30, 0) for drop in (200, 201)]
    assert [outcomes(item) for item in both] == [{"0": PASS}, {"0": FAIL}]


@pytest.mark.parametrize(("others", "outcome"), [(0, FAIL), (1, WARN), (9, WARN)])
def test_among_many_slices_it_takes_more_to_fail(others, outcome):
    healthy = [count(index, 40, 0) for index in range(1, others + 1)]
    assert outcomes(count(0, 40, 5), *healthy)["0"] == outcome


def test_slices_that_are_too_small_do_not_count_as_many():
    assert outcomes(count(0, 40, 5), *(count(index, 29, 0) for index in range(1, 50)))["0"] == FAIL


def test_without_labels_nobody_knows_who_is_right():
    assert outcomes(count(0, 40, 30), labelled=False) == {"0": WARN}
    found = sliced([count(0, 40, 30)], Slicing(), labelled=False)
    assert (found.by, found.labelled) == ("class", False)
    with pytest.raises(DataError, match="expected labels that slices can be judged by"):
        judge_slices(limit(0.03), found, promised=False)


@pytest.mark.parametrize(
    ("counts", "promised", "value", "outcome"),
    [
        ([count(0, 40, 5), count(1, 40, 0)], True, 0.03, INCONCLUSIVE),
        ([count(0, 40, 5), count(1, 40, 0)], False, 0.01, PASS),
        ([count(0, 40, 9), count(1, 40, 0)], False, 0.01, FAIL),
        ([count(0, 40, 9), count(1, 40, 0)], True, 0.03, FAIL),
        ([count(0, 40, 9), count(1, 40, 0)], True, 0.3, PASS),
        ([count(0, 40, 3), count(1, 40, 0)], True, 0.03, PASS),
        ([count(0, 12, 12), count(1, 9, 0)], False, 0.01, INCONCLUSIVE),
        ([count(0, 12, 12), count(1, 40, 0)], True, 0.03, PASS),
    ],
)
def test_a_promise_is_kept_broken_or_open(counts, promised, value, outcome):
    assert finding(*counts, promised=promised, value=value).outcome == outcome


@given(st.integers(30, 90), st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_the_missing_samples_would_decide(samples, lost, won, slices):
    healthy = [count(index, 40, 0) for index in range(1, slices)]
    found = finding(count(0, samples, lost, won), *healthy)
    if found.outcome == INCONCLUSIVE:
        assert found.missing % samples == 0
        times = found.missing // samples + 1
        more = [finding(count(0, n * samples, n * lost, n * won), *healthy).outcome for n in (times - 1, times)]
        assert more == [INCONCLUSIVE, FAIL]
    else:
        assert found.missing is None


def test_the_finding_names_the_slice_that_matters():
    """The failing one that drops most, though a smaller slice may drop more by chance; else the worst one."""
    noisy, hurt, worse = count(0, 30, 4), count(1, 400, 40), count(2, 400, 50)
    found = finding(noisy, hurt, worse)
    assert (found.outcome, found.value) == (FAIL, 50 / 400)
    assert str(found) == (
        "worst_slice_drop<=0.03: FAIL, found 0.125 in label 2: 87.5%, the reference 100.0% "
        "(50 lost, 0 won of 400 samples, p 8.9e-16) and 1 more"
    )
    assert finding(count(0, 30, 1), count(1, 300, 0)).where.startswith("label 0: 96.7%, the reference 100.0% (1 lost")
    small = finding(count(0, 12, 1), count(1, 9, 0))
    assert (small.missing, small.value) == (18, 1 / 12)
    assert str(small).endswith("(1 lost, 0 won of 12 samples, 30 are needed), about 18 samples missing")


def test_what_is_told_and_what_is_left_out():
    counts = [count(0, 40, 4), count(1, 50, 0), *(count(index, 1 + index % 29, 0) for index in range(2, 102))]
    found = sliced(counts, Slicing("camera", ("rear", "front")), labelled=True)
    assert (found.judged, found.not_judged, len(found.slices)) == (2, 100, 22)
    assert [item.name for item in found.slices[:2]] == ["rear", "front"]
    assert min(item.n for item in found.slices[2:]) >= 20
    header, warned = found.lines()
    assert header == "slices by camera: 2 judged, 100 of fewer than 30 samples not judged"
    assert warned.startswith("  WARN camera rear: 90.0%, the reference 100.0% (4 lost")
    assert list(found.warnings(asked=True)) == [
        "perhaps damaged: camera rear: 90.0%, the reference 100.0% (4 lost, 0 won of 40 samples, p 0.062)",
        "slices of fewer than 30 samples are not judged: 100 by camera",
    ]


def test_without_labels_and_without_judgement_there_is_nothing_to_tell():
    few = [count(index, 3, 1) for index in range(30)]
    assert list(sliced(few, Slicing(), labelled=False).lines()) == []
    assert len(list(sliced(few, Slicing(), labelled=True).lines())) == 1
    assert len(list(sliced([*few, count(31, 30, 0)], Slicing(), labelled=False).lines())) == 2


def test_what_would_fail_is_a_warning_where_nobody_asked():
    found = sliced([count(0, 40, 9), count(1, 40, 8)], Slicing(), labelled=True)
    (line,) = found.warnings(asked=False)
    assert line.startswith("damaged: label 0: 77.5%, the reference 100.0% (9 lost")
    assert line.endswith("and 1 more; --slices label makes that a failure")
    assert list(found.warnings(asked=True)) == []


def test_a_sample_of_many_places_votes_once():
    """200 pixels of two pictures are two votes, which prove nothing; McNemar's test on pixels would be sure."""
    labels = np.zeros((40, 10, 10), np.int64)
    wanted = np.zeros((40, 2, 10, 10), np.float32)
    wanted[:, 0] = 1
    found = wanted.copy()
    found[:2] = wanted[:2, ::-1]
    meters = Comparison(classifies=True)
    meters.add({"y": wanted}, {"y": found}, labels)
    (item,) = meters.result().slices.slices
    assert (item.n, item.labels, item.lost, item.won, item.drop) == (40, 4000, 2, 0, 0.05)
    assert (item.p, item.outcome) == (0.25, PASS)


def test_places_without_labels_are_counted_by_the_references_choice():
    wanted = np.eye(3, dtype=np.float32)[np.arange(90).reshape(45, 2) % 3]
    found = wanted.copy()
    found[:30, 1] = wanted[:30, 0]
    meters = Comparison(classifies=True)
    for part in (slice(10), slice(10, None)):
        meters.add({"y": wanted[part], "z": found[part]}, {"y": found[part], "z": found[part]}, None)
    slices = {item.name: item for item in meters.result().slices.slices}
    assert {name: (item.labels, item.lost, item.drop) for name, item in slices.items()} == {
        name: (30, 10, pytest.approx(1 / 3)) for name in "012"
    }
    assert meters.result().slices.labelled is False


# On real digits.


def judged(dusk, tmp_path, model: str, budget: str = "top1_drop<=0.03", **more):
    asked = {"reference": dusk / "fp32.onnx", "data": str(dusk / "data.npz"), "labels": dusk / "labels.csv"}
    asked |= {"budget": budget, "samples": 2000}
    return validate(dusk / model, tmp_path / "report.json", ValidateConfig(**(asked | more)))


def right(dusk, model: str) -> np.ndarray:
    """By onnxruntime as it comes."""
    session = onnxruntime.InferenceSession(str(dusk / model), providers=["CPUExecutionProvider"])
    with np.load(dusk / "data.npz") as archive:
        scores = session.run(["logits"], {"image": archive["image"]})[0]
    return scores.argmax(1) == np.load(dusk / "labels.npy")


def test_the_average_hides_a_damaged_class(dusk, tmp_path):
    """The figures by hand, the test SciPy's: 2 points on average, which the budget allows, and 11 of one digit."""
    stats = pytest.importorskip("scipy.stats")
    wanted, found, labels = right(dusk, "fp32.onnx"), right(dusk, "dusk.onnx"), np.load(dusk / "labels.npy")
    report = judged(dusk, tmp_path, "dusk.onnx", slices="label")
    assert wanted.mean() - found.mean() <= 0.03
    assert report.accuracy.top1.change == pytest.approx(wanted.mean() - found.mean())
    assert len(report.accuracy.slices.slices) == report.accuracy.slices.judged == 10
    for item in report.accuracy.slices.slices:
        of = labels == int(item.name)
        lost, won = int((wanted & ~found)[of].sum()), int((found & ~wanted)[of].sum())
        assert (item.n, item.labels, item.lost, item.won) == (of.sum(), of.sum(), lost, won)
        assert (item.reference, item.found) == (pytest.approx(wanted[of].mean()), pytest.approx(found[of].mean()))
        assert item.drop == pytest.approx(wanted[of].mean() - found[of].mean())
        p = stats.binomtest(lost, lost + won, 0.5, "greater").pvalue if lost + won else 1
        assert item.p == pytest.approx(p)
        fails, warns = item.drop > max(0.01, 2 / item.n) and p < 0.05 / 10, item.drop > 0.03 and p < 0.1
        assert item.outcome == (FAIL if fails else WARN if warns else PASS)
    worst = report.accuracy.slices.slices[0]
    assert worst.drop > 3 * report.accuracy.top1.change
    assert [(str(item.limit), item.outcome) for item in report.findings] == [
        ("top1_drop<=0.03", PASS),
        ("worst_slice_drop<=0.01", FAIL),
    ]
    assert (report.exit_code, report.verdict) == (3, "FAIL (ort, cpu)")
    assert f"label {worst.name}: " in report.findings[-1].where
    table = json.loads((tmp_path / "report.json").read_text())["accuracy"]["slices"]
    assert (table["by"], table["judged"], table["slices"][0]["outcome"]) == ("label", 10, "FAIL")


def test_nobody_asked_and_it_is_a_warning(dusk, tmp_path):
    report = judged(dusk, tmp_path, "dusk.onnx")
    assert (report.exit_code, len(report.findings)) == (0, 1)
    assert any(line.startswith("damaged: label ") for line in report.warnings)
    day = judged(dusk, tmp_path, "day.onnx")
    assert (day.exit_code, day.warnings) == (0, ())


def test_a_good_model_keeps_the_promise(dusk, tmp_path):
    report = judged(dusk, tmp_path, "day.onnx", "top1_drop<=0.03,worst_slice_drop<=0.03", slices="label")
    assert [item.outcome for item in report.findings] == [PASS, PASS]
    broken = judged(dusk, tmp_path, "dusk.onnx", "worst_slice_drop<=0.03,top1_drop<=0.03", labels=dusk / "labels.npy")
    assert ([item.outcome for item in broken.findings], broken.exit_code) == ([FAIL, PASS], 3)


def test_a_named_column(dusk, tmp_path):
    wanted, found = right(dusk, "fp32.onnx"), right(dusk, "dusk.onnx")
    rows = [row.split(",") for row in (dusk / "labels.csv").read_text().splitlines()[1:]]
    report = judged(dusk, tmp_path, "dusk.onnx", slices="ink")
    for item in report.accuracy.slices.slices:
        of = np.array([ink == item.name for _, ink, _ in rows])
        assert (item.n, item.drop) == (of.sum(), pytest.approx(wanted[of].mean() - found[of].mean()))
    assert {item.name for item in report.accuracy.slices.slices} == {"little", "some", "much"}
    assert (report.accuracy.slices.by, report.exit_code) == ("ink", 3)
    assert "ink some: " in report.findings[-1].where


def test_few_samples_are_not_judged(dusk, tmp_path):
    report = judged(dusk, tmp_path, "dusk.onnx", samples=100, slices="label")
    assert (report.exit_code, report.verdict) == (5, "INCONCLUSIVE (ort, cpu)")
    assert report.findings[-1].missing == 30 - max(item.n for item in report.accuracy.slices.slices)
    assert {item.outcome for item in report.accuracy.slices.slices} == {NOT_JUDGED}
    assert {item.p for item in report.accuracy.slices.slices} == {None}
    assert any("slices of fewer than 30 samples are not judged: 10 by label" in line for line in report.warnings)


def test_without_labels_the_reference_says_the_class(dusk, tmp_path):
    report = judged(dusk, tmp_path, "dusk.onnx", "agreement>=0.9", labels=None)
    slices = report.accuracy.slices
    assert (slices.by, slices.labelled, report.exit_code) == ("class", False, 0)
    assert sum(item.n for item in slices.slices) == 1197
    same = sum(item.found * item.n for item in slices.slices) / 1197
    assert same == pytest.approx(report.accuracy.agreement["logits"])
    assert any(line.startswith("perhaps damaged: class ") for line in report.warnings)


@pytest.mark.parametrize(
    ("more", "budget", "error", "says"),
    [
        (
            {"slices": "label", "labels": None},
            "sqnr_db>=1",
            UsageError,
            "expected labels to judge slices by, found none",
        ),
        ({"labels": None}, "worst_slice_drop<=0.1", UsageError, "expected labels to judge worst_slice_drop by"),
        ({"slices": "ink", "labels": None}, "sqnr_db>=1", UsageError, "expected a CSV of labels with the column 'ink'"),
        ({"slices": "inc"}, "sqnr_db>=1", DataError, "no column 'inc'; did you mean 'ink'"),
    ],
)
def test_what_cannot_be_sliced_is_refused(dusk, tmp_path, more, budget, error, says):
    with pytest.raises(error, match=says) as caught:
        judged(dusk, tmp_path, "dusk.onnx", budget, **more)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_needed_for_a_column(dusk, tmp_path):
    with pytest.raises(UsageError, match=r"found .*labels\.npy; next: --labels L\.csv, or --slices label"):
        judged(dusk, tmp_path, "dusk.onnx", slices="ink", labels=dusk / "labels.npy")


def test_deploy_asks_for_slices_too(dusk, tmp_path, monkeypatch):
    from edgekit.deploy import deploy

    asked = DeployConfig(
        "cpu",
        str(dusk / "data.npz"),
        precision="fp32",
        budget="top1>=0.9",
        labels=dusk / "labels.csv",
        slices="ink",
    )
    made = deploy(str(dusk / "fp32.onnx"), tmp_path / "out", asked)
    assert [item.outcome for item in made.findings] == [PASS, PASS]
    assert made.accuracy.slices.by == "ink"
    monkeypatch.setattr("edgekit.deploy._source", lambda *_: pytest.fail("the export was started first"))
    for labels, says in ((dusk / "labels.npy", "with the column 'ink'"), (None, "with the column 'ink'")):
        with pytest.raises(UsageError, match=says):
            deploy(str(dusk / "fp32.onnx"), tmp_path / "no", replace(asked, labels=labels))
    with pytest.raises(UsageError, match="expected labels to judge slices by"):
        deploy(str(dusk / "fp32.onnx"), tmp_path / "no", replace(asked, labels=None, slices="label", budget=None))
