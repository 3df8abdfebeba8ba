"""Answers in words and as JSON: labels, boxes, arrays, windows, and what is none."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from edgekit.errors import OutputError
from edgekit.postprocess.classify import Label
from edgekit.runtime.loop import Processed
from edgekit.runtime.loop.answers import AnswersFile, brief
from edgekit.runtime.runner import Timing
from edgekit.specs import Classify
from tests.runtime.loop.cameras import frame

LABEL = Label("cat", 3, 0.5)


@pytest.mark.parametrize(
    ("spec", "answer", "said"),
    [
        (Classify("classify", "y"), [LABEL], ("cat 0.50",)),
        (None, {"y": np.array([[0.125]]), "z": np.zeros((2, 3), np.float32)}, ("y 0.125", "z float32[2, 3]")),
        (None, [{"y": np.array([1.0])}, {"y": np.array([2.0])}], ("y 2",)),
        (None, [], ("no window yet",)),
        (None, None, ("no answer yet",)),
        (None, 7, ("7",)),
    ],
)
def test_in_words(spec, answer, said):
    assert brief(spec, answer) == said


def test_answers_go_behind_those_that_are_there_and_into_no_other_file(tmp_path):
    path = tmp_path / "a.jsonl"
    for number in range(2):
        with AnswersFile(str(path)) as file:
            file.write(Processed(frame(number), number, 0.0, Timing(0, 1), False))
    assert [json.loads(line)["answer"] for line in path.read_text().splitlines()] == [0, 1]
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not answers")
    with pytest.raises(OutputError, match=r"expected a file of answers or none at .*clip\.mp4, found another"):
        AnswersFile(clip)
    assert clip.read_bytes() == b"not answers"


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        ('{"source": "a", "answer": 1}\n{"source": "a", "ans', '{"source": "a", "answer": 1}\n'),  # killed
        ('{"source": "a", "answer": 1}\n{"source": "a", "answer": 2}', None),  # an editor's
        ('{"source": "a", "answer": "' + "x" * 200_000, ""),
        ('{"source": "a", "answer": "' + "x" * 200_000 + '"}\n{"source": "' + "y" * 200_000, None),
        ('{"sour', ""),
        ("", ""),
    ],
)
def test_a_run_begins_behind_the_last_whole_line(tmp_path, left, kept):
    path = tmp_path / "a.jsonl"
    path.write_text(left)
    with AnswersFile(path) as file:
        file.write(Processed(frame(7), 7, 0.0, Timing(0, 1), False))
    *before, last = path.read_text().splitlines()
    assert json.loads(last)["answer"] == 7
    if kept is None:
        kept = left if left.endswith("}") else left[: left.rindex("\n")]
    assert before == kept.splitlines()


def test_a_pipe_gets_answers_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reads = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with AnswersFile(tmp_path / "pipe") as file:
        file.write(Processed(frame(7), "x" * 9000, 0.0, Timing(0, 1), False))
        assert json.loads(os.read(reads, 1 << 16))["number"] == 7
    os.close(reads)


def test_as_lines_of_json(tmp_path):
    answers = [[LABEL], {"y": np.array([1.5, np.nan], np.float32)}, [np.float32(2.5)], None, "é"]
    with AnswersFile(tmp_path / "a.jsonl") as file:
        for number, answer in enumerate(answers):
            file.write(Processed(frame(number), answer, 1.23456, Timing(0, 1), answer is None))
            assert len((tmp_path / "a.jsonl").read_text().splitlines()) == number + 1, "each as it comes"
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == [
        [{"name": "cat", "index": 3, "probability": 0.5}],
        {"y": [1.5, "nan"]},
        [2.5],
        None,
        "é",
    ]
    assert [line["held"] for line in lines] == [False, False, False, True, False]
    assert (lines[0]["age_ms"], lines[0]["source"], lines[1]["number"]) == (1.235, "front", 1)
