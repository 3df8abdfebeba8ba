"""What passes by: a digest that batching does not change, ranges, and doubts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.data import Samples, Watched
from edgekit.errors import DataError
from edgekit.specs import ImagePreprocess

RANDOM = np.random.default_rng(0)
IMAGES, GAINS = RANDOM.normal(size=(12, 3, 2)).astype(np.float32), np.arange(12)
UNIT = ImagePreprocess("image", "image", 8, 8, (0.0,) * 3, (255.0,) * 3)
IMAGENET = ImagePreprocess("image", "image", 8, 8, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def watch(sizes=(12,), **inputs):
    """What has been seen of these inputs, handed through in batches of these sizes."""
    ends = np.cumsum(sizes).tolist()
    every = Samples(np.arange(ends[-1]), inputs)
    batches = [every[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    watched = Watched()
    assert list(watched.through(iter(batches))) == batches
    return watched


def between(low, high, count=4):
    """`count` different samples that run from low to high."""
    image = np.linspace(low, high, 6 * count, dtype=np.float32).reshape(count, 6)
    return watch((count,), image=image)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.booleans())
def test_the_digest_does_not_depend_on_batching(sizes, fortran):
    cuts = np.minimum(np.cumsum(sizes), 12)
    sizes = [int(size) for size in np.diff([0, *cuts, 12]) if size]
    images = np.asfortranarray(IMAGES) if fortran else IMAGES
    found, whole = watch(sizes, image=images, gain=GAINS), watch(gain=GAINS, image=IMAGES)
    assert found.sha256() == whole.sha256() == watch(image=images, gain=GAINS).sha256()
    assert (found.count, found.low, found.high) == (12, whole.low, whole.high)


def test_the_digest_tells_samples_apart():
    swapped = IMAGES.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    changed = IMAGES.copy()
    changed[-1, -1, -1] += 1
    seen = [watch(image=image, gain=GAINS) for image in (IMAGES, swapped, changed, IMAGES[:11])]
    seen += [watch(image=IMAGES, gain=GAINS + 1), watch(image=IMAGES), watch(picture=IMAGES), Watched()]
    assert len({watched.sha256() for watched in seen}) == len(seen)


def test_ranges():
    watched = watch((5, 7), image=IMAGES, gain=GAINS)
    assert watched.low == {"image": float(IMAGES.min()), "gain": 0}
    assert watched.high == {"image": float(IMAGES.max()), "gain": 11}
    assert watched.doubts() == ()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.full((4, 3), 0.5, np.float32), ["input 'image' is 0.5 in every sample"]),
        (np.zeros((4, 3), np.int64), ["input 'image' is 0 in every sample"]),
        (np.tile(np.float32([1, 2, 3]), (4, 1)), ["input 'image' is the same in all 4 samples"]),
        (np.float32([[1, 2, 3]]), ["one sample only: it stands for itself, not for what the camera will see"]),
        (np.float32([[1, 2], [1, 2], [1, 2], [2, 1]]), []),
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_samples_that_say_little(image, says, size):
    sizes = [min(size, len(image) - start) for start in range(0, len(image), size)]
    assert list(watch(sizes, image=image).doubts()) == says


def test_without_a_recipe_pixels_are_doubted():
    assert between(0, 255).doubts() == ("input 'image' runs from 0 to 255: pixels of 0..255 that no one normalised?",)
    assert between(3, 201).doubts(), "a set without black or white"
    for low, high in ((0, 1), (-2, 255), (0, 256), (0, 200)):
        assert between(low, high).doubts() == ()


def test_a_recipe_judges_its_own_input_only():
    half = np.linspace(0, 0.5, 12, dtype=np.float32)
    assert watch(image=half, level=half * 510).doubts(UNIT) == watch(level=half * 510).doubts()
    assert len(watch(level=half * 510).doubts()) == 1


@pytest.mark.parametrize("spec", [UNIT, IMAGENET])
def test_pixels_that_went_past_the_recipe_are_refused(spec):
    with pytest.raises(DataError) as error:
        between(0, 255).doubts(spec)
    assert "input 'image' runs from 0 to 255, where its preprocessing makes" in str(error.value)
    assert "next: a folder of pictures, or normalised arrays" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("low", "high", "spec", "doubted"),
    [
        (0, 1, UNIT, False),
        (0.2, 0.7, UNIT, False),
        (-0.005, 1.005, UNIT, False),
        (-0.05, 1, UNIT, True),
        (0, 1.05, UNIT, True),
        (-1, 1, UNIT, True),
        (0, 0.1, UNIT, True),
        (-2.11, 2.64, IMAGENET, False),
        (-2.3, 2.64, IMAGENET, True),
    ],
)
def test_values_beside_the_recipes_range_are_doubted(low, high, spec, doubted):
    found = between(low, high).doubts(spec)
    story = f"input 'image' runs from {low:g} to {high:g}, where its preprocessing makes "
    assert [line[: len(story)] for line in found] == [story] * doubted


def test_a_recipe_that_keeps_0_to_255_accepts_it():
    raw = ImagePreprocess("image", "image", 8, 8, (0.0,) * 3, (1.0,) * 3)
    assert between(0, 255).doubts(raw) == ()
    assert len(between(0, 1).doubts(raw)) == 1


def test_a_negative_scale_turns_the_range_around():
    turned = ImagePreprocess("image", "image", 8, 8, (255.0,) * 3, (-255.0,) * 3)
    assert between(0, 1).doubts(turned) == ()
