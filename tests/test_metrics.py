"""The meters: against Python's exact sums and torch's functions, over batches, dtypes and broken values."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.metrics import (
    IGNORED,
    Agreement,
    Cosine,
    Perplexity,
    SliceCount,
    SliceCounts,
    Sqnr,
    TopK,
    class_axis,
    mcnemar,
)

VALUES = st.floats(-1e6, 1e6, width=32)
BROKEN = [math.nan, math.inf, -math.inf]
# Scores of 7 classes, by where they stand.
LAYOUTS = {"[N,C]": (40, 7), "[N,S,C]": (8, 5, 7), "[N,C,H,W]": (4, 7, 3, 3)}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def stats():
    return pytest.importorskip("scipy.stats", reason="SciPy comes with scikit-learn")


def db(*pairs: tuple[list, list], dtype: type = np.float32) -> float:
    meter = Sqnr()
    for wanted, found in pairs:
        meter.add(np.array(wanted, dtype), np.array(found, dtype))
    return meter.db()


def cosine(*pairs: tuple[list, list], dtype: type = np.float32) -> float:
    meter = Cosine()
    for wanted, found in pairs:
        meter.add(np.array(wanted, dtype), np.array(found, dtype))
    return meter.value()


def labelled_scores(layout: str, seed: int = 0):
    """Scores without ties, and labels of which about a fifth are left out."""
    random = np.random.default_rng(seed)
    shape = LAYOUTS[layout]
    axis = class_axis(shape)
    places = shape[:axis] + shape[axis + 1 :]
    labels = np.where(random.random(places) < 0.2, IGNORED, random.integers(0, 7, places))
    return random.normal(size=shape).astype(np.float32), labels


def classes_last(torch, scores):
    """As torch wants them: [rows, 7]."""
    return torch.from_numpy(scores).double().movedim(class_axis(scores.shape), -1).reshape(-1, 7)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_sqnr_is_the_ratio_of_exact_sums(pairs):
    signal = sum(Fraction(wanted) ** 2 for wanted, _ in pairs)
    noise = sum((Fraction(wanted) - Fraction(found)) ** 2 for wanted, found in pairs)
    measured = db(tuple(map(list, zip(*pairs, strict=True))))
    if not noise:
        assert measured == math.inf
    elif not signal:
        assert measured == -math.inf
    elif signal > 1e-30 and noise > 1e-30:  # smaller squares are beyond what float64 holds in full
        assert measured == pytest.approx(10 * (math.log10(signal) - math.log10(noise)), abs=1e-6)


def test_sqnr_by_hand():
    assert db(([10, 0], [9, 0])) == pytest.approx(20)
    assert db(([10, 0], [9, 0]), ([0, 10], [0, 8])) == pytest.approx(10 * math.log10(200 / 5))
    assert db(([3], [-3])) == pytest.approx(10 * math.log10(9 / 36))


@given(st.lists(VALUES, min_size=2, max_size=9), st.integers(1, 8))
def test_how_samples_are_batched_does_not_matter(values, cut):
    noisy = [value + 1 for value in values]
    for measured in (db, cosine):
        whole = measured((values, noisy))
        assert measured((values[:cut], noisy[:cut]), (values[cut:], noisy[cut:])) == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize(
    ("dtype", "large"),
    [(np.float16, 60000), (np.float32, 3e38), (np.int8, 127), (np.uint8, 255), (np.int32, 2**31 - 1)],
)
def test_squares_do_not_overflow_in_the_arrays_own_dtype(dtype, large):
    """In float32 the square of 3e38 is Inf, and in uint8 0 - 255 is 1."""
    assert db(([0, large], [large, large]), dtype=dtype) == pytest.approx(0)
    assert cosine(([0, large], [large, large]), dtype=dtype) == pytest.approx(math.sqrt(0.5))


def test_sums_that_overflow_in_float64_keep_no_budget():
    assert db(([1e200, 1], [1e200, 2]), dtype=np.float64) == -math.inf
    assert db(([1, 1], [-1e200, 1]), dtype=np.float64) == -math.inf
    assert cosine(([1e200, 1], [1e200, 2]), dtype=np.float64) == -1
    assert cosine(([1e200, 1e200], [1e200, -1e200]), dtype=np.float64) == -1


@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_value_breaks_it_for_good(broken):
    for measured, worst in ((db, -math.inf), (cosine, -1)):
        assert measured(([1, 2], [1, broken])) == worst
        assert measured(([1, 2], [1, broken]), ([1, 2], [1, 2])) == worst
        assert measured(([1, broken], [1, 2])) == worst, "a broken reference proves nothing either"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_values_that_are_broken_in_both_are_broken(broken):
    assert db(([1, broken], [1, broken])) == -math.inf
    assert cosine(([1, broken], [1, broken])) == -1


@given(st.lists(st.tuples(VALUES, VALUES, st.booleans()), min_size=1, max_size=20))
def test_a_logit_that_both_mask_counts_as_nothing(triples):
    masked = [(-math.inf, -math.inf) if mask else (wanted, found) for wanted, found, mask in triples]
    rest = [(wanted, found) for wanted, found, mask in triples if not mask]
    for measured in (db, cosine):
        expected = measured(tuple(map(list, zip(*rest, strict=True))) if rest else ([], []))
        assert measured(tuple(map(list, zip(*masked, strict=True)))) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(1,), (17,), (3, 4), (2, 3, 5, 7)])
@pytest.mark.parametrize("noise", [0.0, 0.1, 10.0])
def test_cosine_is_torchs(torch, shape, noise):
    random = np.random.default_rng(len(shape))
    wanted = random.normal(size=shape).astype(np.float32)
    found = (wanted + noise * random.normal(size=shape)).astype(np.float32)
    flat = [torch.from_numpy(array).double().reshape(-1) for array in (wanted, found)]
    expected = torch.nn.functional.cosine_similarity(*flat, dim=0).item()
    assert cosine((wanted, found)) == pytest.approx(expected, abs=1e-12)


@given(st.lists(VALUES, min_size=1, max_size=9), st.sampled_from([1, -1, 2, 0.25]))
def test_the_same_direction_is_exactly_1(values, scale):
    """So that `cosine>=1` can be kept."""
    assert cosine((values, [scale * value for value in values])) == (1 if scale > 0 or not any(values) else -1)


def test_cosine_by_hand():
    assert cosine(([3, 4], [4, 3])) == pytest.approx(24 / 25)
    assert cosine(([3, 4], [6, 8])) == cosine(([0], [0])) == 1, "its length does not matter"
    assert cosine(([1, 2], [-1, -2])) == -1
    assert cosine(([1, 2], [0, 0])) == cosine(([0, 0], [1, 2])) == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [1, 2, 5, 7, 9])
def test_top_k_is_torchs(torch, layout, k):
    scores, labels = labelled_scores(layout)
    meter = TopK(k)
    meter.add(scores, labels)
    known = torch.from_numpy(labels.reshape(-1))
    best = classes_last(torch, scores).topk(min(k, 7)).indices
    right = (best == known[:, None]).any(dim=1)[known != IGNORED]
    assert (meter.right, meter.count) == (right.sum().item(), len(right))
    assert meter.fraction() == pytest.approx(right.double().mean().item())


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=6), st.integers(1, 4))
def test_ties_count_for_the_lower_class(rows, k):
    """As a stable sort has them: the k best are k classes, and the best one is argmax."""
    scores = np.array(rows, np.float32)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    for label in range(4):
        meter = TopK(k)
        meter.add(scores, np.full(len(rows), label))
        assert meter.right == (best == label).sum()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_agreement_is_that_of_argmax(torch, layout):
    wanted, _ = labelled_scores(layout, seed=1)
    found = wanted + np.random.default_rng(2).normal(size=wanted.shape).astype(np.float32)
    meter = Agreement()
    meter.add(wanted, found)
    same = classes_last(torch, wanted).argmax(dim=1) == classes_last(torch, found).argmax(dim=1)
    assert (meter.same, meter.count) == (same.sum().item(), len(same))
    assert 0.2 < meter.fraction() < 0.9


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [1, 1e4])
def test_perplexity_is_that_of_torchs_cross_entropy(torch, layout, scale):
    scores, labels = labelled_scores(layout)
    scores = scores * np.float32(scale)
    meter = Perplexity()
    meter.add(scores, labels)
    logits, known = classes_last(torch, scores), torch.from_numpy(labels.reshape(-1))
    nats = torch.nn.functional.cross_entropy(logits, known, ignore_index=IGNORED).item()
    assert meter.count == (labels != IGNORED).sum()
    assert meter.value() == (pytest.approx(math.exp(nats), rel=1e-9) if nats < 700 else math.inf)


def test_perplexity_by_hand():
    uniform, sure = Perplexity(), Perplexity()
    uniform.add(np.zeros((2, 3, 50)), np.zeros((2, 3), np.int64))
    sure.add(np.array([[[1e4, 0.0]]]), np.array([[0]]))
    assert uniform.value() == pytest.approx(50)
    assert sure.value() == 1
    sure.add(np.array([[[1e4, 0.0]]]), np.array([[1]]))
    assert sure.value() == math.inf, "too large for a float"


@given(st.sampled_from(sorted(LAYOUTS)), st.integers(1, 3), st.integers(0, 9))
def test_how_scores_are_batched_does_not_matter(layout, cut, seed):
    scores, labels = labelled_scores(layout, seed)
    other = scores[::-1]
    whole, parts = ([Agreement(), TopK(1), TopK(5), Perplexity()] for _ in range(2))
    for meters, slices in ((whole, [slice(None)]), (parts, [slice(cut), slice(cut, None)])):
        for part in slices:
            meters[0].add(scores[part], other[part])
            for meter in meters[1:]:
                meter.add(scores[part], labels[part])
    for one, several in zip(whole[:3], parts[:3], strict=True):
        assert vars(one) == vars(several)
    assert parts[3].value() == pytest.approx(whole[3].value())


def test_nan_chooses_nothing():
    good, bad = np.array([[0.0, 1.0, 0.5]]), np.array([[0.0, math.nan, 0.5]])
    for pair in ((good, bad), (bad, good), (bad, bad)):
        meter = Agreement()
        meter.add(*pair)
        assert (meter.same, meter.count) == (0, 1)
    for k, label in ((1, 1), (3, 0)):
        meter = TopK(k)
        meter.add(bad, np.array([label]))
        assert (meter.right, meter.count) == (0, 1)


def test_masked_scores_are_never_the_best_and_no_reason_to_hesitate(torch):
    scores, label = np.array([[-math.inf, 1.0, 0.5]]), np.array([1])
    agreement, top, perplexity = Agreement(), TopK(1), Perplexity()
    agreement.add(scores, scores)
    top.add(scores, label)
    perplexity.add(scores, label)
    nats = torch.nn.functional.cross_entropy(torch.from_numpy(scores), torch.from_numpy(label)).item()
    assert agreement.fraction() == top.fraction() == 1
    assert perplexity.value() == pytest.approx(math.exp(nats))
    perplexity.add(scores, np.array([0]))
    assert perplexity.value() == math.inf, "it holds the right token for impossible"


@pytest.mark.parametrize("row", [[math.nan, 1.0], [math.inf, 1.0], [math.inf, math.inf], [-math.inf, -math.inf]])
def test_broken_logits_have_no_perplexity(row):
    meter = Perplexity()
    meter.add(np.array([row]), np.array([0]))
    meter.add(np.array([[2.0, 1.0]]), np.array([0]))
    assert math.isnan(meter.value())


def test_logits_at_the_ends_of_float64_are_no_warning():
    meter = Perplexity()
    meter.add(np.array([[1.7e308, -1.7e308]]), np.array([1]))
    assert meter.value() == math.inf


def test_before_the_first_there_is_no_fraction():
    assert all(math.isnan(meter.fraction()) for meter in (Agreement(), TopK(1)))
    assert math.isnan(Perplexity().value())


def test_labels_that_are_all_left_out_count_for_nothing():
    top, perplexity = TopK(1), Perplexity()
    for meter in (top, perplexity):
        meter.add(np.zeros((2, 3)), np.full(2, IGNORED))
    assert math.isnan(top.fraction())
    assert math.isnan(perplexity.value())


@pytest.mark.parametrize("meter", [TopK(1), TopK(5), Perplexity()])
@pytest.mark.parametrize("label", [-1, 3, 2**40, IGNORED - 1])
def test_a_label_that_is_no_class_is_refused(meter, label):
    with pytest.raises(DataError) as error:
        meter.add(np.zeros((2, 3)), np.array([0, label]))
    assert str(error.value) == f"expected labels 0..2 of the model's classes, found {label}"


@pytest.mark.parametrize(
    ("scores", "labels"),
    [((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3, 5), (2, 5)), ((2, 3, 4, 4), (2, 4)), ((2, 3, 4, 5), (2, 5, 4))],
)
def test_labels_of_another_shape_are_refused(scores, labels):
    with pytest.raises(DataError) as error:
        TopK(1).add(np.zeros(scores), np.zeros(labels, np.int64))
    assert str(error.value).startswith("expected labels [2")
    assert str(error.value).endswith(f"for scores {list(scores)}, found {list(labels)}")


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3, 1), (2, 1, 4, 4), (1, 2, 3, 4, 5)])
def test_what_cannot_be_scores_is_refused(shape):
    assert class_axis(shape) is None
    with pytest.raises(DataError, match=r"^expected scores \[N,C\], \[N,S,C\] or \[N,C,H,W\] of two .*, found \("):
        Agreement().add(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_chosen_and_what_was_right_is_told(layout):
    """In the labels' own shape, so that it can be counted by slice."""
    wanted, labels = labelled_scores(layout)
    found = wanted + np.random.default_rng(2).normal(size=wanted.shape).astype(np.float32)
    chosen, same = Agreement().add(wanted, found)
    axis = class_axis(wanted.shape)
    np.testing.assert_array_equal(chosen, wanted.argmax(axis))
    np.testing.assert_array_equal(same, wanted.argmax(axis) == found.argmax(axis))
    right = TopK(1).add(found, labels)
    np.testing.assert_array_equal(right, (found.argmax(axis) == labels)[labels != IGNORED])


