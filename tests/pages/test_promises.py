"""A verdict and its promises, as a person reads them."""

from __future__ import annotations

import math

import pytest

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Finding, Limit
from edgekit.pages import page, section, write_page
from edgekit.pages.promises import exact, promises, sortable, verdict_banner, warned
from tests.html_checks import Page

P99 = Limit("p99_ms", "<=", 20.0, "latency")
SQNR = Limit("sqnr_db", ">=", 30.0, "accuracy")


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (Finding(P99, PASS, 12.0, 11.5, 13.25), "p99_ms<=20 PASS 12 11.5 .. 13.25 –"),
        (Finding(P99, FAIL, 32.0, 31.0, math.inf), "p99_ms<=20 FAIL 32 31 .. ∞ –"),
        (
            Finding(P99, INCONCLUSIVE, 19.0, 0.0, math.inf, 1234),
            "p99_ms<=20 INCONCLUSIVE 19 0 .. ∞ about 1,234 more samples",
        ),
        (
            Finding(P99, INCONCLUSIVE, 20.0, 0.0, 21.0),
            "p99_ms<=20 INCONCLUSIVE 20 0 .. 21 no number of samples decides",
        ),
        (
            Finding(P99, INCONCLUSIVE, 9.0, 8.0, 9.5, doubts=("busy", "hot")),
            "INCONCLUSIVE 9 8 .. 9.5 in doubt: busy, hot",
        ),
        (Finding(SQNR, PASS, math.inf, math.inf, math.inf), "sqnr_db>=30 PASS ∞ exact –"),
        (Finding(SQNR, FAIL, math.nan, math.nan, math.nan), "sqnr_db>=30 FAIL no number (NaN) exact –"),
        (Finding(SQNR, FAIL, -math.inf, -math.inf, -math.inf), "sqnr_db>=30 FAIL -∞ exact –"),
        (Finding(SQNR, PASS, 31.0, 31.0, 31.0, where="label <b>"), "sqnr_db>=30 PASS 31 exact – label <b>"),
    ],
)
def test_each_promise_with_what_was_found(finding, said):
    found = Page(promises([finding]).text)
    assert found.faults == []
    assert said in found.text()
    tone = {PASS: "t-good", FAIL: "t-bad", INCONCLUSIVE: "t-warn"}[finding.outcome]
    assert [cell["class"] for tag, cell in found.tags if tag == "td" and "t-" in (cell.get("class") or "")] == [tone]
    assert ("what is missing found in" in found.text()) == bool(finding.where)


@pytest.mark.parametrize(
    ("verdict", "findings", "said", "tone"),
    [
        ("PASS (ort, cpu)", [Finding(P99, PASS, 1, 1, 1)], "PASS on ort, cpu 1 of 1 promises hold.", "banner t-good"),
        ("FAIL (trt, Orin)", [Finding(P99, FAIL, 1, 1, 1)], "FAIL on trt, Orin 0 of 1 promises hold.", "banner t-bad"),
        ("INCONCLUSIVE (a (b))", [Finding(P99, INCONCLUSIVE, 1, 1, 1)], "INCONCLUSIVE on a (b)", "banner t-warn"),
        (
            "PASS (trt, Orin (nvgpu)); engine rtx sm86: not run",
            [Finding(P99, PASS, 1, 1, 1)],
            "PASS on trt, Orin (nvgpu); engine rtx sm86: not run 1 of 1",
            "banner t-good",
        ),
        ("measured (ort, cpu)", [], "measured on ort, cpu Nothing was promised.", "banner"),
    ],
)
def test_the_verdict_stands_first_and_large(verdict, findings, said, tone):
    found = Page(verdict_banner(verdict, findings).text)
    assert found.text().startswith(said)
    assert found.tags[0] == ("div", {"class": tone})
    assert found.tags[1][0] == "strong"


def test_numbers():
    assert [exact(value) for value in (0.01234, 12345.6, 3e20, -0.5, math.inf)] == [
        "0.01234",
        "12,346",
        "3e+20",
        "-0.5",
        "∞",
    ]
    assert sorted((3.0, math.inf, math.nan, -math.inf), key=sortable)[2:] == [3.0, math.inf]
    assert all(math.isfinite(sortable(value)) for value in (math.inf, math.nan, -math.inf))


def test_of_very_many_a_part():
    assert len(promises([Finding(P99, PASS, 1, 1, 1)] * 5000).text) < 30_000
    many = warned(["w" * 10_000] * 5000).text
    assert len(many) < 60_000
    assert "4976 more stand in the report alone" in many
    assert promises([]).text == warned([]).text == ""


def test_on_a_phone_no_cell_is_out_of_sight(chromium, tmp_path):
    out = tmp_path / "page.html"
    broken = Finding(P99, INCONCLUSIVE, 19.0, 0.0, math.inf, 1234, where="label of a long name, which breaks")
    table = promises([broken, Finding(SQNR, PASS, 31.0, 31.0, 31.0)])
    write_page(out, page("a page", [section("Promises", table)]))
    with chromium.new_context(viewport={"width": 390, "height": 844}) as context:
        tab = context.new_page()
        tab.goto(out.as_uri())
        boxes = [cell.bounding_box() for cell in tab.locator(".stacks tbody td, .stacks tbody th").all()]
        assert len(boxes) == 2 * 6
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
        lines = tab.locator(".stacks tbody tr").first.locator("td").all()
        named = [line.evaluate("one => getComputedStyle(one, '::before').content") for line in lines]
        assert '"found"' in named, named
