"""The budget language: what it reads, what it refuses, and when a promise is kept."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.budget import (
    FAIL,
    INCONCLUSIVE,
    LABELLED,
    PASS,
    Finding,
    Limit,
    budget_text,
    doubt_fakes,
    judge_exactly,
    parse_budget,
    verdict_of,
)
from edgekit.errors import RecipeError

VALUES = st.floats(allow_nan=False, allow_infinity=False)
ACCURACY = {
    **dict.fromkeys(["sqnr_db", "cosine", "agreement", "top1", "top5"], ">="),
    **dict.fromkeys(["top1_drop", "top5_drop", "perplexity", "perplexity_rise", "worst_slice_drop"], "<="),
}
LATENCY = dict.fromkeys(["p50_ms", "p90_ms", "p99_ms", "p999_ms", "jitter_ms", "deadline_miss"], "<=")
RELATIONS = ACCURACY | LATENCY
OTHER = {">=": "<=", "<=": ">="}


def limit_of(key: str, value: float) -> Limit:
    return Limit(key, RELATIONS[key], value, "accuracy" if key in ACCURACY else "latency")


@given(st.lists(st.tuples(st.sampled_from(["sqnr_db", "p99_ms", "jitter_ms"]), st.integers(0, 9999)), min_size=1))
def test_budgets_survive_their_own_text(pairs):
    limits = tuple(limit_of(key, float(value)) for key, value in pairs)
    assert parse_budget(",".join(map(str, limits))) == limits


@pytest.mark.parametrize("key", RELATIONS)
def test_every_key_is_read_into_its_gate_and_printed_back(key):
    value = 1.25 if key == "perplexity" else 0.25
    assert parse_budget(f" {key} {RELATIONS[key]} {value} ") == (limit_of(key, value),)
    assert str(limit_of(key, value)) == f"{key}{RELATIONS[key]}{value}"


@pytest.mark.parametrize(
    "promise",
    ["agreement>=95", "top1>=-0.1", "top1_drop<=2", "deadline_miss<=1.5", "deadline_miss<=-1", "p99_ms<=-3",
     "cosine>=1.01", "perplexity<=0.9", "jitter_ms<=-1"],
)  # fmt: skip
def test_a_promise_that_makes_no_sense_is_refused(promise):
    """95 for 95 % would always FAIL, and a miss rate above one always PASS."""
    with pytest.raises(RecipeError, match=r"budget: expected .* of .* \.\. .*, found"):
        parse_budget(promise)


@pytest.mark.parametrize("key", RELATIONS)
def test_a_promise_in_the_wrong_direction_is_refused(key):
    with pytest.raises(RecipeError) as error:
        parse_budget(f"{key}{OTHER[RELATIONS[key]]}2")
    assert error.value.problem == f"budget: expected {key}{RELATIONS[key]}2, found {key}{OTHER[RELATIONS[key]]}2"


def test_what_needs_labels_is_about_accuracy():
    assert set(LABELLED) == {key for key in ACCURACY if key.startswith(("top", "perplexity", "worst"))}


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


@pytest.mark.parametrize(
    "text", ["", ",", "sqnr_db>=30,", "sqnr_db", "sqnr_db=30", "sqnr_db>30", ">=30", "30<=sqnr_db"]
)
def test_what_is_no_promise_is_refused(text):
    with pytest.raises(RecipeError, match="expected a budget such as"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("p98_ms", "p99_ms"),
        ("p99", "p99_ms"),
        ("top_1", "top1"),
        ("sqnr", "sqnr_db"),
        ("jitter", "jitter_ms"),
        ("deadline_misses", "deadline_miss"),
        ("perplexity_drop", "perplexity_rise"),
    ],
)
def test_an_unknown_key_names_the_nearest(key, meant):
    with pytest.raises(RecipeError) as error:
        parse_budget(f"sqnr_db>=30,{key}<=1")
    assert f"unknown key {key!r}" in error.value.problem
    assert repr(meant) in error.value.problem


@pytest.mark.parametrize("key", ["age_p99_ms<=20", "recall>=0.9", "drift<=0.02"])
def test_a_promise_that_nothing_measures_yet_is_refused_rather_than_ignored(key):
    with pytest.raises(RecipeError, match="unknown key"):
        parse_budget(f"sqnr_db>=30,{key}")


@given(st.sampled_from(sorted(RELATIONS)), VALUES, VALUES)
def test_an_exact_value_is_judged_by_its_limit_alone(key, value, measured):
    limit = limit_of(key, value)
    found = judge_exactly(limit, measured)
    assert found == Finding(limit, PASS if limit.holds(measured) else FAIL, measured, measured, measured)


def test_a_broken_model_keeps_no_exact_promise():
    assert all(judge_exactly(limit_of(key, 0.0), math.nan).outcome == FAIL for key in ACCURACY)


def found(key: str, outcome: str) -> Finding:
    return Finding(limit_of(key, 1.0), outcome, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("accuracy", "latency", "verdict"),
    [
        (PASS, PASS, (PASS, 0)),
        (FAIL, PASS, (FAIL, 3)),
        (PASS, FAIL, (FAIL, 4)),
        (FAIL, FAIL, (FAIL, 3)),
        (PASS, INCONCLUSIVE, (INCONCLUSIVE, 5)),
        (FAIL, INCONCLUSIVE, (FAIL, 3)),
    ],
)
def test_accuracy_counts_before_latency(accuracy, latency, verdict):
    findings = [found("sqnr_db", accuracy), found("p99_ms", latency)]
    assert verdict_of(findings) == verdict_of(iter(findings[::-1])) == verdict


@given(st.lists(st.tuples(st.sampled_from(sorted(LATENCY)), st.sampled_from([PASS, FAIL, INCONCLUSIVE]))))
def test_one_failure_fails_and_one_doubt_is_a_doubt(pairs):
    verdict, code = verdict_of(found(key, outcome) for key, outcome in pairs)
    outcomes = {outcome for _, outcome in pairs}
    assert (verdict == FAIL, verdict == PASS) == (FAIL in outcomes, outcomes <= {PASS})
    assert code == {PASS: 0, FAIL: 4, INCONCLUSIVE: 5}[verdict]


def test_a_finding_is_told_in_one_line():
    latency = Finding(limit_of("p99_ms", 20), PASS, 12.34567, 11.0, 15.5)
    undecided = replace(latency, outcome=INCONCLUSIVE, high=math.inf, missing=17)
    assert str(latency) == "p99_ms<=20: PASS, found 12.35 (11 .. 15.5)"
    assert str(undecided) == "p99_ms<=20: INCONCLUSIVE, found 12.35 (11 .. inf), about 17 samples missing"
    assert str(replace(undecided, missing=None)).endswith("(11 .. inf), and no number of samples decides")
    sliced = Finding(limit_of("worst_slice_drop", 0.03), FAIL, 0.079, 0.079, 0.079, where="slice 7")
    assert str(sliced) == "worst_slice_drop<=0.03: FAIL, found 0.079 in slice 7"
    assert str(judge_exactly(limit_of("sqnr_db", 30), 29.5)) == "sqnr_db>=30: FAIL, found 29.5"


def test_a_device_that_tests_play_never_passes():
    passed, failed = (judge_exactly(limit, 30.0) for limit in parse_budget("sqnr_db>=20,sqnr_db>=40"))
    assert doubt_fakes([passed, failed], "trt, NVIDIA Orin (compute capability 8.7)") == (passed, failed)
    doubted = doubt_fakes([passed, failed], "trt, edgekit fake device (compute capability 8.7)")
    assert [item.outcome for item in doubted] == [INCONCLUSIVE, FAIL]
    assert verdict_of(doubted[:1]) == (INCONCLUSIVE, 5)
    assert "no number of samples decides" in str(doubted[0])


@given(st.sampled_from(sorted(RELATIONS)), st.floats(0.0, 1.0))
def test_limits_are_read_again_from_their_text(key, value):
    """With all digits, unlike what a person is shown."""
    made = (limit_of(key, 1 + value if key == "perplexity" else value), limit_of("p99_ms", 1e3 * value))
    assert parse_budget(budget_text(made)) == made
