"""Which layers stay in floating point: the bad one first, no more than it takes, and few runs to know how many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from edgekit.quantize.choice import Choice
from edgekit.quantize.held_back import Score
from edgekit.quantize.keeping import Aim, fewest, keep, noises, worth_keeping
from edgekit.quantize.ranking import Noise
from edgekit.reports import no_progress
from tests.quantize.digit_cnn import as_onnx, digits, held_back_of, subject_of, weights

LAYERS = ("first", "second", "left", "right", "dense")


@given(st.integers(0, 200).flatmap(lambda most: st.tuples(st.just(most), st.integers(0, most), st.integers(0, 250))))
@settings(deadline=None)
def test_the_fewest_are_found_and_few_numbers_are_tried(numbers):
    """Brute force: the first number that holds, or the most that there may be."""
    most, guess, needed = numbers
    tried: list[int] = []

    def holds(kept: int) -> bool:
        tried.append(kept)
        return kept >= needed

    assert fewest(holds, guess, most) == next((kept for kept in range(most) if kept >= needed), most)
    assert all(0 <= kept <= most for kept in tried)
    assert len(tried) == len(set(tried)), "no number twice"
    assert most not in tried or guess == most, "it is the answer where no other is"
    away = abs(min(needed, most) - guess)
    assert len(tried) <= 2 * math.log2(away + 1) + 3


def test_a_good_guess_needs_two_runs():
    for needed in (0, 1, 5, 20):
        tried: list[int] = []
        assert fewest(lambda kept, n=needed, t=tried: t.append(kept) or kept >= n, needed, 40) == needed
        assert len(tried) <= 2


def bad_layer(factor: float = 300.0):
    """The trained network with one channel of `a` that is `factor` times as large, and as much smaller weights behind
    it: the same function, and one range for all channels of `a` is lost on the others."""
    arrays = weights()
    arrays["first.weight"][3] *= factor
    arrays["first.bias"][3] *= factor
    arrays["second.weight"][:, 3] /= factor
    return as_onnx(arrays)


@pytest.fixture(scope="module")
def subject():
    return subject_of(bad_layer(), {"image": digits()[0][1300:1364]})


@pytest.fixture(scope="module")
def held_back():
    held = held_back_of(bad_layer(), {"image": digits()[0][1364:1396]}, digits()[1][1364:1396])
    yield held
    held.close()


@pytest.fixture(scope="module")
def sqnr_db(subject, held_back) -> dict[tuple[str, ...], float]:
    """The oracle: what the model scores with the first layers of the ranking kept, measured one by one."""
    ranking = [noise.layer for noise in noises(subject, Choice(), held_back, no_progress)]
    return {
        tuple(ranking[:count]): held_back.score(
            subject.quantized(Choice(), ranking[:count]).SerializeToString()
        ).sqnr_db
        for count in range(len(ranking) + 1)
    }


def test_the_layer_with_an_outlier_channel_ranks_first(subject, held_back):
    ranking = noises(subject, Choice(), held_back, no_progress)
    assert sorted(noise.layer for noise in ranking) == sorted(LAYERS)
    assert ranking[0].layer == "second"
    assert ranking[0].op_type == "Conv"
    assert ranking[0].power > 10 * ranking[1].power
    powers = [noise.power for noise in ranking]
    assert powers == sorted(powers, reverse=True)
    sound = subject_of(as_onnx(), {"image": digits()[0][1300:1364]})
    before = {noise.layer: noise.power for noise in noises(sound, Choice(), held_back, no_progress)}
    assert before["second"] < ranking[0].power / 10, "it is the outlier, not the layer"


def test_a_layers_noise_is_what_it_adds_when_it_alone_is_quantized(subject, held_back):
    for noise in noises(subject, Choice(), held_back, no_progress):
        others = [layer for layer in LAYERS if layer != noise.layer]
        model = subject.quantized(Choice(), others)
        assert [item.op_type for item in model.graph.node].count("QuantizeLinear") == 1
        assert noise.power == pytest.approx(held_back.score(model.SerializeToString(), 16).noise)


def test_a_number_is_kept_as_it_is_asked_for(subject, held_back, sqnr_db):
    for count in (0, 1, 2, 5, 9):
        found = keep(subject, Choice(), held_back, (str(count), Aim()), no_progress)
        assert len(found.nodes) == min(count, 5)
        assert found.nodes == tuple(noise.layer for noise in found.ranking[:count])
        assert {number: score.sqnr_db for number, score in found.measured.items()} == {
            number: pytest.approx(sqnr_db[tuple(noise.layer for noise in found.ranking[:number])])
            for number in {0, min(count, 5)}
        }
    kept, plain = sqnr_db[("second",)], sqnr_db[()]
    assert kept > plain + 8, "one layer is worth it"


@pytest.mark.parametrize("asked", ["auto", None])
def test_auto_keeps_the_fewest_that_reach_a_target(subject, held_back, sqnr_db, asked):
    values = list(sqnr_db.values())
    for count in (0, 1, 2):
        aim = Aim(min_sqnr_db=values[count] - 0.01)
        wanted = next(number for number, db in enumerate(values) if aim.min_sqnr_db <= db)
        found = keep(subject, Choice(), held_back, (asked, aim), no_progress)
        assert len(found.nodes) == wanted
        assert found.measured[wanted].sqnr_db >= aim.min_sqnr_db
        assert all(number == wanted or number < wanted or number in found.measured for number in found.measured)
    assert len(keep(subject, Choice(), held_back, (asked, Aim(values[0] - 20)), no_progress).nodes) == 0


def test_out_of_reach_half_of_the_layers_are_kept(subject, held_back):
    found = keep(subject, Choice(), held_back, ("auto", Aim(min_sqnr_db=200)), no_progress)
    assert len(found.nodes) == 2
    assert found.nodes[0] == "second"
    assert {0, 2} <= found.measured.keys()


def test_a_drop_can_be_the_aim():
    """So large an outlier that answers change; with its layer kept they do not."""
    images = digits()[0]
    model = bad_layer(20_000)
    subject = subject_of(model, {"image": images[1300:1364]})
    held = held_back_of(model, {"image": images[1364:1424]}, digits()[1][1364:1424])
    try:
        found = keep(subject, Choice(), held, ("auto", Aim(max_drop=0.0)), no_progress)
        assert found.measured[0].drop > 0.05
        assert found.nodes == ("second",)
        assert found.measured[1].drop <= 0
    finally:
        held.close()


def test_without_a_target_a_small_network_keeps_none(subject, held_back):
    """A tenth of five layers is less than one."""
    found = keep(subject, Choice(), held_back, ("auto", Aim()), no_progress)
    assert found.nodes == ()
    assert found.measured.keys() == {0}


def ranking_of(*powers: float) -> tuple[Noise, ...]:
    return tuple(Noise(f"layer {index}", "Conv", power) for index, power in enumerate(powers))


@pytest.mark.parametrize(
    ("powers", "number"),
    [
        ([1.0] * 40, 0),  # the first of forty alike is 0.11 dB
        ([100.0] + [1.0] * 39, 1),
        ([100.0, 10.0] + [0.1] * 38, 2),
        ([100.0, 10.0, 1.0, 0.5, 0.2] + [0.001] * 35, 4),  # a tenth, though the fifth would pay too
        ([math.inf, math.inf, 5.0] + [0.1] * 37, 3),  # what breaks the model, one after the other
        ([0.0] * 40, 0),
        ([1.0, 1.0] + [0.0] * 38, 2),
        ([100.0] + [0.0] * 8, 0),
        ([], 0),
    ],
)
def test_without_a_target_a_layer_is_kept_that_gains_half_a_decibel(powers, number):
    assert worth_keeping(ranking_of(*powers)) == number


@given(st.lists(st.floats(0, 1e6) | st.just(math.inf), max_size=60))
@settings(deadline=None)
def test_never_more_than_a_tenth_is_kept_without_a_target(powers):
    assert 0 <= worth_keeping(ranking_of(*sorted(powers, reverse=True))) <= len(powers) // 10


@pytest.mark.parametrize(
    ("aim", "score", "holds"),
    [
        (Aim(), Score(1, -math.inf, None), True),
        (Aim(20), Score(0.01, 20.0, None), True),
        (Aim(20), Score(0.01, 19.99, 0.0), False),
        (Aim(None, 0.01), Score(1, 0, 0.01), True),
        (Aim(None, 0.01), Score(1, 50, 0.02), False),
        (Aim(None, 0.01), Score(1, 50, None), False),  # no scores, no drop: nothing was shown
        (Aim(20, 0.01), Score(1, 30, 0.02), False),
        (Aim(20, 0.01), Score(1, 10, 0.0), False),
        (Aim(20, 0.0), Score(1, 30, -0.1), True),
    ],
)
def test_an_aim(aim, score, holds):
    assert aim.holds(score) == holds
