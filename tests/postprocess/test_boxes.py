"""Non-maximum suppression against torchvision's, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.postprocess import answers, lines
from edgekit.postprocess.boxes import Box, detected
from edgekit.specs import Boxes

SPEC = Boxes("boxes", "boxes", "scores")


def some(count: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """[1,count,4] corners on a coarse grid, and [1,count,C] scores of a few values: ties and equal boxes are common."""
    random = np.random.default_rng(seed)
    start = random.integers(0, 6, (1, count, 2)) * 2.5
    size = random.integers(0, 4, (1, count, 2)) * 5.0
    scores = random.integers(0, 21, (1, count, classes)) / 20
    return np.concatenate([start, start + size], -1).astype(np.float32), scores.astype(np.float32)


def theirs(boxes: np.ndarray, scores: np.ndarray, threshold: float, iou: float) -> list[tuple[int, float, list[float]]]:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    rows, classes = np.nonzero(scores[0] > threshold)
    values, corners = torch.from_numpy(scores[0][rows, classes]), torch.from_numpy(boxes[0][rows])
    kept = ops.batched_nms(corners, values, torch.from_numpy(classes), iou).tolist()
    return [(int(classes[index]), float(values[index]), corners[index].tolist()) for index in kept]


@settings(deadline=None)
@given(
    count=st.integers(0, 40),
    seed=st.integers(0, 9999),
    threshold=st.sampled_from([0.0, 0.33, 0.8]),
    iou=st.sampled_from([0.0, 0.31, 0.62, 1.0]),
)
def test_ties_empties_and_all_else_are_as_torchvision_keeps_them(count, seed, threshold, iou):
    boxes, scores = some(count, seed)
    [found] = detected(Boxes("boxes", "b", "s", threshold=threshold, iou=iou, most=9999), boxes, scores)
    wanted = theirs(boxes, scores, threshold, iou)
    assert [(box.index, box.score, list(box.corners)) for box in found] == wanted


def test_the_best_are_kept_of_many():
    boxes, scores = some(300, 5)
    [all_of_them] = detected(Boxes("boxes", "b", "s", threshold=0, most=9999), boxes, scores)
    [few] = detected(Boxes("boxes", "b", "s", threshold=0, most=7), boxes, scores)
    assert len(all_of_them) > 20
    assert few == all_of_them[:7]


def test_overlap_is_judged_within_a_class_only():
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]]], np.float32)
    scores = np.array([[[0.9, 0.0], [0.8, 0.7], [0.6, 0.0]]], np.float32)
    [found] = detected(Boxes("boxes", "b", "s", ("cat", "dog")), boxes, scores)
    assert [(box.name, box.score) for box in found] == [
        ("cat", pytest.approx(0.9)),
        ("dog", pytest.approx(0.7)),
        ("cat", pytest.approx(0.6)),
    ]


def test_a_threshold_and_an_overlap_must_be_passed():
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 5], [50, 0, 60, 10]]], np.float32)
    scores = np.array([[0.75, 0.625, 0.5]], np.float32)
    assert len(detected(SPEC, boxes, scores)[0]) == 2  # an overlap of exactly a half stays, a score of it does not
    assert len(detected(Boxes("boxes", "b", "s", iou=0.499), boxes, scores)[0]) == 1


@pytest.mark.parametrize(
    ("format", "four"), [("xyxy", (10, 20, 40, 80)), ("xywh", (10, 20, 30, 60)), ("cxcywh", (25, 50, 30, 60))]
)
def test_every_format_gives_corners(format, four):
    output = np.array([[[*four, 0.25, 0.75]]], np.float16)
    for layout, turned in (("NKC", output), ("NCK", output.transpose(0, 2, 1))):
        [[box]] = detected(Boxes("boxes", "y", format=format, layout=layout), turned, None)
        assert box == Box("1", 1, 0.75, (10.0, 20.0, 40.0, 80.0))
        spec = Boxes("boxes", "b", "s", format=format, layout=layout)
        parts = (turned[:, :, :4], turned[:, :, 4:]) if layout == "NKC" else (turned[:, :4], turned[:, 4:])
        assert detected(spec, *parts) == [[box]]


def test_one_output_of_eighty_classes_is_two():
    boxes, scores = some(60, 3, classes=80)
    spec = Boxes("boxes", "b", "s", threshold=0.9)
    wanted = detected(spec, boxes, scores)
    both = np.concatenate([boxes, scores], 2).transpose(0, 2, 1)
    assert detected(Boxes("boxes", "y", layout="NCK", threshold=0.9), both, None) == wanted
    assert len(wanted[0]) > 50


def test_a_batch_has_an_answer_a_position_even_of_nothing():
    boxes, scores = some(5, 1, classes=1)
    found = detected(SPEC, np.concatenate([boxes] * 3), np.concatenate([scores, scores * 0, scores])[..., 0])
    assert found[0] == found[2] != []
    assert found[1] == []
    assert detected(SPEC, np.zeros((2, 0, 4), np.float32), np.zeros((2, 0), np.float32)) == [[], []]


@pytest.mark.parametrize(
    ("boxes", "scores", "says"),
    [
        (np.zeros((1, 5, 3)), np.zeros((1, 5)), r"boxes: expected \[N, K, 4\], found float64\[1, 5, 3\]"),
        (np.zeros((5, 4)), np.zeros((1, 5)), r"found float64\[5, 4\]"),
        (np.zeros((1, 5, 4)), None, r"boxes: expected \[N, K, 4\+C\]"),
        (np.zeros((1, 5, 4)), np.zeros((1, 6)), "scores: expected scores of 5 boxes, batch 1"),
        (np.zeros((1, 5, 4)), np.zeros(5), r"found float64\[5\]"),
        (np.zeros((1, 5, 4)), np.zeros((1, 5, 0)), r"found float64\[1, 5, 0\]"),
        (np.zeros((1, 5, 4)), np.full((1, 5), np.nan), "scores: expected finite values, found 5"),
        (np.full((1, 5, 4), np.inf), np.zeros((1, 5)), "boxes: expected finite values, found 20"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(boxes, scores, says):
    with pytest.raises(DataError, match=says) as error:
        detected(SPEC, boxes, scores)
    assert "\n" not in str(error.value)


def test_labels_are_as_many_as_classes():
    with pytest.raises(DataError, match="one label for each of 3 classes, found 2 labels"):
        detected(Boxes("boxes", "b", "s", ("a", "b")), *some(4, 1))


def test_an_answer_is_a_line_a_box():
    spec = Boxes("boxes", "b", "s", ("cat", ""))
    outputs = {
        "b": np.array([[[1.5, 2, 100.123, 4], [200, 2, 300, 4]]]),
        "s": np.array([[[0.912, 0.1], [0.1, 0.6]]]),
    }
    [answer] = answers(spec, outputs.__getitem__)
    assert lines(spec, answer) == ("cat 0.91 at 1.5 2 100.1 4", "1 0.60 at 200 2 300 4")
    assert lines(spec, []) == ()
