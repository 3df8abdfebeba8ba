"""Greedy decoding of CTC against a slow decoder of the standard library, and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.postprocess import answers, lines
from edgekit.postprocess.ctc import Transcript, transcripts
from edgekit.specs import Ctc

ABC = Ctc("ctc", "y", ("-", "a", "b", " "))


def path(text: str, spec: Ctc = ABC) -> np.ndarray:
    """[T,C]: logits of which these classes are the largest."""
    return np.eye(len(spec.alphabet), dtype=np.float32)[[spec.alphabet.index(letter) for letter in text]] * 5


def slow(values: np.ndarray, spec: Ctc) -> tuple[str, tuple[int, ...], float]:
    best = [max(range(len(row)), key=lambda index: row[index]) for row in values.tolist()]
    text, steps, step = "", [], 0
    for index, same in itertools.groupby(best):
        if index != spec.blank:
            text += spec.alphabet[index]
            steps.append(step)
        step += len(list(same))
    chances = [math.exp(row[index]) / sum(map(math.exp, row)) for row, index in zip(values.tolist(), best, strict=True)]
    return text, tuple(steps), sum(map(math.log, chances))


@pytest.mark.parametrize(
    ("said", "text", "steps"),
    [
        ("aab--b", "abb", (0, 2, 5)),
        ("a-a", "aa", (0, 2)),
        ("aaa", "a", (0,)),
        ("---", "", ()),
        ("-a b-", "a b", (1, 2, 3)),
        ("b", "b", (0,)),
    ],
)
def test_repeats_are_one_and_a_blank_parts_them(said, text, steps):
    [found] = transcripts(ABC, path(said)[None])
    assert (found.text, found.steps) == (text, steps)
    assert "".join(found.symbols) == text


def test_no_steps_are_an_empty_text():
    assert transcripts(ABC, np.zeros((1, 0, 4), np.float32)) == [Transcript("", (), (), 0.0)]


def test_symbols_may_have_several_letters_and_the_blank_may_be_any():
    spec = Ctc("ctc", "y", ("ch", "th", ""), blank=2)
    values = np.eye(3)[[2, 0, 0, 2, 1, 2]]
    [found] = transcripts(spec, values[None])
    assert (found.text, found.symbols, found.steps) == ("chth", ("ch", "th"), (1, 4))


@given(
    steps=st.integers(0, 30),
    classes=st.integers(2, 6),
    seed=st.integers(0, 999),
    layout=st.sampled_from(["NTC", "NCT", "TNC"]),
)
def test_any_logits_are_decoded_as_slowly(steps, classes, seed, layout):
    random = np.random.default_rng(seed)
    spec = Ctc("ctc", "y", tuple("abcdef"[:classes]), int(random.integers(classes)), layout)
    # Few values, so that classes are often equal and steps often repeat.
    values = random.integers(-1, 2, (2, steps, classes)).astype(np.float32) * 3
    found = transcripts(spec, values.transpose(["NTC".index(axis) for axis in layout]))
    for one, rows in zip(found, values, strict=True):
        text, begins, chance = slow(rows, spec)
        assert (one.text, one.steps) == (text, begins)
        assert one.log_probability == pytest.approx(chance)


def test_logits_and_log_probabilities_are_one_and_large_logits_do_not_overflow():
    values = np.random.default_rng(1).normal(0, 3, (1, 50, 4))
    logs = values - np.log(np.exp(values).sum(-1, keepdims=True))
    [one], [other] = transcripts(ABC, values), transcripts(ABC, logs)
    assert one.text == other.text
    assert one.log_probability == pytest.approx(other.log_probability)
    assert transcripts(ABC, values.astype(np.float32) * 1e37)[0].log_probability == pytest.approx(0)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (np.zeros((3, 4)), r"y: expected \[N, T, C\], found float64\[3, 4\]"),
        (np.zeros((1, 3, 5)), "expected 4 classes as in the alphabet, found 5"),
        (np.full((1, 3, 4), np.nan), "found 12 NaN or infinite of 12"),
        (np.array([[[0, 0, 0, -np.inf]]]), "found 1 NaN or infinite of 4"),
        (np.zeros((1, 3, 4), complex), "expected real numbers, found complex128"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(output, says):
    with pytest.raises(DataError, match=says) as error:
        transcripts(ABC, output)
    assert "\n" not in str(error.value)


def test_an_answer_is_a_line():
    [answer] = answers(ABC, {"y": path("aa-ab")[None]}.__getitem__)
    assert lines(ABC, answer) == ("aab",)
