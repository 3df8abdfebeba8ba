"""Filters on a mel scale, and those that a bundle brings along as a file that nobody vouches for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError, IntegrityError
from edgekit.preprocess import preprocessor, windows
from edgekit.preprocess.filters import mel_filters, read_filters
from edgekit.specs import AudioPreprocess
from tests.preprocess.sounds import BEATNET, audio, npy


def spec(**more) -> AudioPreprocess:
    return AudioPreprocess("audio", "x", 16000, features="spectrogram", window=400, hop=160, **more)


@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(("bands", "low", "high"), [(80, 0.0, 0.0), (40, 20.0, 7600.0), (3, 2000.0, 4000.0)])
def test_they_are_those_of_transformers(scale, norm, bands, low, high):
    """Its filters are written anew, after librosa and torchaudio."""
    theirs = pytest.importorskip("transformers.audio_utils").mel_filter_bank
    norms = {"slaney": "slaney", "none": None}
    wanted = theirs(201, bands, low, high or 8000.0, 16000, norm=norms[norm], mel_scale=scale)
    found = mel_filters(spec(bands=bands, low=low, high=high, scale=scale, norm=norm))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<f2"])
@pytest.mark.parametrize("bins", [201, 200])
def test_a_matrix_is_read_in_any_order_of_bytes_and_axes(order, dtype, bins):
    matrix = np.random.default_rng(0).random((bins, 7)).astype(dtype)
    found = read_filters(npy(np.asarray(matrix, order=order)), "f.npy", 201)
    np.testing.assert_array_equal(found, matrix.astype(np.float32))
    assert found.flags.c_contiguous


MATRIX = "expected filters as a matrix of floats, found none; next: np.save"


def header(text: str, data: bytes = b"") -> bytes:
    line = text.encode()
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + data


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[1, "x"]], object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", MATRIX),
        (b"not npy at all", MATRIX),
        (pickled(), MATRIX),
        (npy(np.ones((201, 3), np.int64)), MATRIX),
        (npy(np.ones(201)), MATRIX),
        (npy(np.ones((201, 0))), MATRIX),
        (npy(np.ones((201, 3)))[:-1], MATRIX),
        (npy(np.ones((201, 3))) + b"x", MATRIX),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (201, 999999999), }\n"), MATRIX),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-201, -3), }\n", bytes(4824)), MATRIX),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (201, 3), " + "'x': " + "(" * 900), MATRIX),
        (header("__import__('os').abort()"), MATRIX),
        (npy(np.ones((199, 3))), "expected filters of 201 or 200 bins, found 199"),
        (npy(np.ones((202, 3))), "found 202"),
        (npy(np.full((201, 3), np.nan)), "finite filters"),
        (npy(np.full((201, 3), 1e300)), "finite filters"),
        (npy(np.ones((201, 41735 * 2), np.float32)), MATRIX),
    ],
)
def test_a_malformed_file_is_refused_in_one_line(data, says):
    with pytest.raises(IntegrityError, match=r"^f.npy: .*" + says) as error:
        read_filters(data, "f.npy", 201)
    assert "\n" not in str(error.value)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_bytes_are_filters_or_an_error_of_ours(data, cut):
    whole = npy(np.ones((3, 2), np.float32))
    for tried in (data, whole[:cut] + data, whole[:cut] + data + whole[cut + len(data) :]):
        try:
            assert read_filters(tried, "f", 3).shape[0] in (2, 3)
        except EdgekitError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("bands", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("sort", ["dense", "sparse", "empty"])
def test_any_matrix_weighs_the_bins_as_a_product_with_it(bands, sort):
    """Filters go in groups of 16; a dense matrix has weights everywhere, and a band may have none."""
    random = np.random.default_rng(bands)
    matrix = random.normal(size=(201, bands)).astype(np.float32)
    if sort != "dense":
        matrix[random.random(matrix.shape) < 0.98] = 0
        matrix[:, bands // 2 :] *= sort == "sparse"
    sound = random.normal(size=160 * 50 + 240).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, 400)[::160]
    wanted = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1].astype(float))) ** 2 @ matrix
    buffer = np.empty((1, 50, bands), np.float32)
    made = preprocessor(spec(filters="f.npy"), {"f.npy": npy(matrix)})
    assert made.prepare(sound) == {"x": {1: 50}}
    made.write(sound, lambda name: buffer, 0)
    np.testing.assert_allclose(buffer[0], wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))
    stream = windows(spec(filters="f.npy"), {"f.npy": npy(matrix)})
    streamed = [frame[0].copy() for frame in stream.push(sound)]
    np.testing.assert_allclose(streamed, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


def test_a_bundle_without_the_file_says_so():
    with pytest.raises(IntegrityError, match=r"hold filters.npy, .* found none"):
        preprocessor(audio(BEATNET), {})


def test_means_are_as_many_as_the_files_bands():
    assets = {"filters.npy": npy(np.ones((706, 5)))}
    with pytest.raises(IntegrityError, match="expected 1 or 10 means and stds"):
        preprocessor(audio(BEATNET, mean=(0.0,) * 5, std=(1.0,) * 5), assets)
    assert preprocessor(audio(BEATNET, mean=(0.0,) * 10, std=(1.0,) * 10), assets)
