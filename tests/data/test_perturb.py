"""Perturbed pictures: SciPy's blur, noise as strong as it says, and nothing beyond the values that were seen."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data.perturb import NONE, PERTURBATIONS, Perturbation, Picture, perturb

RANDOM = np.random.default_rng(0)
FIRST, LAST = Picture(2, -2.0, 3.0), Picture(1, -2.0, 3.0)
PICTURES = RANDOM.uniform(-2, 3, (2, 3, 9, 12)).astype(np.float32)
GREY = np.full((4, 3, 64, 64), 0.5, np.float32)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("known", [FIRST, LAST])
def test_blur_is_scipys_gaussian_filter(sigma, known):
    ndimage = pytest.importorskip("scipy.ndimage")
    pictures = PICTURES if known is FIRST else np.moveaxis(PICTURES, 1, -1)
    sigmas = [sigma if axis in (known.height_axis, known.height_axis + 1) else 0 for axis in range(4)]
    expected = ndimage.gaussian_filter(pictures.astype(np.float64), sigmas, mode="nearest", truncate=3)
    found = perturb(pictures, Perturbation("blur", sigma), known, 0)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("strength", [0.04, 0.08])
def test_noise_is_as_strong_as_it_says_and_repeats(strength):
    how = Perturbation("noise", strength)
    noise = perturb(GREY, how, FIRST, 7) - GREY
    assert noise.std() == pytest.approx(strength * 5, rel=0.02)
    assert abs(noise.mean()) < 0.005
    np.testing.assert_array_equal(perturb(GREY, how, FIRST, 7) - GREY, noise)
    assert np.abs(np.corrcoef(noise.ravel(), (perturb(GREY, how, FIRST, 8) - GREY).ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("strength", [-0.1, 0.1])
def test_brightness_adds_its_fraction_of_the_range(strength):
    found = perturb(PICTURES, Perturbation("brightness", strength), FIRST, 0)
    np.testing.assert_allclose(found, np.clip(PICTURES + 5 * strength, -2, 3), atol=1e-6)
    assert np.sign((found - PICTURES).sum()) == np.sign(strength)


@pytest.mark.parametrize("how", [NONE, *PERTURBATIONS], ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_dtype_shape_and_range_stay(how, dtype):
    before = PICTURES.astype(dtype)
    pictures = before.copy()
    known = Picture(2, float(pictures.min()), float(pictures.max()))
    found = perturb(pictures, how, known, 0)
    assert (found.dtype, found.shape) == (pictures.dtype, pictures.shape)
    assert found.min() >= known.low
    assert found.max() <= known.high
    np.testing.assert_array_equal(pictures, before, "the clean ones are used again")
    assert np.array_equal(found, pictures) == (how is NONE)


def test_a_constant_picture_is_left_alone():
    flat = np.ones((1, 1, 2, 2), np.float32)
    for how in PERTURBATIONS:
        np.testing.assert_array_equal(perturb(flat, how, Picture(2, 1.0, 1.0), 0), flat)


def test_how_strong_is_told():
    told = [str(how) for how in (NONE, *PERTURBATIONS)]
    assert told[:2] + told[3:4] + told[5:] == ["none", "noise 4%", "blur 0.5 px", "brightness -10%", "brightness +10%"]
