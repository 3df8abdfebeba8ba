"""Pages are whole, harmless and readable by people and programs alike."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import OutputError
from edgekit.pages import (
    Bar,
    Cell,
    Html,
    Row,
    badge,
    bars,
    columns,
    facts,
    meter,
    notes,
    page,
    section,
    size,
    stacked_bar,
    swatch,
    table,
    tiles,
    write_page,
)
from tests.html_checks import Page

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def everything(text: str) -> str:
    """A page with `text` in every place that takes one."""
    items = [Bar(text, 2, text, text), Bar("b", 1, "", "fp16")]
    parts = [
        text,
        badge(text, "good"),
        notes([text], "warn"),
        facts(
            {text: text, "more": {text: [text, {text: text}]}, "list": [text], "none": None, "cell": Cell(text, "bad")}
        ),
        tiles({text: text}),
        table(text, (text, "n"), [Row((text, 1), "bad"), (Cell(text, "warn", 3.5, text), 2)], wide=(text,)),
        stacked_bar(text, {text: 1, "fp16": 3}, ("fp16",), {text: text}),
        bars(text, items, (text,)),
        columns(text, (text, items), (text, items), (text,)),
        swatch(text, (text,)),
    ]
    return page(text, [section(text, *parts)], text)


def test_a_page_is_well_formed_and_fetches_nothing():
    found = Page(everything("plain"))
    assert found.faults == []
    assert found.source.startswith('<!DOCTYPE html>\n<html lang="en">')


def test_a_hostile_text_stays_a_text_everywhere():
    found, plain = Page(everything(HOSTILE)), Page(everything("plain"))
    assert found.faults == []
    # The very same elements, so none came out of the text; and the text is there to be read, whole.
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.text().count(HOSTILE) == plain.text().count("plain")


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_shown_and_written(text):
    source = everything(text)
    assert Page(source).faults == []
    assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", source)
    source.encode("utf-8")


def test_only_the_pages_own_style_and_script_may_run():
    source = everything("plain")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', source)[1].replace("&#x27;", "'")
    for tag in ("style", "script"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # A style attribute would be refused by that policy.
    assert not any("style" in attributes for _, attributes in Page(source).tags)


def test_a_table_names_its_rows_and_columns_and_what_to_sort_by():
    found = Page(
        table("Nodes", ("#", "node", "bytes"), [(0, "a", Cell("2 kB", sort=2000)), (1, "b", None)], header=1).text
    )
    assert found.faults == []
    heads = [attributes for tag, attributes in found.tags if tag == "th"]
    assert [head["scope"] for head in heads] == ["col", "col", "col", "row", "row"]
    # Numbers and what has a number behind it stand to the right, also beside what is not known.
    assert [head.get("class") for head in heads[:3]] == ["n", None, "n"]
    cells = [attributes for tag, attributes in found.tags if tag == "td"]
    assert [cell.get("data-v") for cell in cells] == [None, "2000", None, None]
    assert "not known" in found.text()
    assert found.count("caption") == 1


def test_tones_mark_cells_and_rows():
    text = table("T", ("a", "b"), [Row(("x", Cell("no", "bad")), "warn"), ("y", Cell("yes", "good"))]).text
    assert '<tr class="t-warn">' in text
    assert '<td class="t-bad">no</td>' in text
    assert '<td class="t-good">yes</td>' in text
    with pytest.raises(ValueError, match="'lovely'"):
        badge("x", "lovely")


def test_parts_of_a_stacked_bar_fill_it_in_their_shares():
    found = Page(stacked_bar("Work", {"fp16": 6, "fp32": 2, "none": 0}, ("fp32", "fp16")).text)
    boxes = [(box["class"], box["x"], box["width"]) for tag, box in found.tags if tag == "rect"]
    assert boxes == [("s1", "0%", "75%"), ("s0", "75%", "25%"), ("s-none", "100%", "0%")]
    assert "fp16 75.0 %" in found.text()
    assert (found.count("title"), found.count("desc")) == (4, 1)
    assert stacked_bar("Work", {"fp16": 0}).text == ""


def test_bars_are_as_long_as_their_values():
    found = Page(bars("B", [Bar("a", 4), Bar("b", 1), Bar("c", 0)]).text)
    assert [box["width"] for tag, box in found.tags if tag == "rect"] == ["100%", "25%"]
    assert [Page(meter(value).text).tags[-1][1]["width"] for value in (0.5, 7)] == ["50%", "100%"]


def test_columns_grow_up_and_down_to_their_own_scales():
    upper = [Bar("a", 10, "10 M"), Bar("b", 5, "5 M")]
    found = Page(columns("C", ("work", upper), ("weights", [Bar("a", 1, "1 kB"), Bar("b", 0)]), ()).text)
    boxes = [(box["x"], float(box["y"]), float(box["height"])) for tag, box in found.tags if tag == "rect"]
    assert boxes == [("0%", 0, 100), ("50%", 50, 50), ("0%", 102, 100)]
    assert "work, at the most 10 M" in found.text()


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    out = tmp_path / "new" / "a.html"
    write_page(out, everything("ß → ✓"))
    assert "ß → ✓" in out.read_text(encoding="utf-8")
    assert list(out.parent.iterdir()) == [out]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_page(tmp_path / "file" / "a.html", "x")


SIZES = {
    None: "not known",
    0: "0 bytes",
    999: "999 bytes",
    1000: "1 kB",
    25_096: "25.1 kB",
    999_600: "1 MB",
    51_433_180: "51.4 MB",
    2 * 10**15: "2,000 TB",
}


@pytest.mark.parametrize(("count", "said"), SIZES.items())
def test_sizes(count, said):
    assert size(count) == said


def test_markup_is_only_what_the_room_made():
    assert section("S", Html("<b>x</b>"), "<b>").text == "<section><h2>S</h2><b>x</b><p>&lt;b&gt;</p></section>"
