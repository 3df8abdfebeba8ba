"""What of a report of `validate` or `bench` can be compared with that of another run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.texts import read_json

DATA = "data's SHA-256"
MODE, RATE, BESIDE, SHAPES = "mode", "frames a second", "models beside it", "shapes"
# What is said first where it differs: the name of it, and where `validate` or else `bench` has it.
_CONDITIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    "stage": (("stage",),),
    "source": (("source",),),
    "model's SHA-256": (("environment", "digests", "model"),),
    "engine's SHA-256": (("environment", "digests", "engine"),),
    "backend": (("backend",),),
    "device": (("device",),),
    "CPU": (("environment", "cpu"), ("environment", "machine", "environment", "cpu")),
    "cores": (("environment", "cores"), ("environment", "machine", "environment", "cores")),
    "governor": (("environment", "governor"), ("environment", "machine", "environment", "governor")),
    "GPUs": (("environment", "machine", "gpus"),),
    "power mode": (("environment", "machine", "power_mode"),),
    "onnxruntime": (("environment", "machine", "packages", "onnxruntime"),),
    MODE: (("mode",),),
    RATE: (("fps",),),
    BESIDE: (("beside",),),
    SHAPES: (("shapes",),),
    DATA: (("data_sha256",),),
}
# Of these a report that has the key says something also where it is empty: no rate, and no model beside it.
_NONE_IS_SAID = (RATE, BESIDE)
_NONE = "none"
# What a NaN is: the worst that there is. More is better but of these.
_WORST = {"perplexity": math.inf}
_NEXT = "edgekit validate or edgekit bench, which write one"


@dataclass(frozen=True)
class Reported:
    """`conditions` by name as text, '' for what the report does not say; `doubts` about them. `latencies_ms` float64
    [n] in the order of the requests, None without any.

    `accuracy` by figure, such as `top1` or `sqnr_db logits`, on `samples` samples; `perplexity` is smaller where it is
    better, all others are larger.
    """

    path: Path
    conditions: dict[str, str]
    doubts: tuple[str, ...]
    latencies_ms: npt.NDArray[np.float64] | None
    accuracy: dict[str, float]
    samples: int


def read_report(path: Path) -> Reported:
    """Read a report of `validate`, of `bench`, or a bundle's reports/accuracy.json.

    Raises DataError for what is no such report, or has nothing in it that was measured.
    """
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "none"
        raise DataError(f"expected a report as JSON in {path}, found: {reason}", _NEXT) from error
    if not isinstance(table, dict):
        raise DataError(f"expected a report as JSON in {path}, found a {type(table).__name__}", _NEXT)
    latency = table["latency"] if isinstance(table.get("latency"), dict) else {}
    whole = {**table, **{key: value for key, value in latency.items() if key not in ("summary", "data")}}
    found = Reported(
        path=path,
        conditions=_apart({name: _condition(name, whole) for name in _CONDITIONS}),
        doubts=_checked(path, "doubts", lambda: tuple(str(item["text"]) for item in whole.get("doubts") or ())),
        latencies_ms=_checked(path, "latencies_ms", lambda: _latencies(whole.get("latencies_ms"))),
        accuracy=_checked(path, "accuracy", lambda: _accuracy(table.get("accuracy") or {})),
        samples=_checked(path, "samples", lambda: int(table.get("samples") or 0)),
    )
    if found.latencies_ms is None and not found.accuracy:
        raise DataError(f"expected latencies or accuracy in {path}, found neither", _NEXT)
    return found


def _checked(path: Path, name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
        raise DataError(
            f"expected `{name}` as `validate` and `bench` write it in {path}, found others", _NEXT
        ) from error


def _apart(conditions: dict[str, str]) -> dict[str, str]:
    """`validate` writes `ort, cpu` where `bench` has a backend and a device."""
    backend, _, device = conditions["backend"].partition(", ")
    return {**conditions, "backend": backend, "device": conditions["device"] or device}


def _condition(name: str, table: dict[str, Any]) -> str:
    """A condition as text, '' for what the report does not say."""
    places = _CONDITIONS[name]
    said = _told(table, places)
    has_key = any(keys[0] in table for keys in places)
    return _NONE if not said and name in _NONE_IS_SAID and has_key else said


def _told(table: dict[str, Any], places: tuple[tuple[str, ...], ...]) -> str:
    """What stands in the first place that has something, as text; '' for nothing, also in a list."""
    for keys in places:
        value: Any = table
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value not in (None, []) and not (isinstance(value, dict) and keys[-1] != "shapes"):
            return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return ""


def _latencies(values: Any) -> npt.NDArray[np.float64] | None:
    if values is None:
        return None
    found = np.array([float(value) for value in values], np.float64)
    if len(found) == 0 or not (np.isfinite(found) & (found > 0)).all():
        raise ValueError
    return found


def _accuracy(table: dict[str, Any]) -> dict[str, float]:
    """By figure; the cosine says what the SQNR says, and is left out."""
    found: dict[str, float] = {}
    for key in ("sqnr_db", "agreement"):
        found |= {f"{key} {output}": float(value) for output, value in (table.get(key) or {}).items()}
    for key in ("top1", "top5", "perplexity"):
        if table.get(key) is not None:
            found[key] = float(table[key]["found"])
    return {key: _WORST.get(key, -math.inf) if math.isnan(value) else value for key, value in found.items()}
