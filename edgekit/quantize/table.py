"""The scale table: what was seen of a model's activations on which data, and the ranges that follow.

A JSON file with sorted keys, made to be reviewed, compared and taken again: by another rule it gives other ranges
without another run. Long rows of numbers are one line of text each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import DataError, first_line
from edgekit.files import json_bytes
from edgekit.quantize.choice import Choice
from edgekit.quantize.histogram import BINS, LARGEST_EXPONENT, SMALLEST_EXPONENT, Histogram
from edgekit.quantize.observers import Channels, Seen, Statistics
from edgekit.texts import read_json

FORMAT = 2
_RANGES, _WEIGHTS = ("max", "mse", "percentile"), ("max", "mse", "gptq")
# What float32 holds, and the numbers up to which float64 counts without a gap.
_LARGEST, _MOST = float(np.finfo(np.float32).max), 1 << 53


@dataclass
class ScaleTable:
    """What was seen on `samples` inputs, all of them if `complete`; the digests say of which model and which inputs.

    Of every `held_every` batches of `batch` samples the last one was held back from the ranges (0: none), `held`
    samples in all. `ranges` has the |x| up to which each activation is covered by `choice`, and `kept` the layers that
    stayed as they were.
    """

    model_sha256: str
    data_sha256: str
    data: str
    samples: int
    batch: int
    held_every: int
    held: int
    complete: bool
    statistics: Statistics
    choice: Choice | None = None
    ranges: dict[str, float] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The file's contents: the same table gives the same bytes."""
        tensors = {name: _row(seen) for name, seen in self.statistics.tensors.items()}
        plain = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "data_sha256": self.data_sha256,
            "data": self.data,
            "samples": self.samples,
            "batch": self.batch,
            "held_every": self.held_every,
            "held": self.held,
            "complete": self.complete,
            "tensors": tensors,
            "choice": asdict(self.choice) if self.choice else None,
            "ranges": self.ranges,
            "kept": list(self.kept),
            "warnings": list(self.warnings),
        }
        return json_bytes(plain)


def read_table(path: Path, model_sha256: str) -> ScaleTable:
    """Read a table of the model with this digest.

    Raises DataError for a file that is none, was damaged, or belongs to another model.
    """
    try:
        table = _from_json(read_json(path))
    except FileNotFoundError as error:
        raise DataError(f"expected a scale table at {path}, found nothing there", "--data") from error
    except KeyError as error:
        raise DataError(f"expected a scale table in {path}, found no {error} in it", "--data") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"expected a scale table in {path}, found: {first_line(error)}", "--data") from error
    if table.model_sha256 != model_sha256:
        raise DataError(
            f"expected the scale table {path} to be of this model ({model_sha256[:12]}), "
            f"found that of {table.model_sha256[:12]}",
            "--data, to make a new one",
        )
    return table


def _row(seen: Seen) -> dict[str, Any]:
    row: dict[str, Any] = {"largest": seen.largest}
    if seen.histogram is not None:
        counts = np.trim_zeros(seen.histogram.counts, "b")
        row |= {"exponent": seen.histogram.exponent, "counts": " ".join(map(str, counts.tolist()))}
    if seen.channels is not None:
        row |= {
            "axis": seen.channels.axis,
            "count": seen.channels.count,
            "channel_low": _text(seen.channels.low.tolist()),
            "channel_high": _text(seen.channels.high.tolist()),
            "channel_total": _text(seen.channels.total.tolist()),
            "channel_squares": _text(seen.channels.squares.tolist()),
        }
    return row


def _text(values: list[float]) -> str:
    return " ".join(map(repr, values))


def _from_json(plain: dict[str, Any]) -> ScaleTable:
    if plain["format"] != FORMAT:
        raise ValueError(f"format {plain['format']!r} in the place of {FORMAT}")
    held_every, complete = _whole(plain["held_every"]), plain["complete"]
    if held_every == 1 or not isinstance(complete, bool):
        raise ValueError(f"held_every {held_every} and complete {complete!r}")
    return ScaleTable(
        model_sha256=str(plain["model_sha256"]),
        data_sha256=str(plain["data_sha256"]),
        data=str(plain["data"]),
        samples=_whole(plain["samples"], 1),
        batch=_whole(plain["batch"], 1),
        held_every=held_every,
        held=_whole(plain["held"]),
        complete=complete,
        statistics=Statistics({name: _seen(row) for name, row in plain["tensors"].items()}),
        choice=None if plain["choice"] is None else _choice(plain["choice"]),
        ranges={name: _size(value) for name, value in plain["ranges"].items()},
        kept=_texts(plain["kept"]),
        warnings=_texts(plain["warnings"]),
    )


def _seen(row: dict[str, Any]) -> Seen:
    seen = Seen(_size(row["largest"]))
    if "counts" in row:
        counts = np.array(row["counts"].split(), np.int64)
        if len(counts) > BINS or (counts < 0).any() or counts.sum(dtype=np.float64) > _MOST:
            raise ValueError(f"{len(counts)} counts that are no histogram of {BINS} bins")
        exponent = _whole(row["exponent"], SMALLEST_EXPONENT, LARGEST_EXPONENT)
        seen.histogram = Histogram(exponent, np.pad(counts, (0, BINS - len(counts))))
    if "channel_low" in row:
        names = ("low", "high", "total", "squares")
        low, high, total, squares = (np.array(row[f"channel_{name}"].split(), np.float64) for name in names)
        sizes = {len(low), len(high), len(total), len(squares)}
        known = all(np.isfinite(item).all() for item in (total, squares)) and (squares >= 0).all()
        if len(sizes) != 1 or not known or not ((low >= -_LARGEST) & (low <= high) & (high <= _LARGEST)).all():
            raise ValueError(f"channels that do not fit together, of {sizes} values")
        ends = low.astype(np.float32), high.astype(np.float32)
        seen.channels = Channels(_whole(row["axis"], -1, 1), *ends, total, squares, _whole(row["count"]))
    return seen


def _choice(plain: dict[str, Any]) -> Choice:
    choice = Choice(**plain)
    for item in fields(choice):
        value, default = getattr(choice, item.name), item.default
        fits = value is None or (type(value) in (int, float) and 0 <= value <= 1)
        if not (fits if default is None else type(value) is type(default)):
            raise ValueError(f"{item.name} {value!r} in a choice")
    if choice.ranges not in _RANGES or choice.weights not in _WEIGHTS:
        raise ValueError(f"ranges by {choice.ranges!r} and weights by {choice.weights!r}")
    return choice


def _whole(value: Any, least: int = 0, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} in the place of a whole number of {least} or more")
    return value


def _size(value: Any) -> float:
    """An |x| of float32."""
    if type(value) not in (int, float) or not 0 <= value <= _LARGEST:
        raise ValueError(f"a largest value of {value!r}")
    return float(value)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{values!r:.40} in the place of a list of texts")
    return tuple(values)
