"""The page of a validation: accuracy, the worst slices first, latency; whole and small whatever the numbers are."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.budget import Finding, Limit
from edgekit.configs import ValidateConfig
from edgekit.latency import Doubt, summarise
from edgekit.validate import LatencyReport, ValidateReport, validate
from edgekit.validate.accuracy import Accuracy, Pair
from edgekit.validate.page import validate_page
from edgekit.validate.robustness import Perturbed, Robustness
from edgekit.validate.slices import Slice, Sliced
from tests.bench_command.reports import CONDITIONS
from tests.html_checks import Page
from tests.pages.drawn import Drawn

LARGEST = 200_000  # bytes
HOSTILE = "</svg></table><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
PLAIN = Accuracy({"logits": 31.25}, {"logits": 0.9991}, {"logits": 0.975})


def latency(latencies: np.ndarray, **changes: Any) -> LatencyReport:
    values: dict[str, Any] = dict.fromkeys(item.name for item in fields(LatencyReport)) | {
        "mode": "closed",
        "shapes": {"x": [1, 3]},
        "summary": summarise(latencies, changes.get("deadline_ms")),
        "environment": CONDITIONS,
        "doubts": (),
        "allowed": (),
        "latencies_ms": latencies.tolist(),
    }
    return LatencyReport(**values | changes)


def made(accuracy: Accuracy = PLAIN, **changes: Any) -> ValidateReport:
    """A report with these fields; no other is looked at."""
    values: dict[str, Any] = dict.fromkeys(item.name for item in fields(ValidateReport)) | {
        "path": Path("r.json"),
        "seconds": 1.0,
        "warnings": (),
        "source": Path("a.onnx"),
        "verdict": "PASS (ort, cpu)",
        "backend": "ort, cpu",
        "emulated": (),
        "findings": (),
        "samples": 40,
        "data": "40 samples of data.npz",
        "data_sha256": "f" * 64,
    }
    return ValidateReport(**values | {"accuracy": accuracy} | changes)


def slices(count: int, name: str = "class") -> Sliced:
    """The largest drop first, as `sliced` has them; the last one is not judged."""
    judged = [
        Slice(f"{name} {n}", 100, 100, 0.9, 0.9 - (count - n) / count / 2, (count - n) / count / 2, 9, 1, 0.01, "FAIL")
        for n in range(count)
    ]
    small = Slice(f"{name} small", 4, 4, 1.0, 0.5, 0.5, 2, 0, None, "not judged")
    return Sliced("label", True, count, 1, (*judged, small))


def test_a_real_validation(small_onnx: Path, small_data: Path, tmp_path: Path):
    """Of a model against itself: nothing is lost, and its latency has figures."""
    config = ValidateConfig(
        budget="sqnr_db>=30,agreement>=1,p50_ms<=60000",
        reference=small_onnx,
        data=str(small_data),
        requests=60,
        robustness=True,
    )
    report = validate(small_onnx, tmp_path / "r.json", config)
    source = validate_page(report)
    found = Page(source)
    assert found.faults == []
    said = found.text()
    assert "sqnr_db>=30 PASS ∞ exact" in said
    assert "logits ∞ (equal) 1.000000 100.00%" in said
    assert "brightness" in said
    assert report.data_sha256 in said
    line = Drawn(source, "Latency by quantile").line()
    assert line[-1][1] == pytest.approx(max(report.latency.latencies_ms), rel=3e-3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (31.25, "31.25 dB"),
        (math.inf, "∞ (equal)"),
        (-math.inf, "-∞ (NaN, Inf or no signal)"),
        (math.nan, "no number (NaN)"),
    ],
)
def test_any_sqnr(value, said):
    found = Page(validate_page(made(Accuracy({"y": value, "z": 90.0}, {"y": 0.5, "z": 1.0}, {}))))
    assert found.faults == []
    assert f"y {said} 0.500000" in found.text()
    first = re.search(r"farthest first.*?<tbody>.*?<th[^>]*>(.)</th>", found.source, re.DOTALL)[1]
    assert first == ("z" if value == math.inf else "y")


def test_what_labels_say():
    accuracy = replace(
        PLAIN,
        scored="logits",
        top1=Pair(0.7, 0.75, 0.05),
        top5=Pair(0.92, 0.91, -0.01),
        perplexity=Pair(21.0, 20.0, 0.05),
    )
    found = Page(validate_page(made(accuracy))).text()
    assert "top-1 70.00% 75.00% 5 points lower" in found
    assert "top-5 92.00% 91.00% 1 points higher" in found
    assert "perplexity 21 20 5 % higher" in found
    assert "No labels were given" in Page(validate_page(made())).text()
    broken = replace(accuracy, perplexity=Pair(math.nan, math.inf, math.nan))
    assert "perplexity no number (NaN) ∞" in Page(validate_page(made(broken))).text()


def test_the_worst_slices_stand_first_and_of_very_many_a_part():
    found = Page(validate_page(made(replace(PLAIN, slices=slices(3)))))
    rows = [data for tag, data in found.texts if tag == "th" and data.startswith("class")]
    assert rows == ["class 0", "class 1", "class 2", "class small"]
    assert "class 0 FAIL +50.00 40.00% 90.00% 9 1 100 0.01" in found.text()
    assert "class small not judged +50.00 50.00% 100.00% 2 0 4 not known" in found.text()
    many = Page(validate_page(made(replace(PLAIN, slices=slices(5000)))))
    assert "class 0 FAIL" in many.text()
    assert "4941 more stand in the report alone" in many.text()


def test_robustness_of_outputs_that_are_no_classes():
    robust = Robustness(
        ("x",),
        32,
        0,
        (Perturbed("none", 0.0, math.inf, None, None, None), Perturbed("noise", 0.5, 9.5, 0.5, 0.75, 0.25)),
    )
    found = Page(validate_page(made(replace(PLAIN, robustness=robust)))).text()
    assert "none ∞ (equal) not known not known not known" in found
    assert "noise 0.5 9.5 dB 50.00% 25.00% 75.00%" in found


def test_everything_large_is_a_small_page_with_the_worst_request():
    latencies = np.random.default_rng(0).lognormal(0, 0.4, 100_000)
    latencies[77_777] = 66.0
    accuracy = Accuracy({f"output {n}": float(n) for n in range(2000)}, {f"output {n}": 0.5 for n in range(2000)}, {})
    limit = Limit("worst_slice_drop", "<=", 0.01, "accuracy")
    finding = Finding(limit, "FAIL", 0.1, 0.1, 0.1, where="&" * 3000)
    report = made(
        replace(accuracy, slices=slices(3000, "&" * 400)),
        latency=latency(latencies, fps=100.0, deadline_ms=10.0, utilisation=0.5),
        warnings=("&" * 9000,) * 900,
        findings=(finding,) * 50,
        data="&" * 90_000,
    )
    source = validate_page(report)
    assert len(source.encode()) < LARGEST
    found = Page(source)
    assert found.faults == []
    assert "77,777 66" in found.text()
    assert max(Drawn(source, "Latency over time").marks("worst"), key=lambda mark: mark[1]) == pytest.approx(
        (77_777, 66), rel=3e-3
    )


def test_doubts_of_the_latency_are_told_once():
    timed = latency(np.ones(30), doubts=(Doubt("busy", "it is busy"),), allowed=("busy",))
    found = Page(validate_page(made(latency=timed, warnings=("it is busy", "other")))).text()
    assert "busy it is busy allowed other" in found
    assert found.count("it is busy") == 1
    assert "Doubts and warnings None." in Page(validate_page(made())).text()


def test_a_hostile_name_stays_a_text_wherever_it_stands():
    def source(text: str) -> str:
        names = Accuracy({text: 1.0}, {text: 1.0}, {text: 1.0}, text, Pair(1, 1, 0), slices=slices(2, text))
        changes = dict.fromkeys(("data", "backend"), text)
        return validate_page(
            made(names, source=Path(text.replace("/", "")), warnings=(text,), verdict=f"FAIL ({text})", **changes)
        )

    found, plain = Page(source(HOSTILE)), Page(source("plain"))
    assert found.faults == []
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
