"""The budget language: what it reads, what it refuses, and when a promise is kept."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.budget import Limit, parse_budget
from edgekit.errors import RecipeError

VALUES = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.integers(-9999, 9999), min_size=1, max_size=4))
def test_budgets_survive_their_own_text(values):
    limits = tuple(Limit("sqnr_db", ">=", float(value), "accuracy") for value in values)
    assert parse_budget(",".join(map(str, limits))) == limits


@given(VALUES)
def test_any_finite_number_is_read_exactly(value):
    (limit,) = parse_budget(f"sqnr_db>={value!r}")
    assert limit.value == value


@given(VALUES, VALUES)
def test_a_relation_points_its_own_way(value, measured):
    assert Limit("k", ">=", value, "accuracy").holds(measured) == (measured >= value)
    assert Limit("k", "<=", value, "accuracy").holds(measured) == (measured <= value)


@pytest.mark.parametrize("relation", [">=", "<="])
def test_nan_keeps_no_promise(relation):
    assert not Limit("k", relation, 0.0, "accuracy").holds(math.nan)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "--3", "1e", ".", "+", "3.1.4"])
def test_what_is_no_finite_number_is_refused_with_the_part_that_is_wrong(number):
    with pytest.raises(RecipeError) as error:
        parse_budget(f"sqnr_db>=30,sqnr_db>={number}")
    assert f"found 'sqnr_db>={number}'" in str(error.value)
    assert error.value.next_step == "--budget"


@pytest.mark.parametrize("key", ["p99_ms<=20", "top1_drop<=0.01", "deadline_miss<=0.001"])
def test_a_promise_that_nothing_measures_yet_is_refused_rather_than_ignored(key):
    with pytest.raises(RecipeError, match="unknown key"):
        parse_budget(f"sqnr_db>=30,{key}")
