"""Summaries in Markdown as a CommonMark parser with tables reads them: nobody's name breaks out of its place."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from markdown_it import MarkdownIt

from edgekit.budget import Finding, parse_budget
from edgekit.configs import BenchConfig, QuantizeConfig
from edgekit.latency import summarise
from edgekit.latency.markdown import (
    command_block,
    command_line,
    name,
    page,
    promises,
    quantiles,
    remarks,
    table,
    text,
    verdict_line,
)

HOSTILE = [
    "a|b",
    r"a\|b",
    "a\\",
    "`a`",
    "a``` b",
    "<img src=x onerror=alert(1)>",
    "</code><script>",
    "**bold** _it_ ~~no~~",
    "[x](http://evil)",
    "![x](http://evil)",
    "&lt;b&gt; &#124;",
    "https://evil.example/x www.evil.example",
    "- item",
    "# head",
    "1. one",
    "> quote",
    "$x$ #12 @octocat",
    "é 日本 😀",
]


def parsed(source: str):
    return MarkdownIt("commonmark").enable("table").parse(source)


def cells(source: str) -> list[list[str]]:
    """What a reader sees in the cells of the tables, row by row."""
    rows: list[list[str]] = []
    for token, after in zip((tokens := parsed(source)), [*tokens[1:], None], strict=True):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            rows[-1].append(shown(after))
    return rows


def shown(inline) -> str:
    """The text of an inline token, which may hold the letters of code and nothing else."""
    kinds = {child.type for child in inline.children} - {"text", "text_special"}
    assert kinds <= {"html_inline"}, "text is nothing but text"
    tags = [child.content for child in inline.children if child.type == "html_inline"]
    assert set(tags) <= {"<code>", "</code>"}
    return "".join(child.content for child in inline.children if child.type != "html_inline")


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("way", [text, name])
def test_a_hostile_name_is_read_as_it_is(way, value):
    assert not set("<>`*_[]|\\~$@") & set(way(value).removeprefix("<code>").removesuffix("</code>"))
    lines = page(table(["head", "other"], [[way(value), "1"], ["2", way(value)]]))
    assert cells(lines) == [["head", "other"], [value, "1"], ["2", value]]
    (paragraph,) = [token for token in parsed(f"It is {way(value)}.") if token.type == "inline"]
    assert shown(paragraph) == f"It is {value}."
    (heading,) = [token for token in parsed(verdict_line(f"PASS {value}")) if token.type == "inline"]
    assert shown(heading) == f"✅ PASS {value}"
    tokens = parsed(page(remarks([value])))
    assert [token.type for token in tokens if token.type.endswith("_open")] == [
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
    ]


def test_no_link_and_no_person_is_left_for_github_to_find():
    """Its links need no brackets, and a name after @ is called."""
    for value in ("https://evil.example", "www.evil.example", "WWW.evil.example", "@octocat", "#12"):
        assert value not in text(value)
    assert text("PASS (ort, cpu): not run") == "PASS (ort, cpu): not run", "and what is harmless stays readable"


@pytest.mark.parametrize("value", ["a\nb", "a\r\n\r\n# b", "a\u2028b", "a\x00b", "a\u202eb", "a\tb"])
def test_one_line_stays_one_line(value):
    assert "\n" not in text(value)
    assert text(value).isprintable()
    assert cells(page(table(["h"], [[text(value)]])))[1][0].replace(" ", "").startswith("a")


def test_a_long_one_is_cut():
    assert text("x" * 300) == "x" * 300
    assert text("x" * 301) == "x" * 299 + "…"
    assert len(cells(page(table(["h"], [[text("|" * 1000)]])))[1][0]) == 300


@pytest.mark.parametrize(
    ("verdict", "sign"), [("PASS (x)", "✅"), ("FAIL", "❌"), ("INCONCLUSIVE (x)", "⚠️"), ("measured (x)", "📏")]
)
def test_the_sign_is_seen_first(verdict, sign):
    assert verdict_line(verdict) == f"### {sign} {verdict}"


def test_promises():
    first, second, third = parse_budget("p99_ms<=20,sqnr_db>=30,worst_slice_drop<=0.01")
    rows = cells(
        page(
            promises(
                [
                    Finding(first, "INCONCLUSIVE", 12.3456, 11.0, float("inf"), doubts=("busy", "hot")),
                    Finding(second, "FAIL", 20.0, 20.0, 20.0),
                    Finding(third, "INCONCLUSIVE", 0.5, 0.5, 0.5, 12, "label a|b"),
                ]
            )
        )
    )
    assert rows == [
        ["promise", "found", "at least .. at most, 95 % each", "outcome"],
        ["p99_ms<=20", "12.35", "11 .. inf", "⚠️ INCONCLUSIVE, in doubt: busy, hot"],
        ["sqnr_db>=30", "20", "", "❌ FAIL"],
        ["worst_slice_drop<=0.01", "0.5 in label a|b", "", "⚠️ INCONCLUSIVE, about 12 samples missing"],
    ]
    assert promises([]) == []


def test_quantiles():
    latencies = np.arange(1, 101.0)
    rows = cells(page(quantiles(summarise(latencies, 90.0), 90.0)))
    assert rows[0] == ["100 requests", "found", "95 % interval"]
    assert [row[:2] for row in rows[1:]] == [
        ["p50 in ms", "50"],
        ["p90 in ms", "90"],
        ["p99 in ms", "99"],
        ["p99.9 in ms", "100"],
        ["later than 90 ms", "10.00%"],
    ]
    assert rows[1][2] == summarise(latencies).p50_ms.ends
    assert len(cells(page(quantiles(summarise(latencies), None)))) == 5


def test_the_command_that_asks_for_the_same():
    config = BenchConfig("my data.npz", fps=30.0, allow=("busy", "hot"), judge="loadgen", raw="raw.npz")
    words = shlex.split(command_line("bench", "a b.onnx", config, ["raw"]))
    assert words[:4] == ["edgekit", "bench", "a b.onnx", "--data"]
    assert words[4:] == ["my data.npz", "--fps", "30.0", "--allow", "busy", "--allow", "hot", "--judge", "loadgen"]
    switches = QuantizeConfig(per_channel=False, residual=True)
    assert command_line("quantize", "m.onnx", switches, []) == "edgekit quantize m.onnx --no-per-channel --residual"


@pytest.mark.parametrize("source", ["```\n# out", "a`b", "````", "x\ny", "~~~", "<b>", "$(reboot)"])
def test_a_command_stays_in_its_fence(source):
    command = command_line("bench", source, BenchConfig(), [])
    fences = [token for token in parsed(page(command_block(command))) if token.type == "fence"]
    assert [token.content for token in fences] == [command + "\n"]
    assert shlex.split(command)[2] == source.replace("\n", " ")
    assert [token.type for token in parsed(page(command_block(command)))][-1] == "fence"
