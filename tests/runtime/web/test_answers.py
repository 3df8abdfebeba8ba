"""Whatever a loop may answer can be shown: by its type, short, and as JSON that every browser reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.postprocess.boxes import Box
from edgekit.postprocess.classify import Label
from edgekit.postprocess.ctc import Transcript
from edgekit.preprocess.placement import Placement
from edgekit.runtime.web import View
from edgekit.runtime.web.answers import shown_answer
from edgekit.specs import Classify, Forecast, SeriesPreprocess

CAT, DOG = Label("cat", 3, 0.91), Label("dog", 4, 0.05)
SERIES = View(SeriesPreprocess("series", "x", (0.0,), (1.0,)))


def shown(answer, view: View = View(), place: Placement | None = None) -> dict:
    return json.loads(json.dumps(shown_answer(answer, view, place), allow_nan=False))


@pytest.mark.parametrize("view", [View(), View(None, Classify("classify", "logits"))])
@pytest.mark.parametrize("answer", [[CAT, DOG], (CAT, DOG), [[DOG], [CAT, DOG]]])
def test_labels_with_their_probabilities_of_windows_the_last(answer, view):
    assert shown(answer, view) == {"labels": [["cat", 0.91], ["dog", 0.05]]}


def test_boxes_are_moved_to_the_picture():
    box = Box("cat", 0, 0.876, (1.0, 2.0, 3.0, 4.0))
    at_home = {"boxes": [{"name": "cat", "score": "0.88", "corners": [1, 2, 3, 4]}], "more": 0}
    assert shown([box]) == shown(box) == at_home
    moved = shown([box], place=Placement(10.0, 20.0, 2.0, 3.0))
    assert moved["boxes"][0]["corners"] == [12, 26, 16, 32]


def test_nothing_found_is_said_and_so_is_no_answer_and_no_window():
    assert shown([]) == {"boxes": [], "lines": ["nothing found"]}
    assert shown(None) == shown([[CAT], None]) == {"lines": ["no answer yet"]}
    assert shown([], SERIES) == {"lines": ["no window is whole yet"]}


def test_a_text_is_shown_of_windows_the_last():
    heard = [Transcript(text, (), (), 0.0) for text in ("hel", "hello")]
    assert shown(heard[1]) == shown(heard) == {"lines": ["hello"]}


def test_a_forecast_has_its_names():
    spec = Forecast("forecast", "y", (0.0, 0.0), (1.0, 1.0), ("volt", "ampere"))
    values = np.array([[1.5, 2.0], [3.25, 4.0]])
    assert shown(values, View(None, spec)) == {"lines": ["volt 1.5 3.25", "ampere 2 4"]}
    assert shown([values], View(None, spec)) == {"lines": ["volt 1.5 3.25", "ampere 2 4"]}


def test_outputs_have_names_shapes_and_first_values():
    outputs = {"logits": np.arange(12, dtype=np.float32) / 8, "n": np.int64(3)}
    said = ["logits float32[12] 0 0.125 0.25 0.375 0.5 0.625 0.75 0.875 …", "n 3"]
    assert shown(outputs) == shown([{}, outputs]) == {"lines": said}
    assert shown(np.array([[True]])) == {"lines": ["bool[1, 1] True"]}


@pytest.mark.parametrize(
    ("answer", "said"), [(7, "7"), ("left", "left"), (0.123456, "0.1235"), ([1, 2.5], "1 2.5"), (Path("x"), "x")]
)
def test_a_functions_own_answer_is_shown_as_text(answer, said):
    assert shown(answer) == {"lines": [said]}


def test_much_is_cut_and_what_json_cannot_say_is_left_out():
    many = shown([Box(str(n), n, 0.5, (0.0, 0.0, 1.0, 1.0)) for n in range(250)])
    assert (len(many["boxes"]), many["more"]) == (200, 50)
    assert shown([Box("a", 0, 0.5, (0.0, float("nan"), 1.0, float("inf")))]) == {"boxes": [], "more": 1}
    assert shown([Label("a", 0, float("nan"))]) == {"labels": [["a", 0.0]]}
    assert len(shown([Label("a" * 10**6, 0, 0.5)])["labels"][0][0]) == 2001
    assert len(shown({str(n): n for n in range(1000)})["lines"]) == 40
    assert shown(float("nan")) == {"lines": ["nan"]}
    assert shown([Label("\ud800<img>", 0, 0.5)]) == {"labels": [["\ud800<img>", 0.5]]}
