"""What only `bench` measures, as pieces of a page: stages, pauses, new processes, windows of a soak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgekit.bench.report import BenchReport
from edgekit.latency.beside import CompanyReport
from edgekit.latency.cold_start import Start
from edgekit.latency.floors import Floor
from edgekit.latency.idle import IdleGap
from edgekit.latency.soak import Soak, Window
from edgekit.latency.stages import STAGES, StageSummary, absent_stages
from edgekit.pages import Bar, Cell, Html, Value, bars, facts, joined, notes, paragraph, stacked_bar, table
from edgekit.pages.promises import exact, sortable

_MOST = 40  # rows, so that a page stays small
_MOST_OF_A_REASON, _MOST_OF_A_TEXT = 300, 900


def stages_figure(report: BenchReport) -> Html:
    """Where the time goes: the means, which add up, then p50 and p99 of each stage, and why one is not there."""
    if not report.stages:
        return paragraph("No stages were timed.")
    means = {name: stage.mean_ms for name, stage in report.stages.items()}
    texts = {name: f"{exact(value)} ms" for name, value in means.items()}
    return joined(
        stacked_bar(
            "Mean of each stage; together they are the mean latency of what was answered", means, STAGES, texts
        ),
        bars("p50 and p99 of each stage", list(_stage_bars(report.stages)), ("p50", "p99")),
        _stages_table(report.stages),
        notes(_absent(report.absent_stages), "unknown"),
        _on_device(report),
    )


def floor_figure(floor: Floor) -> Html:
    """What no inference on this device can go below, beside what was measured; without a bound the work alone."""
    told = paragraph("; ".join(line.strip() for line in floor.lines())[:_MOST_OF_A_TEXT])
    if not floor.bound_ms:
        return told
    times = {"least that is possible": floor.bound_ms, "fastest": floor.least_ms, "p50": floor.measured_ms}
    items = [
        Bar(name, value, f"{exact(value)} ms", "bound" if value is floor.bound_ms else "measured")
        for name, value in times.items()
    ]
    return joined(bars("Compute: bound beside measured", items, ("measured", "bound")), told)


def company_figure(company: Sequence[CompanyReport]) -> Html:
    """The other models that ran meanwhile."""
    rows: list[tuple[Cell | Value, ...]] = [
        (
            str(item.source)[:_MOST_OF_A_REASON],
            "one after the other" if item.fps is None else f"{item.fps:g} a second",
            item.answered,
            *map(_cell, (item.per_s, item.summary.p50_ms.value, item.summary.p99_ms.value)),
        )
        for item in company[:_MOST]
    ]
    heads = ("model", "requests", "answers", "answers a second", "p50, ms", "p99, ms")
    return table("Other models that ran meanwhile", heads, rows, wide=("model",))


def starts_figure(starts: tuple[Start, ...], peak_rss_mib: float) -> Html:
    """What a new process took to its first answer, the slowest first, and how much memory it needed."""
    if not starts:
        return paragraph(f"No new process was started; this one had at most {peak_rss_mib:,.0f} MiB of memory.")
    shown = sorted(starts, key=lambda start: -start.seconds)[:_MOST]
    rows = [
        [_cell(value) for value in (start.seconds, _of_python(start), start.open_s, start.first_s, start.peak_rss_mib)]
        for start in shown
    ]
    heads = ("to the first answer, s", "Python, s", "opening, s", "first inference, s", "most memory, MiB")
    caption = f"New processes, the slowest first: {len(shown)} of {len(starts)}"
    return table(caption, ("", *heads), [[f"start {number}", *row] for number, row in enumerate(rows, 1)])


def idle_figure(gap: IdleGap) -> Html:
    """The first request after a pause beside settled ones."""
    found = {f"first after a pause of {gap.pause_s:g} s": gap.first_ms, "settled": gap.settled_ms}
    items = [Bar(name, item.value, f"{exact(item.value)} ms", "p50") for name, item in found.items()]
    ends = {name: f"{exact(item.low)} .. {exact(item.high)} ms" for name, item in found.items()}
    told = f"{gap.slower:.2f} times as long after a pause, by the medians of {gap.pauses}; with 95 % confidence:"
    return joined(bars("Median latency", items), paragraph(told), facts(ends))


def soak_figure(soak: Soak, duration_s: float) -> Html:
    """How it drifted, and its windows; of very many those with the largest p99, in the order of time."""
    clear = "it is clear" if soak.drift.is_clear else "no clear drift"
    told = f"Drift of the median: {soak.drift.words(duration_s)}; {clear}."
    slow = sorted(soak.windows, key=lambda window: -window.p99_ms)[:_MOST]
    shown = sorted(slow, key=lambda window: window.begin_s)
    left = "" if len(shown) == len(soak.windows) else f", the {len(shown)} with the largest p99 of {len(soak.windows)}"
    heads = ("from, s", "requests", "p50, ms", "p99, ms", "largest, ms", "°C at its end")
    rows = [_window_cells(window) for window in shown]
    return joined(paragraph(told), table(f"Windows of {soak.window_s:g} s{left}", heads, rows))


def _on_device(report: BenchReport) -> Html:
    """What events on the device say of copies and engine, where there is one."""
    found = report.device_stages
    if found is None:
        return Html("")
    told = " ".join(line.strip() for line in found.lines(report.stages["compute"]))
    items = list(_stage_bars(found.stages))
    return joined(bars("On the device, by its own clock", items, ("p50", "p99")), paragraph(told[:_MOST_OF_A_TEXT]))


def _window_cells(window: Window) -> list[Cell | Value]:
    times = (window.p50_ms, window.p99_ms, window.max_ms)
    return [window.begin_s, window.n, *map(_cell, times), window.celsius]


def _stage_bars(stages: Mapping[str, StageSummary]) -> Iterator[Bar]:
    for name, stage in stages.items():
        for series, found in (("p50", stage.p50_ms), ("p99", stage.p99_ms)):
            yield Bar(f"{name} {series}", max(found.value, 0.0), f"{exact(found.value)} ms", series)


def _stages_table(stages: Mapping[str, StageSummary]) -> Html:
    rows: list[list[Cell | Value]] = [
        [
            name,
            _cell(stage.mean_ms),
            *(_cell(found.value) for found in (stage.p50_ms, stage.p90_ms, stage.p99_ms)),
            f"{exact(stage.p99_ms.low)} .. {exact(stage.p99_ms.high)}",
        ]
        for name, stage in stages.items()
    ]
    heads = ("stage, ms", "mean", "p50", "p90", "p99", "p99 with 95 % confidence")
    return table("Stages in the order of the work", heads, rows)


def _absent(reasons: Mapping[str, str]) -> Iterator[str]:
    return (f"not there: {names}, {why[:_MOST_OF_A_REASON]}" for names, why in absent_stages(reasons))


def _of_python(start: Start) -> float:
    return start.seconds - start.open_s - start.first_s


def _cell(value: float) -> Cell:
    return Cell(exact(value), sort=sortable(value))
