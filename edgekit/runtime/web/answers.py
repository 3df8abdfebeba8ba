"""An answer of a loop, whatever it is, as JSON values that a page can show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.postprocess import lines
from edgekit.postprocess.boxes import Box
from edgekit.postprocess.classify import Label
from edgekit.postprocess.ctc import Transcript
from edgekit.preprocess.placement import Placement
from edgekit.runtime.web.view import View
from edgekit.specs import AudioPreprocess, Forecast, SeriesPreprocess, described

# More would not be read; a bundle or a function may give any number.
_MOST_LABELS, _MOST_BOXES, _MOST_LINES, _MOST_VALUES, _MOST_LETTERS = 10, 200, 40, 8, 2000


def shown_answer(answer: Any, view: View, place: Placement | None) -> dict[str, Any]:
    """`labels` [name, probability], `boxes` with their corners in pixels of the picture, and `lines` of text.

    Known by their types, so that a function's answers are shown too. A network with states gives a list of answers, one
    a window: the last is shown.
    """
    if answer is None:
        return {"lines": ["no answer yet"]}
    if isinstance(answer, (list, tuple)):
        return _of_list(answer, view, place)
    if isinstance(answer, Box):
        return _boxes([answer], place)
    if isinstance(answer, Label):
        return _labels([answer])
    return {"lines": [_cut(line) for line in _lines(answer, view)[:_MOST_LINES]]}


def _of_list(answer: list[Any] | tuple[Any, ...], view: View, place: Placement | None) -> dict[str, Any]:
    if not answer:
        windows = isinstance(view.preprocessing, (AudioPreprocess, SeriesPreprocess))
        return {"lines": ["no window is whole yet"]} if windows else {"boxes": [], "lines": ["nothing found"]}
    if all(isinstance(item, Label) for item in answer):
        return _labels(answer)
    if all(isinstance(item, Box) for item in answer):
        return _boxes(answer, place)
    last = answer[-1]
    if isinstance(last, (list, tuple, Mapping, Transcript, np.ndarray)) or last is None:
        return shown_answer(last, view, place)
    return {"lines": [_cut(" ".join(_number(item) for item in answer[:_MOST_VALUES]))]}


def _labels(labels: Any) -> dict[str, Any]:
    return {
        "labels": [
            [_cut(label.name), round(label.probability, 4) if math.isfinite(label.probability) else 0.0]
            for label in labels[:_MOST_LABELS]
        ]
    }


def _boxes(boxes: Any, place: Placement | None) -> dict[str, Any]:
    shown = []
    for box in boxes[:_MOST_BOXES]:
        corners = place.corners(box.corners) if place else box.corners
        if all(map(math.isfinite, corners)):
            shown.append(
                {
                    "name": _cut(box.name),
                    "score": f"{box.score:.2f}",
                    "corners": [round(float(value), 2) for value in corners],
                }
            )
    return {"boxes": shown, "more": len(boxes) - len(shown)}


def _lines(answer: Any, view: View) -> list[str]:
    spec = view.postprocessing
    if isinstance(answer, Transcript):
        return [answer.text]
    if isinstance(answer, Mapping):
        return [f"{name} {_array(value)}" for name, value in answer.items()]
    if isinstance(answer, np.ndarray):
        forecast = isinstance(spec, Forecast) and answer.ndim == 2 and answer.shape[1] == len(spec.mean)
        return list(lines(spec, answer)) if spec is not None and forecast else [_array(answer)]
    return [_number(answer)]


def _array(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return _number(value)
    first = " ".join(_number(item) for item in value.reshape(-1)[:_MOST_VALUES].tolist())
    return f"{described(value)} {first}{' …' if value.size > _MOST_VALUES else ''}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS] + "…"
