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
* `device_stages`, null where no device computes: {n, cuda_graph, cuda_graph_of_requests, stages, host} of n inferences
  after the requests, one after the other; its `stages` are {h2d, compute, d2h} by events on the device, `host` what the
  host's clock says of the same inferences, from submit to completion, each with the keys of a stage above. They are
  enqueued piece by piece, which the requests need not be: no figure of the one series is a part of the other's
* `worst`: the ten slowest requests, the slowest first: {index, at_s, latency_ms, stages}; `index` counts from 0, `at_s`
  is when it was due, after the first; `stages` in ms by name, none of one that still waited when the time was over
* `floor`, null where onnx cannot infer shapes: `work` of a request, {flops by precision, least_flops, weight_bytes,
  input_bytes, output_bytes, fastest, unsized}, lower bounds but for `flops`; `achieved`: {gflops_per_s, gb_per_s};
  `measured_ms` and `least_ms` of stage compute, the median and the least; `bound_ms` of the `device`, the larger of
  `compute_ms` and `memory_ms`, `by` which, `share` of the median that it is; `source` of it, or why it is not known
* `cold_start_s`, `peak_rss_mib`: medians of processes that only open the model and answer; `starts` has each of them
* `beside`: other models that ran meanwhile, as asked for; `company`: {source, fps, answered, per_s, summary} of each
* `idle_gap`: {pause_s, pauses, first_ms, settled_ms, slower}; `soak`: {window_s, windows, drift}
* `judge`, null without --judge: {judge, scenario, queries, valid, per_s, clocks, early_stopping, errors, agrees}; both
  clocks on the same queries: {p50_ms, p90_ms, p99_ms} and early stopping, each {judge_ms, own_ms, may_differ_ms}
* `findings` for each promise of the budget: {limit, outcome, value, low, high, missing, where, doubts}; `doubts`:
  [{name, text}], `allowed`: names
* `environment`: {machine, before, after, digests}; `data`, `shapes`, `raw_file` (the .npz of raw times, or null)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.bench.judging import Judgement
from edgekit.budget import Finding
from edgekit.latency import Doubt, LatencySummary
from edgekit.latency.beside import CompanyReport
from edgekit.latency.cold_start import Start
from edgekit.latency.conditions import Conditions
from edgekit.latency.device_stages import DeviceStages
from edgekit.latency.floors import Floor
from edgekit.latency.idle import IdleGap
from edgekit.latency.soak import Soak
from edgekit.latency.stages import StageSummary
from edgekit.latency.worst import WorstRequest
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
    device_stages: DeviceStages | None
    worst: tuple[WorstRequest, ...]
    floor: Floor | None
    starts: tuple[Start, ...]
    idle_gap: IdleGap | None
    soak: Soak | None
    judge: Judgement | None
    findings: tuple[Finding, ...]
    doubts: tuple[Doubt, ...]
    allowed: tuple[str, ...]
    beside: tuple[str, ...]
    company: tuple[CompanyReport, ...]
    environment: Conditions
    data: str
    shapes: dict[str, tuple[int, ...]]
    raw_file: Path | None
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
