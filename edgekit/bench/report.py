"""What `edgekit bench` found, as a record and as JSON.

The JSON has `schema: 1`. A later schema may add keys to it; one that changes or drops a key gets another number.
Times are in the unit of their name; an infinite end of an interval is the text "inf", a value that is not there null.

* `path` (the file itself), `source`, `backend`, `device`, `reason`, `verdict`, `exit_code`, `seconds`, `warnings`
* `mode`, `fps`, `seed`, `duration_s` as asked for; `deadline_ms`, the period of `fps`
* `n` requests, the first `answered` of which were answered before the time was over; `effective_n` by quantile says how
  many independent ones they are worth; `throughput_per_s`; `utilisation`, from 1 on the queue grows without end
* `mean_ms`, `jitter_ms` (p99 - p50); `p50_ms`, `p90_ms`, `p99_ms`, `p999_ms` and `deadline_miss`, each
  {value, low, high} with 95 % confidence; `latencies_ms` of all requests in their order, from the intended start
* `stages`: {wait, pre, h2d, compute, d2h, post} -> {mean_ms, p50_ms, p90_ms, p99_ms}; `absent_stages` says why one is
  not there
* `cold_start_s`, `peak_rss_mib`: medians of processes that only open the model and answer; `starts` has each of them
* `idle_gap`: {pause_s, pauses, first_ms, settled_ms, slower}; `soak`: {window_s, windows, drift}
* `findings` for each promise of the budget: {limit, outcome, value, low, high, missing, where, doubts}; `doubts`:
  [{name, text}], `allowed`: names
* `environment`: {machine, before, after, digests}; `data`, `shapes`, `samples_file` (the .npz of raw times, or null)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.budget import Finding
from edgekit.files import write_json
from edgekit.latency import Doubt, LatencySummary
from edgekit.latency.cold_start import Start
from edgekit.latency.conditions import Conditions
from edgekit.latency.idle import IdleGap
from edgekit.latency.soak import Soak
from edgekit.latency.stages import StageSummary
from edgekit.reports import StageReport, plain

SCHEMA = 1


@dataclass(frozen=True)
class BenchReport(StageReport):
    """See the module for what the JSON has. `peak_rss_mib` is that of `starts`; without any, of this process."""

    source: Path
    verdict: str
    exit_code: int
    backend: str
    device: str
    reason: str
    mode: str
    fps: float | None
    seed: int
    duration_s: float
    deadline_ms: float | None
    summary: LatencySummary
    answered: int
    throughput_per_s: float
    utilisation: float | None
    stages: dict[str, StageSummary]
    absent_stages: dict[str, str]
    starts: tuple[Start, ...]
    idle_gap: IdleGap | None
    soak: Soak | None
    findings: tuple[Finding, ...]
    doubts: tuple[Doubt, ...]
    allowed: tuple[str, ...]
    environment: Conditions
    data: str
    shapes: dict[str, tuple[int, ...]]
    samples_file: Path | None
    latencies_ms: list[float]

    @property
    def cold_start_s(self) -> float | None:
        """The median of the starts."""
        return round(median(start.seconds for start in self.starts), 4) if self.starts else None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values, the summary among them."""
        table = plain(self)
        summary = table.pop("summary")
        return {"stage": "bench", "schema": SCHEMA, "cold_start_s": self.cold_start_s, **table, **summary}

    def write(self) -> Path:
        """The report is the output itself."""
        write_json(self.path, self.to_json())
        return self.path
