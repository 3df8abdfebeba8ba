"""Is the model still the model, and is it in time? Accuracy and latency against a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.budget import LABELLED, OF_A_PROCESS, USUAL_BUDGET, Finding, Limit, doubt_fakes, parse_budget, verdict_of
from edgekit.configs import ValidateConfig
from edgekit.data import told
from edgekit.errors import ModelError, UsageError
from edgekit.files import all_written_aside, json_bytes
from edgekit.latency.doubts import check_allowed
from edgekit.reports import Progress, StageReport, Stopwatch, no_progress, peak_rss_mib
from edgekit.rewrite.reading import graph_inputs, read_onnx
from edgekit.validate.accuracy import Accuracy
from edgekit.validate.comparing import Compared, check_slices, compare, judge_accuracy, slice_limits
from edgekit.validate.latency import LatencyReport, judged_latency
from edgekit.validate.papers import papers
from edgekit.validate.running import check_timeable
from edgekit.validate.slices import WORST
from edgekit.validate.subject import Subject, open_subject

__all__ = ["Accuracy", "LatencyReport", "ValidateReport", "check_budget", "check_slices", "validate"]

_FEW = 30


@dataclass(frozen=True)
class ValidateReport(StageReport):
    """`verdict` is PASS, FAIL or INCONCLUSIVE with the backend that ran; `findings` has one line for each promise.

    `emulated` are the dtypes, `fp16` or `bf16`, whose rounding was emulated in FP32 to judge the accuracy.
    `--slices` without a promise is a finding of its own, the last one.
    """

    source: Path
    verdict: str
    exit_code: int
    backend: str
    emulated: tuple[str, ...]
    findings: tuple[Finding, ...]
    accuracy: Accuracy
    latency: LatencyReport | None
    samples: int
    data: str
    data_sha256: str


def validate(
    source: Path, out: Path, config: ValidateConfig = ValidateConfig(), progress: Progress = no_progress
) -> ValidateReport:
    """Compare `source`, an ONNX file or a bundle, with `config.reference` on `config.data`; the report goes to `out`.

    The reference and an ONNX run in onnxruntime on the CPU at ORT_DISABLE_ALL, each in a process of its own; an ONNX
    of FP16 or BF16 as an FP32 twin that rounds as it does, and the verdict says so. Latency is measured on the model
    itself, where the budget asks for it; for a bundle's own promises at the rate that it was made for, unless
    `config.fps` is another. With `config.slices`, or a promise `worst_slice_drop`, a damaged slice fails; without, it
    is a warning: edgekit.validate.slices has the rules. Raises DataError, ModelError, IntegrityError, RecipeError,
    UsageError or OutputError, and TargetError for the latency of BF16 without a GPU; a broken budget is not an error
    but a verdict.
    """
    also = papers(config)
    read = (config.reference, config.data, config.labels, config.recipe, *config.trusted_keys)
    with all_written_aside(source, [out, *(path for path, _ in also)], read) as (partial, *asides):
        report = _judged(source, out, config, progress)
        for aside, (_, write) in zip(asides, also, strict=True):
            aside.write_text(write(report), encoding="utf-8")
        partial.write_bytes(json_bytes(report.to_json()))
    return report


def _judged(source: Path, out: Path, config: ValidateConfig, progress: Progress) -> ValidateReport:
    watch = Stopwatch()
    given = parse_budget(config.budget) if config.budget is not None else ()
    check_budget(given, config.fps)
    check_allowed(config.allow)
    if config.reference is None or config.data is None:
        raise UsageError("expected a reference and data to judge on, found none", "--reference REF.onnx --data D")
    check_slices(config)
    subject = open_subject(source, config)
    promised, left = ((), ()) if given else _promised(subject)
    limits = given or promised or parse_budget(USUAL_BUDGET)
    _check_inputs(subject, config.reference)
    if not given and config.fps is None:
        config = replace(config, fps=subject.rate_of(limits))
    check_budget(limits, config.fps)
    timed = tuple(limit for limit in limits if limit.gate == "latency")
    measured = bool(timed or config.fps or config.requests)
    if measured:
        check_timeable(subject, config.backend)
    compared = compare(subject, config, limits, progress)
    extra = slice_limits(limits, config)
    found = judge_accuracy(limits, extra, compared.accuracy)
    latency = None
    if measured:
        latency, judged = judged_latency(subject, config, compared.request, timed, progress)
        found |= judged
    ran = compared.ran
    findings = doubt_fakes((found[limit] for limit in (*limits, *extra)), ran.backend)
    verdict, exit_code = verdict_of(findings)
    return ValidateReport(
        path=out,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=(*left, *_warnings((*limits, *extra), subject, compared, latency)),
        source=source,
        verdict=f"{verdict} ({ran.backend}){subject.engines_left(ran.backend)}",
        exit_code=exit_code,
        backend=ran.backend,
        emulated=ran.emulated,
        findings=findings,
        accuracy=compared.accuracy,
        latency=latency,
        samples=compared.watched.count,
        data=told(compared.data, compared.watched.count),
        data_sha256=compared.watched.sha256(),
    )


def check_budget(limits: tuple[Limit, ...], fps: float | None) -> None:
    """Raise UsageError for what can be known to be unmeasurable before anything has run."""
    if fps is None and any(limit.key == "deadline_miss" for limit in limits):
        raise UsageError("expected a frame rate to judge deadline_miss by, found none", "--fps, whose period it is")
    of_a_process = [limit.key for limit in limits if limit.key in OF_A_PROCESS]
    if of_a_process:
        raise UsageError(f"expected what validate measures, found {', '.join(of_a_process)}", "edgekit bench --budget")


def _promised(subject: Subject) -> tuple[tuple[Limit, ...], tuple[str, ...]]:
    """What the bundle promises and can be judged here, and of the rest a line each."""
    judged = tuple(limit for limit in subject.promises if limit.key not in OF_A_PROCESS)
    left = (limit for limit in subject.promises if limit.key in OF_A_PROCESS)
    said = "which the bundle promises, was not judged: validate starts no process to measure; next: edgekit bench"
    return judged, tuple(f"{limit}, {said}" for limit in left)


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


def _warnings(
    limits: tuple[Limit, ...], subject: Subject, compared: Compared, latency: LatencyReport | None
) -> tuple[str, ...]:
    few = [limit.key for limit in limits if limit.key in (*LABELLED, "agreement") and limit.key != WORST]
    accuracy, count = compared.accuracy, compared.watched.count
    lines = [*compared.ran.warnings, *compared.watched.doubts(subject.preprocess)]
    if few and count < _FEW:
        lines.append(f"{', '.join(few)} on {count} samples only: one of them is {1 / count:.0%}")
    if accuracy.slices is not None:
        lines += accuracy.slices.warnings(asked=any(limit.key == WORST for limit in limits))
    if accuracy.robustness is not None:
        lines += accuracy.robustness.warnings()
    if latency is not None:
        lines += latency.warnings()
    return tuple(lines)
