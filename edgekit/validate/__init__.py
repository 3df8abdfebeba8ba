"""Is the model still the model, and is it in time? Accuracy and latency against a budget."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from edgekit.budget import LABELLED, Finding, Limit, judge_exactly, parse_budget, verdict_of
from edgekit.configs import ValidateConfig
from edgekit.data import Data, Labels, Samples, Watched, batches, open_data, pick_labels, read_labels, told
from edgekit.errors import DataError, ModelError, UsageError
from edgekit.files import json_bytes, write_json, written_aside
from edgekit.judge import Judge
from edgekit.latency import (
    Environment,
    LatencySummary,
    Plan,
    environment,
    judge_latency,
    judge_overloaded,
    sample,
    samples_needed,
    summarise,
)
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import graph_inputs, read_onnx
from edgekit.validate.accuracy import Accuracy, Comparison
from edgekit.validate.subject import Subject, open_subject, running, serving

__all__ = ["Accuracy", "LatencyReport", "ValidateReport", "check_budget", "validate"]

_BATCH = 4
_FEW = 30


@dataclass(frozen=True)
class LatencyReport:
    """All raw latencies in ms are kept, in their order, so that anyone can compute anything from them.

    `utilisation` is the share of the time between frames that serving takes: from 1 on frames pile up.
    """

    mode: str
    fps: float | None
    deadline_ms: float | None
    utilisation: float | None
    shapes: dict[str, list[int]]
    summary: LatencySummary
    environment: Environment
    latencies_ms: list[float]


@dataclass(frozen=True)
class ValidateReport(StageReport):
    """`verdict` is PASS, FAIL or INCONCLUSIVE with the backend that ran; `findings` has one line for each promise."""

    source: Path
    verdict: str
    exit_code: int
    backend: str
    findings: tuple[Finding, ...]
    accuracy: Accuracy
    latency: LatencyReport | None
    samples: int
    data: str
    data_sha256: str

    def write(self) -> Path:
        """The report is the output itself."""
        write_json(self.path, self.to_json())
        return self.path


def validate(
    source: Path, out: Path, config: ValidateConfig = ValidateConfig(), progress: Progress = no_progress
) -> ValidateReport:
    """Compare `source`, an ONNX file or a bundle, with `config.reference` on `config.data`; the report goes to `out`.

    The reference and an ONNX run in onnxruntime on the CPU at ORT_DISABLE_ALL, each in a process of its own. Latency
    is measured where the budget asks for it. Raises DataError, ModelError, IntegrityError, RecipeError, UsageError or
    OutputError; a broken budget is not an error but a verdict.
    """
    with written_aside(out) as partial:
        report = _judged(source, out, config, progress)
        partial.write_bytes(json_bytes(report.to_json()))
    return report


def _judged(source: Path, out: Path, config: ValidateConfig, progress: Progress) -> ValidateReport:
    watch = Stopwatch()
    limits = parse_budget(config.budget)
    check_budget(limits, config.fps)
    if config.reference is None or config.data is None:
        raise UsageError("expected a reference and data to judge on, found none", "--reference REF.onnx --data D")
    subject = open_subject(source, config)
    _check_inputs(subject, config.reference)
    data = open_data(config.data, subject.inputs, subject.preprocess, subject.classes)
    labels = _labels(limits, config, subject, data)
    watched = Watched()
    classifies = subject.classifies or labels is not None or any(limit.key == "agreement" for limit in limits)
    meters = Comparison(classifies=classifies)
    backend, first = _compare(subject, config, (data, labels, watched), meters, progress)
    accuracy = meters.result()
    found = {limit: judge_exactly(limit, accuracy.of(limit)) for limit in limits if limit.gate == "accuracy"}
    latency = None
    timed = tuple(limit for limit in limits if limit.gate == "latency")
    if timed or config.fps or config.requests:
        latency, judged = _latency(subject, config, first, timed, progress)
        found |= judged
    findings = tuple(found[limit] for limit in limits)
    verdict, exit_code = verdict_of(findings)
    return ValidateReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=_warnings(limits, subject, watched, latency),
        source=source,
        verdict=f"{verdict} ({backend}){subject.engines_left(backend)}",
        exit_code=exit_code,
        backend=backend,
        findings=findings,
        accuracy=accuracy,
        latency=latency,
        samples=watched.count,
        data=told(data, watched.count),
        data_sha256=watched.sha256(),
    )


def check_budget(limits: tuple[Limit, ...], fps: float | None) -> None:
    """Raise UsageError for what can be known to be unmeasurable before anything has run."""
    if fps is None and any(limit.key == "deadline_miss" for limit in limits):
        raise UsageError("expected a frame rate to judge deadline_miss by, found none", "--fps, whose period it is")


def _check_inputs(subject: Subject, reference: Path) -> None:
    found = {spec.name: spec for spec in graph_inputs(read_onnx(reference))}
    same = found.keys() == {spec.name for spec in subject.inputs} and all(
        spec.dtype == found[spec.name].dtype and spec.meets(found[spec.name].shape) for spec in subject.inputs
    )
    if not same:
        wanted, other = (
            ", ".join(f"{spec.name}: {spec}" for spec in specs) for specs in (subject.inputs, found.values())
        )
        raise ModelError(f"expected the reference {reference} to have the inputs {wanted}, found {other}")


def _labels(limits: tuple[Limit, ...], config: ValidateConfig, subject: Subject, data: Data) -> Labels | None:
    """Those given, else those of the data's folders: where the classes have names, or the budget asks for labels.

    Folders called 2026/ are no labels to a model that names no classes, unless they have to be.
    """
    if config.labels is not None:
        return read_labels(config.labels, data, subject.classes)
    asked = [limit.key for limit in limits if limit.key in LABELLED]
    if asked and data.labels is None:
        raise UsageError(
            f"expected labels to judge {', '.join(asked)} by, found none for {data.what}",
            "--labels L, or pictures in folders named after the model's classes",
        )
    return data.labels if asked or subject.classes else None


def _compare(
    subject: Subject,
    config: ValidateConfig,
    given: tuple[Data, Labels | None, Watched],
    meters: Comparison,
    progress: Progress,
) -> tuple[str, Samples]:
    """One pass over the data, which may come only once: each batch goes to both models.

    Returns the backend that ran, and the first samples as they are sent to measure latency.
    """
    data, labels, watched = given
    first, size = None, max(_BATCH, subject.batch())
    total = 0 if data.count is None else min(data.count, config.samples)
    with contextlib.ExitStack() as stack:
        assert config.reference is not None
        reference = stack.enter_context(Judge(config.reference))
        runner, backend = stack.enter_context(running(subject, config.backend))
        for samples in watched.through(batches(data, subject.inputs, size, config.samples)):
            first = samples if first is None else first
            known = None if labels is None else pick_labels(labels, samples.index)
            meters.add(reference.run(samples.inputs), runner.run(samples.inputs), known)
            progress("comparing with the reference", watched.count, total)
    if labels is not None and data.count is None and watched.count < min(len(labels), config.samples):
        raise DataError(f"expected a label for each sample, found {len(labels)} for {watched.count} {data.what}")
    assert first is not None  # no samples at all are a DataError
    return backend, first[: subject.batch()]


def _latency(
    subject: Subject, config: ValidateConfig, request: Samples, limits: tuple[Limit, ...], progress: Progress
) -> tuple[LatencyReport, dict[Limit, Finding]]:
    """Send `request` again and again, and judge the limits by what it took."""
    plan = Plan(samples_needed(limits), config.requests, config.fps, config.duration)
    before = environment()
    with serving(subject, config.backend, request) as serve:
        measured = sample(serve, plan, progress=progress)
    latencies, deadline_ms = measured.latencies_ms, 1e3 / config.fps if config.fps else None
    utilisation = measured.utilisation(config.fps) if config.fps else None
    report = LatencyReport(
        mode="fixed-rate" if config.fps else "closed",
        fps=config.fps,
        deadline_ms=deadline_ms,
        utilisation=utilisation,
        shapes={name: list(array.shape) for name, array in request.inputs.items()},
        summary=summarise(latencies, deadline_ms),
        environment=before,
        latencies_ms=[round(value, 6) for value in latencies.tolist()],
    )
    found = {limit: judge_latency(limit, latencies, deadline_ms) for limit in limits}
    if utilisation is not None and utilisation >= 1:
        found = {limit: judge_overloaded(finding) for limit, finding in found.items()}
    return report, found


def _warnings(
    limits: tuple[Limit, ...], subject: Subject, watched: Watched, latency: LatencyReport | None
) -> tuple[str, ...]:
    few = [limit.key for limit in limits if limit.key in (*LABELLED, "agreement")]
    lines = list(watched.doubts(subject.preprocess))
    if few and watched.count < _FEW:
        lines.append(f"{', '.join(few)} on {watched.count} samples only: one of them is {1 / watched.count:.0%}")
    if latency is not None:
        lines += latency.environment.warnings()
        if latency.utilisation is not None and latency.utilisation >= 1:
            lines.append(
                f"frames come faster than they are served: {latency.fps:g} a second take {latency.utilisation:.0%} of "
                "the time, and the queue grows without end"
            )
    return tuple(lines)
