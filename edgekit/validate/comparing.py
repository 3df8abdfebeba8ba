"""One pass over the data through the model and its reference, and what it says of the budget's accuracy."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from edgekit.budget import LABELLED, Finding, Limit, judge_exactly
from edgekit.configs import ValidateConfig
from edgekit.data import (
    Data,
    Indices,
    Labels,
    Samples,
    Watched,
    batches,
    open_data,
    pick_labels,
    read_groups,
    read_labels,
)
from edgekit.errors import DataError, UsageError
from edgekit.judge import Judge
from edgekit.reports import Progress
from edgekit.validate.accuracy import Accuracy, Comparison
from edgekit.validate.robustness import Robust, picture_inputs
from edgekit.validate.running import Running, running
from edgekit.validate.slices import ALLOWED_DROP, BY_LABEL, WORST, Slicing, judge_slices
from edgekit.validate.subject import Subject

_BATCH = 4


@dataclass(frozen=True)
class Compared:
    """What ran and came out; `request` is the first samples, as they are sent to measure latency."""

    ran: Running
    request: Samples
    accuracy: Accuracy
    data: Data
    watched: Watched


@dataclass(frozen=True)
class _Known:
    """What is known of all samples: the right classes, if any, and how they are sliced."""

    labels: Labels | None
    slicing: Slicing

    def labels_of(self, samples: Samples) -> Labels | None:
        return None if self.labels is None else pick_labels(self.labels, samples.index)

    def groups_of(self, samples: Samples) -> Indices | None:
        return None if self.slicing.groups is None else pick_labels(self.slicing.groups, samples.index)


def check_slices(config: ValidateConfig) -> None:
    """Raise UsageError for slices by a column where no table can have it."""
    table = config.labels is not None and config.labels.suffix == ".csv"
    if config.slices not in (None, BY_LABEL) and not table:
        raise UsageError(
            f"expected a CSV of labels with the column {config.slices!r} to slice by, found {config.labels or 'none'}",
            f"--labels L.csv, or --slices {BY_LABEL}",
        )


def slice_limits(limits: tuple[Limit, ...], config: ValidateConfig) -> tuple[Limit, ...]:
    """What `--slices` asks for by itself, where the budget does not say how much a slice may drop."""
    promised = any(limit.key == WORST for limit in limits)
    return (Limit(WORST, "<=", ALLOWED_DROP, "accuracy"),) if config.slices and not promised else ()


def compare(subject: Subject, config: ValidateConfig, limits: tuple[Limit, ...], progress: Progress) -> Compared:
    """Send each batch of the data, which may come only once, to both models. Raises what reading and running raise."""
    assert config.data is not None
    data = open_data(config.data, subject.inputs, subject.preprocess, subject.classes)
    labels = _labels(limits, config, subject, data)
    known = _Known(labels, _slicing(config, subject, data))
    classifies = subject.classifies or labels is not None or any(limit.key == "agreement" for limit in limits)
    meters = Comparison(classifies=classifies, slicing=known.slicing)
    total = 0 if data.count is None else min(data.count, config.samples)
    robust = Robust(picture_inputs(subject.inputs, subject.preprocess), total) if config.robustness else None
    watched, first, size = Watched(), None, max(_BATCH, subject.batch())
    with contextlib.ExitStack() as stack:
        assert config.reference is not None
        reference = stack.enter_context(Judge(config.reference))
        ran = stack.enter_context(running(subject, config.backend))
        for samples in watched.through(batches(data, subject.inputs, size, config.samples)):
            first = samples if first is None else first
            wanted, found = reference.run(samples.inputs), ran.runner.run(samples.inputs)
            meters.add(wanted, found, known.labels_of(samples), known.groups_of(samples))
            if robust is not None:
                robust.watch(samples)
            progress("comparing with the reference", watched.count, total)
        if labels is not None and data.count is None and watched.count < min(len(labels), config.samples):
            raise DataError(f"expected a label for each sample, found {len(labels)} for {watched.count} {data.what}")
        smoke = robust.measure(reference.run, ran.runner.run, watched, classifies, progress) if robust else None
    assert first is not None  # no samples at all are a DataError
    allowed = min((limit.value for limit in limits if limit.key == WORST), default=ALLOWED_DROP)
    accuracy = replace(meters.result(allowed), robustness=smoke)
    return Compared(ran, first[: subject.batch()], accuracy, data, watched)


def judge_accuracy(limits: tuple[Limit, ...], extra: tuple[Limit, ...], accuracy: Accuracy) -> dict[Limit, Finding]:
    """A finding for each accuracy limit of the budget, and for those of `slice_limits`, `extra`."""
    found = {}
    for limit in (*limits, *extra):
        if limit.key == WORST:
            found[limit] = judge_slices(limit, accuracy.slices, promised=limit in limits)
        elif limit.gate == "accuracy":
            found[limit] = judge_exactly(limit, accuracy.of(limit))
    return found


def _labels(limits: tuple[Limit, ...], config: ValidateConfig, subject: Subject, data: Data) -> Labels | None:
    """Those given, else those of the data's folders: where the classes have names, or something asks for labels.

    Folders called 2026/ are no labels to a model that names no classes, unless they have to be.
    """
    if config.labels is not None:
        return read_labels(config.labels, data, subject.classes)
    asked = [limit.key for limit in limits if limit.key in LABELLED] + (["slices"] if config.slices else [])
    if asked and data.labels is None:
        raise UsageError(
            f"expected labels to judge {', '.join(asked)} by, found none for {data.what}",
            "--labels L, or pictures in folders named after the model's classes",
        )
    return data.labels if asked or subject.classes else None


def _slicing(config: ValidateConfig, subject: Subject, data: Data) -> Slicing:
    """By class, unless a column is named."""
    if config.slices in (None, BY_LABEL) or config.labels is None:
        return Slicing(names=subject.classes)
    groups = read_groups(config.labels, data, config.slices)
    return Slicing(config.slices, groups.names, groups.index)
