"""Calibration data -> statistics of the activations, and samples held back from them to try choices on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgekit.configs import QuantizeConfig
from edgekit.data import Data, Labels, Samples, Watched, batches, fixed_batch, open_data, read_labels, told
from edgekit.errors import DataError, UsageError
from edgekit.quantize.held_back import HeldBack
from edgekit.quantize.observers import Observer, Statistics
from edgekit.quantize.table import ScaleTable, read_table
from edgekit.recipe import load_recipe, recipe_of
from edgekit.reports import Progress
from edgekit.rewrite.reading import graph_inputs, metadata
from edgekit.specs import ImagePreprocess, TensorSpec, of_pictures

# Of that many samples at a time all activations that layers read are alive at once; eight, where only numbers are kept.
_BATCH_WHOLE, _BATCH_REDUCED = 4, 8
# A quarter is held back, and no more than that: a search runs a dozen models over them.
# Of fewer than 16 samples none: ranges need them all.
_HELD_SHARE, _HELD_MOST, _HELD_FROM = 4, 64, 16


@dataclass(frozen=True)
class Wanted:
    """What to see: tensors whole, by their channel axis, and tensors of which the largest |x| is enough."""

    axes: dict[str, int]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Calibration:
    """What was seen, what was held back, and how to read what was not held back anew; None without data."""

    table: ScaleTable
    held_back: HeldBack
    stream: Callable[[], Iterator[Samples]] | None


@dataclass(frozen=True)
class _Source:
    """The data, opened for one model."""

    data: Data
    inputs: tuple[TensorSpec, ...]
    preprocess: ImagePreprocess | None
    labels: Labels | None


def calibrate(
    model: onnx.ModelProto,
    model_sha256: str,
    wanted: Wanted,
    config: QuantizeConfig,
    progress: Progress,
    save: Callable[[ScaleTable], None],
) -> Calibration:
    """Run the FP32 model over `config.data` once, or take `config.scales`, or go on where that one ends.

    An interrupt hands what was seen so far to `save`. Raises UsageError without data and table: 8 bits need real
    inputs; DataError for data or a table that does not fit.
    """
    earlier = read_table(config.scales, model_sha256) if config.scales else None
    if earlier is not None:
        _check_covers(earlier, wanted, config.scales)
        wanted = _as_before(wanted, earlier)
    if config.data is None:
        if earlier is None:
            raise UsageError(
                f"expected real inputs to calibrate {config.precision} on, found none: "
                "scales from random numbers would be wrong in silence",
                "--data with an .npz, a folder, or module:callable",
            )
        if not earlier.complete:
            raise DataError(
                f"expected a complete scale table in {config.scales}, found one of {earlier.samples} samples",
                "--data, to go on",
            )
        return Calibration(earlier, HeldBack(), None)
    source = _opened(model, config)
    run = _Run(model_sha256, source, config, earlier, whole=bool(wanted.axes))
    try:
        run.go(Observer(model, wanted.axes, wanted.others), progress)
        return Calibration(run.table(complete=True), run.held_back, run.rest)
    except BaseException as error:
        run.held_back.close()
        if isinstance(error, KeyboardInterrupt) and (table := run.so_far()):
            save(table)
        raise


def _check_covers(table: ScaleTable, wanted: Wanted, path: Path | None) -> None:
    for name in (*wanted.axes, *wanted.others):
        seen = table.statistics.tensors.get(name)
        if seen is None or (name in wanted.axes and (seen.histogram is None or seen.channels is None)):
            raise DataError(
                f"expected {path} to say {'how' if seen else 'what'} {name!r} was seen, found no more than the largest "
                "values of some tensors",
                "--method max, or --data without --scales",
            )


def _as_before(wanted: Wanted, earlier: ScaleTable) -> Wanted:
    """Also what the table has seen: what stopped in the middle of the data would pass for what all of it has shown."""
    tensors = earlier.statistics.tensors
    axes = {name: seen.channels.axis for name, seen in tensors.items() if seen.channels is not None}
    return Wanted(axes | wanted.axes, tuple(dict.fromkeys((*wanted.others, *tensors))))


def _opened(model: onnx.ModelProto, config: QuantizeConfig) -> _Source:
    assert config.data is not None
    inputs = graph_inputs(model)
    name = config.recipe or recipe_of(metadata(model, "architecture"))
    preprocess = of_pictures(load_recipe(name).preprocess) if name else None
    classes = tuple(metadata(model, "labels") or ())
    data = open_data(config.data, inputs, preprocess, classes)
    own = None if config.max_drop is None else data.labels
    labels = read_labels(config.labels, data, classes) if config.labels else own
    return _Source(data, inputs, preprocess, labels)


@dataclass(frozen=True)
class _SoFar:
    """What the first `samples` have shown, and how many of them were held back. It is replaced as a whole: so an
    interrupt never finds a batch that was counted by half."""

    statistics: Statistics
    samples: int = 0
    sha256: str = ""
    held: int = 0


class _Run:
    """One pass: what was seen by now, so that an interrupt loses nothing."""

    def __init__(
        self, model_sha256: str, source: _Source, config: QuantizeConfig, earlier: ScaleTable | None, *, whole: bool
    ) -> None:
        self.held_back = HeldBack(source.labels)
        self._watched = Watched()
        self._model_sha256, self._source, self._limit, self._earlier = model_sha256, source, config.samples, earlier
        self._total = 0 if source.data.count is None else min(source.data.count, config.samples)
        self._size, self._every = _split(self._total or None, fixed_batch(source.inputs), config, whole=whole)
        self._most = math.inf if config.max_drop is not None else _HELD_MOST
        self._held: set[int] = set()
        self._seen = _SoFar(Statistics())
        if earlier is not None:
            if self._every and not earlier.held_every:
                raise DataError(
                    f"expected samples held back from the scale table {config.scales}, found none to try choices on",
                    "--method max, or --data without --scales",
                )
            # Other batches would hold back what the ranges have seen.
            self._size, self._every = earlier.batch, earlier.held_every
            self._seen = _SoFar(earlier.statistics, earlier.samples, earlier.data_sha256, earlier.held)

    def go(self, observer: Observer, progress: Progress) -> None:
        """Look at every batch; those that an earlier table has seen are only compared with its digest."""
        for number, samples in enumerate(self._watched.through(self._batches())):
            self._check_same(len(samples))
            count, seen = self._watched.count, self._seen
            statistics = seen.statistics
            if self._is_held(number):
                self._held.add(number)
                self._hold(samples, observer)
            elif count > seen.samples and observer.watches():
                statistics = statistics.merged(observer.see(samples.inputs)[0])
            if count > seen.samples:
                self._seen = _SoFar(statistics, count, self._watched.sha256(), self.held_back.samples)
            progress("calibrating", count, self._total)
        if self._watched.count < self._seen.samples:
            self._other_data()

    def rest(self) -> Iterator[Samples]:
        """What the ranges were taken from, read anew."""
        return (samples for number, samples in enumerate(self._batches()) if number not in self._held)

    def table(self, *, complete: bool) -> ScaleTable:
        """What was seen by now."""
        return ScaleTable(
            model_sha256=self._model_sha256,
            data_sha256=self._seen.sha256,
            data=told(self._source.data, self._seen.samples),
            samples=self._seen.samples,
            batch=self._size,
            held_every=self._every,
            held=self._seen.held,
            complete=complete,
            statistics=self._seen.statistics,
            warnings=self._watched.doubts(self._source.preprocess) if complete else (),
        )

    def so_far(self) -> ScaleTable | None:
        """What an interrupt leaves to go on from, if anything."""
        if self._earlier is not None and self._earlier.samples == self._seen.samples:
            return self._earlier
        return self.table(complete=False) if self._seen.samples else None

    def _batches(self) -> Iterator[Samples]:
        return batches(self._source.data, self._source.inputs, self._size, self._limit)

    def _is_held(self, number: int) -> bool:
        """Of what an earlier table has seen, that is held back which it did not see."""
        again = self._earlier is not None and self._watched.count <= self._earlier.samples
        most = self._earlier.held if self._earlier is not None and again else self._most
        return self._every > 0 and number % self._every == self._every - 1 and self.held_back.samples < most

    def _hold(self, samples: Samples, observer: Observer) -> None:
        """One by one, where the model allows it: what differs from sample to sample tells chance from gain."""
        step = fixed_batch(self._source.inputs) or 1
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            statistics, outputs = observer.see(part.inputs)
            self.held_back.add(part, outputs, statistics)

    def _check_same(self, added: int) -> None:
        count, earlier = self._watched.count, self._earlier
        if earlier is None or count < earlier.samples or count - added >= earlier.samples:
            return
        if count != earlier.samples or self._watched.sha256() != earlier.data_sha256:
            self._other_data()

    def _other_data(self) -> None:
        raise DataError(
            f"expected the data that the scale table was made on ({self._seen.samples} samples), found other data",
            "--data without --scales",
        )


def _split(total: int | None, fixed: int | None, config: QuantizeConfig, *, whole: bool) -> tuple[int, int]:
    """The batch size, and of how many batches the last one is held back (0: none)."""
    size = fixed or (_BATCH_WHOLE if whole else _BATCH_REDUCED)
    if config.method == "max" and not needs_held_back(config):
        return size, 0
    if config.max_drop is not None:
        return size if fixed or total is None else max(1, min(size, total // 2)), 2
    if total is None:
        return size, _HELD_SHARE
    if total < _HELD_FROM:
        return size, 0
    if not fixed:
        size = min(size, total // _HELD_SHARE)
    count = total // size
    held = min(count // _HELD_SHARE, max(1, _HELD_MOST // size))
    return size, count // held if held else 0


def needs_held_back(config: QuantizeConfig) -> bool:
    """Whether something has to be judged while quantizing."""
    return config.method == "auto" or config.keep_layers is not None or has_target(config)


def has_target(config: QuantizeConfig) -> bool:
    """Whether the result has to reach something."""
    return config.min_sqnr_db is not None or config.max_drop is not None
