"""Outputs against outputs: what is compared with what, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.budget import parse_budget
from edgekit.errors import DataError, ModelError
from edgekit.validate.accuracy import Comparison

RANDOM = np.random.default_rng(0)


def compared(wanted: dict, found: dict, labels=None, classifies: bool = True):
    meters = Comparison(classifies=classifies)
    meters.add(wanted, found, labels)
    return meters.result()


def value(accuracy, budget: str) -> float:
    (limit,) = parse_budget(budget)
    return accuracy.of(limit)


def test_the_worst_output_counts():
    a, b = RANDOM.normal(size=(2, 5, 4)).astype(np.float32)
    accuracy = compared({"a": a, "b": b}, {"a": a, "b": b[:, ::-1]})
    assert accuracy.sqnr_db["a"] == math.inf
    assert value(accuracy, "sqnr_db>=1") == accuracy.sqnr_db["b"] < 10
    assert value(accuracy, "agreement>=1") == min(accuracy.agreement.values()) < 1
    broken = compared({"a": a, "b": b}, {"a": a, "b": b * np.nan})
    assert value(broken, "sqnr_db>=1") == -math.inf
    assert value(broken, "agreement>=0") == 0


def test_labels_score_the_output_that_has_their_shape():
    scores = np.eye(4, dtype=np.float32)[[0, 1, 2]]
    outputs = {"features": RANDOM.normal(size=(3, 7, 5)).astype(np.float32), "logits": scores}
    accuracy = compared(outputs, {**outputs, "logits": scores[::-1]}, np.array([0, 1, 2]))
    assert accuracy.scored == "logits"
    assert (accuracy.top1.reference, accuracy.top1.found) == (1, pytest.approx(1 / 3))
    assert value(accuracy, "top1_drop<=0") == pytest.approx(2 / 3)
    assert accuracy.perplexity is None


def test_tokens_have_a_perplexity():
    logits = RANDOM.normal(size=(2, 6, 11)).astype(np.float32)
    tokens = RANDOM.integers(0, 11, (2, 6))
    tokens[1, 4:] = -100
    accuracy = compared({"logits": logits}, {"logits": logits / 2}, tokens)
    flat, known = logits.astype(np.float64).reshape(-1, 11), tokens.reshape(-1) >= 0
    logs = flat - np.log(np.exp(flat).sum(1, keepdims=True))
    wanted = math.exp(-logs[known, tokens.reshape(-1)[known]].mean())
    assert accuracy.perplexity.reference == pytest.approx(wanted)
    rise = accuracy.perplexity.found / wanted - 1
    assert value(accuracy, "perplexity_rise<=1") == pytest.approx(rise)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"other": np.zeros((2, 3), np.float32)}, "expected the outputs"),
        ({"logits": np.zeros((2, 4), np.float32)}, "expected shape"),
    ],
)
def test_another_networks_outputs_are_refused(found, says):
    with pytest.raises(ModelError, match=says):
        compared({"logits": np.zeros((2, 3), np.float32)}, found)


def test_what_is_not_there_is_not_invented():
    regression = {"angle": np.zeros((3, 1), np.float32)}
    accuracy = compared(regression, regression)
    assert accuracy.agreement == {}
    for budget in ("agreement>=0", "top1>=0", "perplexity<=9"):
        with pytest.raises(DataError) as error:
            value(accuracy, budget)
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="expected labels of a shape"):
        compared(regression, regression, np.zeros(3, np.int64))
    assert compared({"a": np.ones((2, 3))}, {"a": np.ones((2, 3))}, classifies=False).agreement == {}
