"""Samples that the ranges did not see: on them one choice is judged against another."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from edgekit.data import Batch, Labels, Samples, pick_labels
from edgekit.data.arrays import put_batch, take_batch
from edgekit.data.samples import Array, Indices
from edgekit.judge import plain_session
from edgekit.metrics import Agreement, Sqnr, TopK, class_axis
from edgekit.quantize.observers import Statistics

# Beyond that they wait on disk: memory stays flat, and reading back costs less than decoding pictures again.
_IN_MEMORY = 32 << 20

# A gain that is worth another form of the model; and what stands for no noise at all.
_LEAST_GAIN_DB, _ONE_IN_TEN, _TINY = 0.1, 1.28, 1e-30

Run = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Score:
    """`noise` is relative to the signal, the mean over outputs, and `by_batch` that of each batch alone; `sqnr_db` is
    that of the worst output.

    `drop` is how many more answers are wrong than in FP32, a fraction: by labels where there are any, else those that
    differ from FP32's, which can only be more. None where no output holds class scores.
    """

    noise: float
    sqnr_db: float
    drop: float | None
    by_batch: tuple[float, ...] = ()

    def gain_db(self, other: Score) -> float:
        """How much less noise than `other`'s there is, on average over the batches; zero where that may be chance.

        Chance: below 0.1 dB, or below 1.28 standard errors, which one in ten such differences without a cause exceeds.
        A batch on which an output of FP32 is silent says nothing: there any noise is infinitely more than the signal.
        """
        if not self.noise < other.noise or not math.isfinite(other.noise):
            return math.inf if self.noise < other.noise else 0.0
        pairs = [pair for pair in zip(self.by_batch, other.by_batch, strict=True) if all(map(math.isfinite, pair))]
        gains = [10 * math.log10((then + _TINY) / (now + _TINY)) for now, then in pairs]
        error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
        mean = fmean(gains) if gains else 0.0
        return mean if mean > max(_LEAST_GAIN_DB, _ONE_IN_TEN * error) else 0.0


@dataclass
class HeldBack:
    """Inputs with the outputs that FP32 gives for them, batch by batch; `labels` say what all samples of the data are,
    `statistics` what was seen of their activations.

    What does not fit into 32 MiB is in a temporary file, until `close`.
    """

    labels: Labels | None = None
    samples: int = 0
    statistics: Statistics = field(default_factory=Statistics)
    _file: Any = None

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()

    def add(self, samples: Samples, outputs: Batch, statistics: Statistics | None = None) -> None:
        """Keep one batch."""
        if statistics is not None:
            self.statistics = self.statistics.merged(statistics)
        if self._file is None:
            self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by close)
        self._file.seek(0, 2)
        self.samples += len(samples)
        put_batch(self._file, {"": samples.index} | samples.inputs)
        put_batch(self._file, outputs)

    def score(self, model: bytes, most: int | None = None) -> Score:
        """Run `model` (serialized, FP32 in and out) here, at ORT_DISABLE_ALL; on `most` samples or a few more."""
        session = plain_session(model)
        names = [output.name for output in session.get_outputs()]
        return self.score_of(lambda batch: dict(zip(names, session.run(names, batch), strict=True)), most)

    def score_of(self, run: Run, most: int | None = None) -> Score:
        """The score of whatever maps inputs to outputs."""
        meters: dict[str, Sqnr] = {}
        drop = _Drop()
        by_batch = []
        seen = 0
        for index, inputs, wanted in self._batches():
            found = run(inputs)
            alone = {name: Sqnr() for name, array in wanted.items() if array.dtype.kind == "f"}
            for name, meter in alone.items():
                meter.add(wanted[name], found[name])
                meters.setdefault(name, Sqnr()).add(wanted[name], found[name])
            by_batch.append(_mean_noise(alone.values()))
            drop.add(wanted, found, None if self.labels is None else pick_labels(self.labels, index))
            seen += len(index)
            if most is not None and seen >= most:
                break
        worst = min((meter.db() for meter in meters.values()), default=math.inf)
        return Score(_mean_noise(meters.values()), worst, drop.fraction(), tuple(by_batch))

    def _batches(self) -> Iterator[tuple[Indices, Batch, Batch]]:
        if self._file is None:
            return
        self._file.seek(0)
        while (inputs := take_batch(self._file)) is not None:
            outputs = take_batch(self._file)
            assert outputs is not None  # they are written in pairs
            yield inputs.pop(""), inputs, outputs


def _mean_noise(meters: Collection[Sqnr]) -> float:
    """Relative to the signal of each output."""
    noises = [10 ** (-meter.db() / 10) if meter.db() > -math.inf else math.inf for meter in meters]
    return sum(noises) / max(len(noises), 1)


@dataclass
class _Drop:
    """Counts wrong answers on the first output that holds class scores."""

    wanted: TopK = field(default_factory=lambda: TopK(1))
    found: TopK = field(default_factory=lambda: TopK(1))
    agreement: Agreement = field(default_factory=Agreement)

    def add(self, wanted: Batch, found: Batch, labels: Labels | None) -> None:
        name = next((name for name, array in wanted.items() if _scores(array, labels)), None)
        if name is None:
            return
        if labels is None:
            self.agreement.add(wanted[name], found[name])
        else:
            self.wanted.add(wanted[name], labels)
            self.found.add(found[name], labels)

    def fraction(self) -> float | None:
        if self.wanted.count:
            return self.wanted.fraction() - self.found.fraction()
        return 1 - self.agreement.fraction() if self.agreement.count else None


def _scores(array: Array, labels: Labels | None) -> bool:
    """Whether these are class scores; those that the labels speak of, where there are any."""
    axis = class_axis(array.shape) if array.dtype.kind == "f" else None
    others = tuple(size for index, size in enumerate(array.shape) if index != axis)
    return axis is not None and (labels is None or others == labels.shape)
