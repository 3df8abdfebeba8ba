"""A forecast in its own units, and the answers of all kinds."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.postprocess import answers, lines
from edgekit.postprocess.forecast import forecasts
from edgekit.specs import Classify, Forecast

MEAN, STD = (101325.0, -21.5), (40.0, 0.5)
SPEC = Forecast("forecast", "y", MEAN, STD, ("pressure", "temperature"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_it_undoes_the_scaling_of_each_channel_in_float64(dtype):
    values = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(dtype)
    kept = values.copy()
    found = forecasts(SPEC, values)
    assert len(found) == 3
    np.testing.assert_array_equal(values, kept)
    for one, scaled in zip(found, values, strict=True):
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, scaled.astype(float) * STD + MEAN, rtol=1e-15)


def test_one_channel_needs_no_axis():
    [found] = forecasts(Forecast("forecast", "y", (1.0,), (2.0,)), np.array([[0.0, 1.0, -1.0]], np.float32))
    np.testing.assert_array_equal(found, [[1], [3], [-1]])


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (np.zeros((1, 5, 3)), r"y: expected \[N, H, 2\], found float64\[1, 5, 3\]"),
        (np.zeros((5, 2)), r"found float64\[5, 2\]"),
        (np.full((1, 1, 2), np.nan), "found 2 NaN or infinite of 2"),
    ],
)
def test_what_does_not_fit_is_refused(output, says):
    with pytest.raises(DataError, match=says):
        forecasts(SPEC, output)


def test_an_answer_is_a_line_a_channel():
    [answer] = answers(SPEC, {"y": np.array([[[0, 0], [1, 3.0]]])}.__getitem__)
    assert lines(SPEC, answer) == ("pressure 1.013e+05 1.014e+05", "temperature -21.5 -20")
    unnamed = Forecast("forecast", "y", MEAN, STD)
    assert lines(unnamed, answer)[1] == "1 -21.5 -20"


def test_classes_are_answers_too():
    spec = Classify("classify", "y", ("cat", "dog"))
    [answer] = answers(spec, {"y": np.log(np.array([[1, 3.0]]))}.__getitem__, top=2)
    assert lines(spec, answer) == ("dog 0.75", "cat 0.25")