def test_nan_is_no_choice():
    good, bad = np.array([[0.0, 1.0]]), np.array([[0.0, math.nan]])
    for wanted, found, choice in ((good, bad, 1), (bad, good, IGNORED), (bad, bad, IGNORED)):
        chosen, same = Agreement().add(wanted, found)
        assert (chosen.tolist(), same.tolist()) == ([choice], [False])


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_scipys_binomial_test(stats, lost, won):
    expected = stats.binomtest(lost, lost + won, 0.5, "greater").pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand():
    assert [mcnemar(lost, 0) for lost in (0, 1, 5)] == [1, 1 / 2, 1 / 32]
    assert mcnemar(0, 5) == 1
    assert mcnemar(2, 1) == (3 + 1) / 8
    assert mcnemar(20_000, 20_000) == pytest.approx(0.5, abs=0.003), "no overflow"
    assert 0 < mcnemar(1_000, 0) == 2.0**-1000


def counted(counts: SliceCounts) -> dict[int, SliceCount]:
    return {count.slice: count for count in counts}


@given(st.sampled_from(sorted(LAYOUTS)), st.booleans(), st.integers(1, 3), st.integers(0, 99))
def test_slices_are_counted_as_plain_loops_count(layout, grouped, cut, seed):
    random = np.random.default_rng(seed)
    _, labels = labelled_scores(layout, seed)
    wanted, found = random.random((2, *labels.shape)) < 0.6
    groups = random.integers(0, 4, len(labels)) if grouped else None
    meter = SliceCounts()
    for part in (slice(cut), slice(cut, None)):
        known = labels[part] != IGNORED
        meter.add(labels[part], wanted[part][known], found[part][known], None if groups is None else groups[part])
    expected: dict[int, list[int]] = {}
    for sample in range(len(labels)):
        lead: dict[int, int] = {}
        for place in np.ndindex(labels.shape[1:]):
            label, good, better = (int(array[(sample, *place)]) for array in (labels, wanted, found))
            if label == IGNORED:
                continue
            name = label if groups is None else int(groups[sample])
            row = expected.setdefault(name, [0] * 6)
            row[1:4] = row[1] + 1, row[2] + good, row[3] + better
            lead[name] = lead.get(name, 0) + better - good
        for name, difference in lead.items():
            expected[name][0] += 1
            expected[name][4] += difference < 0
            expected[name][5] += difference > 0
    assert {name: list(count)[1:] for name, count in counted(meter).items()} == expected


def test_slices_without_a_label_are_none():
    meter = SliceCounts()
    none = np.zeros(0, bool)
    meter.add(np.full((2, 3), IGNORED), none, none)
    assert list(meter) == []
    meter.add(np.array([5]), np.array([True]), np.array([False]))
    assert list(meter) == [SliceCount(5, 1, 1, 1, 0, 1, 0)]


def test_the_memory_of_slices_does_not_grow_with_the_samples():
    meter, random = SliceCounts(), np.random.default_rng(0)
    for _ in range(300):
        labels = random.integers(0, 7, 50)
        meter.add(labels, *(random.random((2, 50)) < 0.5))
    kept = sum(value.nbytes for value in vars(meter).values())
    assert kept <= 6 * 7 * 8
    assert sum(count.samples for count in meter) == 15_000
