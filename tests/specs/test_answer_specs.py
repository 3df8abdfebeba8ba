"""Answers as tables, and the tables that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgekit.errors import RecipeError
from edgekit.specs import Boxes, Classify, Ctc, Forecast, Postprocess, from_table, to_table

CLASSES = {"kind": "classify", "output": "logits", "labels": ["a", "b"]}
CTC = {"kind": "ctc", "output": "y", "alphabet": ["-", "a"], "layout": "TNC"}
BOXES = {"kind": "boxes", "boxes": "b", "scores": "s", "format": "cxcywh", "iou": 1, "threshold": 0}
FORECAST = {"kind": "forecast", "output": "y", "mean": [1, 2], "std": [1, 0.5], "names": ["t", "p"]}
TABLES = {Classify: CLASSES, Ctc: CTC, Boxes: BOXES, Forecast: FORECAST}


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.KIND)
def test_a_table_of_its_kind_survives_json(kind):
    made = from_table(Postprocess, TABLES[kind], "here")
    assert type(made) is kind
    assert from_table(Postprocess, json.loads(json.dumps(to_table(made))), "here") == made
    assert kind.ASSETS == ()


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        (CTC, {"kind": "rnnt"}, "expected one of classify, ctc, boxes, forecast, found 'rnnt'"),
        (CTC, {"alphabet": ["-"]}, "postprocess.alphabet: expected the blank and more, found 1 classes"),
        (CTC, {"blank": 2}, "postprocess.blank: expected 0 .. 1, found 2"),
        (CTC, {"blank": -1}, "blank"),
        (CTC, {"layout": "CTN"}, "layout"),
        (BOXES, {"format": "yxyx"}, "format"),
        (BOXES, {"layout": "KNC"}, "layout"),
        (BOXES, {"boxes": ""}, "expected two outputs"),
        (BOXES, {"scores": "b"}, "expected two outputs"),
        (BOXES, {"threshold": 1.5}, "postprocess.threshold: expected a finite number in 0 .. 1, found 1.5"),
        (BOXES, {"iou": float("nan")}, "iou"),
        (BOXES, {"most": 0}, "postprocess.most: expected 1 .. 100000, found 0"),
        (FORECAST, {"mean": [], "std": [], "names": []}, "a mean and a std for each channel"),
        (FORECAST, {"std": [1, 0]}, "other than zero"),
        (FORECAST, {"std": [1]}, "found 2 and 1"),
        (FORECAST, {"names": ["t"]}, "postprocess.names: expected 2 of them, found 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(table: dict[str, Any], change: dict[str, Any], says: str):
    with pytest.raises(RecipeError) as error:
        from_table(Postprocess, {**table, **change}, "here")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert from_table(Postprocess, table, "here")


@pytest.mark.parametrize(("kind", "table"), TABLES.items(), ids=lambda value: getattr(value, "KIND", ""))
def test_a_kind_made_in_python_is_checked_too(kind, table):
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    assert kind(**values) == from_table(Postprocess, table, "here")
    with pytest.raises(RecipeError, match=r"postprocess\.kind"):
        kind(**{**values, "kind": "guess"})
