"""`edgekit bench --html`: one page that a person can send on, with the numbers of the report and the worst of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekit.bench.page import bench_page
from edgekit.budget import INCONCLUSIVE
from edgekit.cli import main
from edgekit.latency import Doubt, Interval
from edgekit.latency.cold_start import Start
from edgekit.latency.conditions import Moment
from edgekit.latency.idle import IdleGap
from edgekit.latency.soak import Soak, Window, drift
from tests.bench_command.reports import CONDITIONS, MACHINE, made
from tests.html_checks import Page
from tests.pages.drawn import Drawn

TIME, QUANTILE = "Latency over time", "Latency by quantile"
LARGEST = 200_000  # bytes
HOSTILE = "</svg></table><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def seeded(count: int) -> np.ndarray:
    return np.random.default_rng(1).lognormal(0.5, 0.3, count)


def soak(count: int, celsius: bool = True) -> Soak:
    """Windows of 60 s that get slower and warmer."""
    windows = tuple(
        Window(60.0 * n, 6000, 2 + n / count, 4.0 + (n % 7), 9.0, 40 + 20 * n / count if celsius else None)
        for n in range(count)
    )
    return Soak(60.0, windows, drift([(window.begin_s, window.p50_ms) for window in windows[:100]]))


def test_a_real_run(small_onnx: Path, small_data: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_onnx, "a<b>.onnx")
    asked = ["--data", str(small_data), "--fps", "400", "--requests", "200", "--budget", "p90_ms<=60000,p50_ms<=1e-9"]
    with pytest.raises(SystemExit) as exit_info:
        main(["bench", "a<b>.onnx", *asked, "--cold-starts", "0", "--html", "p.html", "--out", "r.json", "--json"])
    assert exit_info.value.code == 4
    table, source = json.loads(capsys.readouterr().out), Path("p.html").read_text(encoding="utf-8")
    found = Page(source)
    assert found.faults == []
    assert len(source.encode()) < LARGEST
    said = found.text()
    assert said.startswith("a<b>.onnx: latency a<b>.onnx: latency on ort, cpu (an ONNX file); measured on 8 samples")
    assert "FAIL on ort, cpu" in said
    assert "p50_ms<=1e-09 FAIL" in said
    assert "not there: h2d, d2h, onnxruntime's CPU computes in the host's memory" in said
    assert table["environment"]["digests"]["model"] in said
    latencies = np.array(table["latencies_ms"])
    assert len(table["worst"]) == 10
    assert [item["index"] for item in table["worst"]] == np.argsort(-latencies, kind="stable")[:10].tolist()
    worst = table["worst"][0]
    assert worst["stages"].keys() == {"wait", "pre", "compute"}
    assert sum(worst["stages"].values()) <= worst["latency_ms"] == pytest.approx(latencies.max())
    marks = Drawn(source, TIME).marks("worst")
    assert max(value for _, value in marks) == pytest.approx(latencies.max(), rel=3e-3)
    assert Drawn(source, QUANTILE).marks("interval")[0][1] == pytest.approx(
        np.quantile(latencies, 0.5, method="inverted_cdf"), rel=3e-3
    )


def test_a_hundred_thousand_requests_are_a_small_page_with_the_worst_of_them():
    compute = seeded(100_000)
    compute[61_234] = 70.0
    many = replace(
        made(compute)[0],
        soak=soak(2000),
        starts=tuple(Start(n / 7, 0.1, 0.1, 90.0) for n in range(1000)),
        warnings=("&" * 5000,) * 500,
        doubts=(Doubt("busy", "&" * 5000),) * 200,
        data="&" * 50_000,
        shapes={f"input_{n}": (1, n) for n in range(3000)},
        environment=replace(
            CONDITIONS, after=replace(CONDITIONS.after, clocks_mhz={f"{'&' * 50}cpu{n}": n for n in range(4096)})
        ),
    )
    report, run = made(compute, "p50_ms<=2,p90_ms<=4,p99_ms<=9,p999_ms<=15,deadline_miss<=0.01,jitter_ms<=7")
    many = replace(many, findings=report.findings)
    source = bench_page(many, run)
    assert len(source.encode()) < LARGEST
    assert Page(source).faults == []
    assert "61,234" in source
    at, value = max(Drawn(source, TIME).marks("worst"), key=lambda mark: mark[1])
    assert (at, value) == pytest.approx((612.34, 70.75), rel=3e-3)
    assert max(high for *_, high in Drawn(source, TIME).columns()) == pytest.approx(70.75, rel=3e-3)
    assert Drawn(source, QUANTILE).line()[-1][1] == pytest.approx(70.75, rel=3e-3)


def test_one_sees_where_the_slowest_spent_their_time():
    compute = [1.0] * 300
    compute[123] = 9.0
    source = bench_page(*made(compute))
    row = "123 9.75 compute, 92% {} 1.230 0.5 0.25 9"
    assert row.format("wait pre compute") in Page(source).text()
    texts = Page(source).text()
    assert "wait 0.5 ms pre 0.25 ms compute 1.027 ms" in texts, "the means, which add up"


def test_who_still_waited_has_no_stages():
    report, run = made([1.0] * 50 + [500.0] * 3, answered=50)
    found = Page(bench_page(report, run)).text()
    assert "50 500.8 still waited at the end" in found
    assert "53, of which 50 were answered" in found


@pytest.mark.parametrize("compute", [[2.0], [2.0] * 400, seeded(7).tolist()])
@pytest.mark.parametrize("budget", ["", "p99_ms<=5,jitter_ms<=1"])
def test_one_request_all_alike_and_no_budget(compute, budget):
    source = bench_page(*made(compute, budget))
    assert Page(source).faults == []
    assert ("Nothing was promised." in source) == (not budget)
    assert "nan" not in Page(source).text().replace("nanoseconds", "")


def test_offline_has_no_latency_of_single_requests():
    report, run = made(seeded(60), mode="offline", fps=100.0)
    report = replace(
        report, fps=None, deadline_ms=None, utilisation=None, summary=replace(report.summary, deadline_miss=None)
    )
    source = bench_page(report, run)
    assert Page(source).faults == []
    assert "All requests were due at once" in source
    assert TIME not in source
    assert "The slowest" not in source
    assert "closed loop" not in source
    assert "all of the time, in a closed loop" in bench_page(*made(seeded(60), mode="closed"))


def test_no_stages_and_no_starts():
    source = bench_page(
        *made([1.0] * 20, stages={}, worst=tuple(replace(item, stages={}) for item in made([1.0] * 20)[0].worst))
    )
    assert Page(source).faults == []
    assert "No stages were timed." in source
    assert "No new process was started" in source


def test_heat_of_a_soak_is_drawn_and_else_told():
    compute, windows = [1.0] * 6000, soak(10).windows
    windows = tuple(replace(window, begin_s=window.begin_s / 10) for window in windows)
    found = soak(10)
    report, run = made(compute, soak=replace(found, window_s=6.0, windows=windows), mode="soak")
    source = bench_page(report, run)
    line = Drawn(source, "Temperature").line("l-s1")
    assert line == [
        pytest.approx((min(window.begin_s + 6, 59.99), window.celsius), rel=3e-3, abs=0.05) for window in windows
    ]
    assert "Drift of the median: +" in source
    assert "% an hour" not in source
    assert "% an hour" in bench_page(replace(report, duration_s=600.0), run)
    cold = bench_page(*made(compute, soak=soak(10, celsius=False), mode="soak"))
    assert "Temperature: not known" in cold
    warm = Moment(0.1, {"cpu": 51.25}, None, {"gpu": 1300}, {"oc1": 2}, ())
    told = Page(
        bench_page(
            *made(compute, environment=replace(CONDITIONS, before=warm, after=replace(warm, celsius={"cpu": 55})))
        )
    )
    assert "51.2 °C before, 55.0 °C after" in told.text()
    assert "gpu, MHz 1,300 1,300 slowed down by oc1, times 2 2" in told.text()


def test_pauses_and_new_processes():
    gap = IdleGap(0.5, 20, Interval(8.0, 7.5, 8.25), Interval(2.0, 1.9, 2.1), 4.0)
    starts = (Start(0.5, 0.2, 0.05, 93.5), Start(0.75, 0.3, 0.05, 94.0))
    found = Page(bench_page(*made([1.0] * 20, idle_gap=gap, starts=starts))).text()
    assert "4.00 times as long after a pause" in found
    assert "7.5 .. 8.25 ms" in found
    assert "start 1 0.75 0.4 0.3 0.05 94" in found


def test_the_bound_other_models_and_a_judge():
    """What these rooms tell in lines of their own, in a few words and bars."""
    lines = ("work: 390 MFLOP", "  bound 1.25 ms")
    floor = SimpleNamespace(lines=lambda: lines, bound_ms=1.25, least_ms=1.5, measured_ms=2.5)
    other = SimpleNamespace(
        source=Path("b.onnx"), fps=15.0, answered=99, per_s=14.5, summary=made([3.0] * 9)[0].summary
    )
    judge = SimpleNamespace(lines=lambda: ["LoadGen says 2 ms"], agrees=False)
    found = Page(bench_page(*made([1.0] * 20, floor=floor, company=(other,), judge=judge)))
    assert found.faults == []
    assert "least that is possible 1.25 ms fastest 1.5 ms p50 2.5 ms" in found.text()
    assert "work: 390 MFLOP; bound 1.25 ms" in found.text()
    assert "b.onnx 15 a second 99 14.5 3.75 3.75" in found.text()
    assert "An outside judge LoadGen says 2 ms" in found.text()
    floor.bound_ms = None
    assert "least that is possible" not in bench_page(*made([1.0] * 20, floor=floor))


def test_doubts_say_whether_they_are_allowed_and_are_not_told_twice():
    doubts = (Doubt("busy", "it is busy"), Doubt("hot", "it is hot"))
    warnings = ("it is busy (--allow busy)", "it is hot", "something else")
    report, run = made([1.0] * 20, budget="p50_ms<=9", doubts=doubts, allowed=("hot",), warnings=warnings)
    found = Page(bench_page(report, run)).text()
    assert "busy it is busy changed nothing here hot it is hot allowed something else" in found
    doubted = replace(report.findings[0], outcome=INCONCLUSIVE, doubts=("busy",))
    held = Page(bench_page(replace(report, findings=(doubted,)), run)).text()
    assert "0 of 1 promises hold, 1 is undecided." in held
    assert "busy it is busy keeps a PASS back hot it is hot allowed something else" in held.replace("! ", "")
    assert found.count("it is busy") == found.count("it is hot") == 1


def test_a_hostile_name_stays_a_text_wherever_it_stands():
    machine = replace(MACHINE, gpus=(HOSTILE,), gpu_users=(HOSTILE,), packages={HOSTILE: HOSTILE}, power_mode=HOSTILE)
    moment = Moment(0.1, {HOSTILE: 50.0}, None, {HOSTILE: 5}, {HOSTILE: 1}, ())

    def source(text: str) -> str:
        conditions = replace(CONDITIONS, machine=machine, before=moment, after=moment, digests={text: text})
        changes = dict.fromkeys(("device", "reason", "data"), text)
        told = {"warnings": (text,), "doubts": (Doubt("busy", text),), "absent_stages": {"post": text}}
        names = {"source": Path(text.replace("/", "")), "shapes": {text: (1,)}}
        return bench_page(*made([1.0] * 20, "p99_ms<=5", environment=conditions, **changes, **told, **names))

    found, plain = Page(source(HOSTILE)), Page(source("plain"))
    assert found.faults == []
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert found.count("script") == 1


SCHEMES, SIZES = ("light", "dark"), ({"width": 1280, "height": 900}, {"width": 390, "height": 844})


@pytest.mark.slow
def test_both_themes_at_a_desk_and_on_a_phone(chromium, tmp_path):
    """In a browser: nothing is asked for or complained about, nothing is wider than the screen, no text is cut."""
    compute = seeded(3000)
    compute[1000] = 90.0
    starts, gap = (Start(0.5, 0.2, 0.05, 93.5),), IdleGap(0.5, 20, Interval(8, 7, 9), Interval(2, 1, 3), 4.0)
    doubts = (Doubt("made-up-inputs", "no real inputs were given: --data has them"),)
    budget = "p50_ms<=2,p99_ms<=9,p999_ms<=10,deadline_miss<=0.01"
    report, run = made(compute, budget, starts=starts, idle_gap=gap, doubts=doubts, source=Path("a" * 150))
    file = tmp_path / "page.html"
    file.write_text(bench_page(report, run), encoding="utf-8")
    for scheme in SCHEMES:
        for size in SIZES:
            context = chromium.new_context(viewport=size, color_scheme=scheme)
            tab, asked, complaints = context.new_page(), [], []
            tab.on("request", lambda request, asked=asked: asked.append(request.url))
            tab.on("console", lambda message, complaints=complaints: complaints.append(message.text))
            tab.on("pageerror", lambda error, complaints=complaints: complaints.append(str(error)))
            tab.goto(file.as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") == size["width"]
            ends = tab.locator(".plot text").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
            assert len(ends) > 20
            assert all(end["left"] >= 0 and end["right"] <= size["width"] for end in ends), "no text of a plot is cut"
            assert min(end["height"] for end in ends) >= 11
            light = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert light == (scheme == "light")
            tab.locator("thead button:visible").first.click()
            assert asked == [file.as_uri()]
            assert complaints == []
            context.close()
