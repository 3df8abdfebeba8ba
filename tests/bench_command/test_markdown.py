"""`edgekit bench --markdown`: a summary that a pull request can show, read by a parser."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from edgekit.cli import main
from tests.latency.test_markdown import cells

# A file's name can hold anything but a slash.
HOSTILE = "a|b `c` <img src=x> [d](e)\n# f.onnx"


@pytest.fixture
def summary(small_onnx: Path, small_data: Path, tmp_path: Path, monkeypatch, capsys):
    """`summary(code, *options)` of a hostile name: its Markdown and the report."""
    shutil.copy(small_onnx, tmp_path / HOSTILE)
    shutil.copy(small_data, tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)

    def make(code: int, *options: str, data: bool = True) -> tuple[str, dict]:
        asked = [*options, *(["--data", "data.npz"] if data else []), "--cold-starts", "0"]
        with pytest.raises(SystemExit) as exit_info:
            main(["bench", HOSTILE, *asked, "--out", "r.json", "--markdown", "s.md"])
        assert exit_info.value.code == code
        capsys.readouterr()
        return Path("s.md").read_text(encoding="utf-8"), json.loads(Path("r.json").read_text())

    return make


def tokens_of(source: str):
    return MarkdownIt("commonmark").enable("table").parse(source)


def seen(source: str) -> list[str]:
    """The texts of the paragraphs and headings, without the letters of code."""
    found = [token for token in tokens_of(source) if token.type == "inline"]
    return ["".join(item.content for item in token.children if item.type != "html_inline") for token in found]


def test_a_broken_budget(summary):
    """A table of promises, one of quantiles, the machine, and the command."""
    source, report = summary(4, "--budget", "p99_ms<=0.000001", "--requests", "60")
    promises, quantiles = cells(source)[:2], cells(source)[2:]
    assert promises[0] == ["promise", "found", "at least .. at most, 95 % each", "outcome"]
    assert promises[1][0] == "p99_ms<=1e-06"
    assert promises[1][3] == "❌ FAIL"
    assert [row[0] for row in quantiles] == ["60 requests", "p50 in ms", "p90 in ms", "p99 in ms", "p99.9 in ms"]
    assert quantiles[1][1] == f"{report['p50_ms']['value']:.4g}"
    lines = seen(source)
    assert lines[0] == "❌ FAIL (ort, cpu)"
    assert lines[1].startswith(
        f"Latency of {HOSTILE} on 8 samples of data.npz, one after the other: ".replace("\n", " ")
    )
    (machine,) = [line for line in lines if line.startswith("Machine: ")]
    assert f"edgekit {report['environment']['machine']['edgekit']}" in machine
    assert len(source.splitlines()) < 50, "it is short"


def test_the_command_asks_for_the_same(summary):
    source, report = summary(0, "--fps", "500", "--requests", "60", "--allow", "busy")
    (fence,) = [token for token in tokens_of(source) if token.type == "fence"]
    words = shlex.split(fence.content)
    assert words[:3] == ["edgekit", "bench", HOSTILE.replace("\n", " ")]
    assert words[3:] == [
        *("--data", "data.npz", "--fps", "500.0", "--requests", "60"),
        *("--allow", "busy", "--cold-starts", "0"),
    ]
    assert cells(source)[-1][0] == "later than 2 ms"
    assert report["fps"] == 500


def test_what_is_doubtful_is_listed(summary):
    source, report = summary(5, "--budget", "p50_ms<=60000", "--requests", "60", data=False)
    found = seen(source)
    assert found[0].startswith("⚠️ INCONCLUSIVE")
    assert cells(source)[1][3].startswith("⚠️ INCONCLUSIVE, ")
    for warning in report["warnings"]:
        assert f"⚠️ {warning}" in found


def test_offline_says_how_many_and_no_quantiles(summary):
    source, _ = summary(0, "--mode", "offline", "--requests", "60")
    assert cells(source) == []
    assert "all due at once: " in seen(source)[1]
    assert seen(source)[1].endswith(" answers a second.")


def test_the_judge_stands_in_it(summary):
    pytest.importorskip("mlperf_loadgen", reason="the outside judge: pip install mlcommons-loadgen")
    source, report = summary(0, "--judge", "loadgen", "--requests", "60")
    (line,) = [line for line in seen(source) if line.startswith("An outside judge: ")]
    assert "LoadGen SingleStream of 60 queries: INVALID" in line
    assert ("both clocks agree" in line) is report["judge"]["agrees"]


def test_nothing_is_written_where_it_cannot(small_onnx, tmp_path, capsys):
    for option in ("--markdown", "--trace"):
        with pytest.raises(SystemExit) as exit_info:
            main(["bench", str(small_onnx), "--out", str(tmp_path / "r.json"), option, str(tmp_path / "r.json")])
        assert exit_info.value.code == 1
        assert "expected OUT to be another file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
