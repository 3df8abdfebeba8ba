"""The summary of a validation in Markdown: accuracy, the slices that lost most, latency, read by a parser."""

from __future__ import annotations

import csv
import dataclasses
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from edgekit.configs import ValidateConfig
from edgekit.validate import ValidateReport, validate
from edgekit.validate.accuracy import Pair
from edgekit.validate.markdown import validate_markdown
from tests.latency.test_markdown import cells

# A slice's name is what the labels' file says.
HOSTILE = "x|y `z` <b>"


@pytest.fixture(scope="module")
def labels(digits, tmp_path_factory) -> Path:
    """The digits' labels, and of each a group: of the even ones with a hostile name."""
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "label", "group"])
        for index, label in enumerate(np.load(digits / "labels.npy").tolist()):
            writer.writerow([index, label, HOSTILE if label % 2 == 0 else "odd"])
    return path


@pytest.fixture(scope="module")
def judged(digits, labels, tmp_path_factory):
    """The report of a model with other classes than its reference, and what was asked for."""
    config = ValidateConfig(
        digits / "good.onnx",
        str(digits / "data.npz"),
        budget="top1_drop<=0.01,p99_ms<=60000",
        labels=labels,
        slices="group",
        requests=60,
    )
    return validate(digits / "wrong.onnx", tmp_path_factory.mktemp("judged") / "r.json", config), config


def test_a_broken_model(judged):
    report, _ = judged
    rows = cells(validate_markdown(report))
    heads = [index for index, row in enumerate(rows) if row[0] in ("promise", "accuracy", "60 requests")]
    promises, accuracy, latency = rows[: heads[1]], rows[heads[1] : heads[2]], rows[heads[2] :]
    assert [row[0] for row in promises[1:]] == [str(finding.limit) for finding in report.findings]
    assert promises[1][3] == "❌ FAIL"
    top1 = report.accuracy.top1
    assert accuracy[0] == ["accuracy", "found", "reference"]
    for output, value in report.accuracy.sqnr_db.items():
        assert [f"SQNR of {output}", f"{value:.1f} dB", ""] in accuracy
    for output, value in report.accuracy.agreement.items():
        assert [f"same class, {output}", f"{value:.1%}", ""] in accuracy
    assert [f"top-1 of {report.accuracy.scored}", f"{top1.found:.1%}", f"{top1.reference:.1%}"] in accuracy
    assert [row[0] for row in latency[1:]] == ["p50 in ms", "p90 in ms", "p99 in ms", "p99.9 in ms"]
    assert validate_markdown(report).startswith("### ❌ FAIL (ort, cpu)\n")
    assert "\nMachine: " in validate_markdown(report)


def test_the_slices_that_lost_most(judged):
    report, _ = judged
    rows = cells(validate_markdown(report))
    start = rows.index(["group, worst first", "samples", "found", "reference", ""])
    found = {row[0]: row[1:] for row in rows[start + 1 : start + 3]}
    assert found.keys() == {HOSTILE, "odd"}
    for item in report.accuracy.slices.slices:
        assert found[item.name] == [str(item.n), f"{item.found:.1%}", f"{item.reference:.1%}", item.outcome]
    drops = [item.drop for item in report.accuracy.slices.slices]
    assert drops == sorted(drops, reverse=True)


def changed(report: ValidateReport, **accuracy) -> ValidateReport:
    return dataclasses.replace(report, accuracy=dataclasses.replace(report.accuracy, **accuracy))


def test_slices_that_lost_nothing_or_are_too_small_are_left_out(judged):
    report, _ = judged
    slices = report.accuracy.slices
    kept = dataclasses.replace(slices.slices[0], name="kept", drop=0.0)
    small = dataclasses.replace(slices.slices[0], name="small", p=None)
    left = dataclasses.replace(slices, judged=1, not_judged=1, slices=(kept, small))
    assert not any("worst first" in row[0] for row in cells(validate_markdown(changed(report, slices=left))))
    many = tuple(dataclasses.replace(slices.slices[0], name=str(index)) for index in range(9))
    lost = dataclasses.replace(slices, judged=9, not_judged=0, slices=many)
    rows = cells(validate_markdown(changed(report, slices=lost)))
    assert [row[0] for row in rows if row[0].isdigit()] == ["0", "1", "2", "3", "4"]


def test_what_else_an_accuracy_may_have(judged):
    report, _ = judged
    rows = cells(
        validate_markdown(
            dataclasses.replace(
                changed(report, top5=Pair(0.5, 0.75, 0.25), perplexity=Pair(12.0, 10.0, 0.2), slices=None),
                latency=None,
                findings=(),
            )
        )
    )
    assert rows[0] == ["accuracy", "found", "reference"]
    assert [row[0].split(" of ")[0] for row in rows[-2:]] == ["top-5", "perplexity"]
    assert [row[1:] for row in rows[-2:]] == [["50.0%", "75.0%"], ["12", "10"]]


@pytest.mark.parametrize(
    ("value", "told"),
    [(41.23, "41.2 dB"), (math.inf, "equal"), (math.nan, "broken (NaN or Inf)"), (-math.inf, "broken (NaN or Inf)")],
)
def test_decibels_that_are_none(judged, value, told):
    rows = cells(validate_markdown(changed(judged[0], sqnr_db={"a_b": value})))
    assert ["SQNR of a_b", told, ""] in rows


def test_the_command_that_asks_for_the_same(judged):
    report, config = judged
    (fence,) = [
        token
        for token in MarkdownIt("commonmark").enable("table").parse(validate_markdown(report, config))
        if token.type == "fence"
    ]
    words = shlex.split(fence.content)
    assert words[:3] == ["edgekit", "validate", str(report.source)]
    assert dict(zip(words[3::2], words[4::2], strict=True)) == {
        "--reference": str(config.reference),
        "--data": config.data,
        "--budget": config.budget,
        "--labels": str(config.labels),
        "--slices": "group",
        "--requests": "60",
    }
    assert "To repeat it" not in validate_markdown(report)


def test_warnings_are_listed(judged):
    report, _ = judged
    told = validate_markdown(dataclasses.replace(report, warnings=("one", "two: a|b")))
    assert "\n- ⚠️ one\n- ⚠️ two: a&#124;b\n" in told
