"""Sounds become inputs as silero-vad, Resemblyzer, BeatNet, Whisper, librosa and torchaudio make theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.errors import DataError, ShapeError
from edgekit.preprocess import preprocessor
from tests.export.real.recording import RATE, call
from tests.preprocess.sounds import BEATNET, CENTRED, SILERO, WHISPER, audio, written


def close(found: np.ndarray, wanted: np.ndarray, parts: float = 2e-6) -> None:
    """float32 and its FFT: an error of `parts` of the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=parts * np.abs(wanted).max())


def test_windows_of_silero_begin_with_the_end_of_the_one_before():
    sound = call()
    found = written(audio(SILERO), sound)
    chunks = sound[: len(sound) // 512 * 512].reshape(-1, 512)
    context = np.concatenate([np.zeros((1, 64), np.float32), chunks[:-1, -64:]])
    np.testing.assert_array_equal(found, np.concatenate([context, chunks], 1))


def test_the_whole_sound_and_its_scaling():
    sound = call()[: 3 * RATE]
    np.testing.assert_array_equal(written(audio({"rate": RATE}), sound)[0], sound)
    found = written(audio({"rate": RATE}, mean=(0.25,), std=(0.5,)), sound, dtype="float16", batch=2, slot=1)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], ((sound - np.float32(0.25)) / np.float32(0.5)).astype(np.float16))


def test_a_length_is_filled_up_with_zeros():
    sound = call()[:1000]
    found = written(audio({"rate": RATE}, length=1600), sound)
    np.testing.assert_array_equal(found[0], np.pad(sound, (0, 600)))
    with pytest.raises(DataError, match="at most 999 samples, found 1000"):
        written(audio({"rate": RATE}, length=999), sound)


def test_scaled_samples_are_padded_with_zeros():
    found = written(audio(SILERO, mean=(1.0,), std=(2.0,)), np.ones(512, np.float32) * 5)
    np.testing.assert_array_equal(found[0], [0.0] * 64 + [2.0] * 512)


def test_partials_of_resemblyzer():
    pytest.importorskip("torch")
    from tests.export.real.test_resemblyzer import mel_spectrogram, partials

    spec = audio(CENTRED, bands=40)
    close(written(spec, call())[0], mel_spectrogram(call()))
    pieces = audio(CENTRED, bands=40, frames=160, step=77)
    found, wanted = written(pieces, call()), partials(call())
    assert found.shape == wanted.shape == (37, 160, 40)
    close(found, wanted)
    turned = written(audio(CENTRED, bands=40, frames=160, step=77, layout="FT"), call())
    np.testing.assert_array_equal(turned, found.transpose(0, 2, 1))


def test_features_of_beatnet_with_its_filters_as_a_file(beats):
    found = written(audio(BEATNET), beats["sound"], beats["assets"])[0]
    assert found.shape == beats["features"].shape == (500, 272)
    assert beats["features"].max() > 1
    np.testing.assert_allclose(found, beats["features"], atol=2e-5)


def test_features_of_beatnet_in_half_precision(beats):
    found = written(audio(BEATNET), beats["sound"], beats["assets"], dtype="float16")[0]
    np.testing.assert_allclose(found, beats["features"], atol=1e-3)


@pytest.mark.parametrize("seconds", [30, 4.7])
def test_whisper_has_its_own_features(seconds):
    """Its extractor of transformers, on the call: filled up to half a minute, or only a few seconds."""
    transformers = pytest.importorskip("transformers")
    sound = call()[: int(seconds * RATE)]
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    wanted = extractor(sound, sampling_rate=RATE, return_tensors="np")["input_features"]
    found = written(audio(WHISPER, length=30 * RATE), sound)
    assert found.shape == wanted.shape == (1, 80, 3000)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    half = written(audio(WHISPER, length=30 * RATE), sound, dtype="float16")
    np.testing.assert_allclose(half, wanted, atol=3e-3)


@pytest.mark.parametrize(
    ("table", "theirs"),
    [
        ({"bands": 80}, {"n_fft": 400, "n_mels": 80}),
        ({"bands": 80, "padding": "reflect"}, {"n_fft": 400, "n_mels": 80, "pad_mode": "reflect"}),
        (
            # torchaudio's MelSpectrogram: HTK's scale, peaks of one.
            {"bands": 64, "scale": "htk", "norm": "none"},
            {"n_fft": 400, "n_mels": 64, "htk": True, "norm": None},
        ),
        (
            {"bands": 40, "fft": 512, "power": 1, "low": 60.0, "high": 7600.0},
            {"n_fft": 512, "win_length": 400, "n_mels": 40, "power": 1.0, "fmin": 60.0, "fmax": 7600.0},
        ),
        (
            {"bands": 32, "taper": "rectangular", "before": 0, "after": 0},
            {"n_fft": 400, "n_mels": 32, "window": "boxcar", "center": False},
        ),
    ],
    ids=["slaney", "reflected", "htk", "fft beyond the window", "not centred"],
)
def test_mel_spectrograms_are_those_of_librosa(table, theirs):
    librosa = pytest.importorskip("librosa")
    sound = call()[5 * RATE : 12 * RATE]
    given = {"pad_mode": "constant", **theirs}
    wanted = librosa.feature.melspectrogram(y=sound, sr=RATE, hop_length=160, **given)
    close(written(audio(CENTRED, **table), sound)[0], wanted.T)


@pytest.mark.parametrize(("power", "top"), [(2, 80.0), (2, None), (1, 60.0)])
def test_decibels_are_those_of_librosa(power, top):
    librosa = pytest.importorskip("librosa")
    sound = call()[5 * RATE : 12 * RATE]
    magnitudes = np.abs(librosa.stft(sound, n_fft=400, hop_length=160, pad_mode="constant"))
    if power == 2:
        wanted = librosa.power_to_db(magnitudes**2, amin=1e-8, top_db=top)
    else:
        wanted = librosa.amplitude_to_db(magnitudes, ref=1.0, amin=1e-4, top_db=top)
    floor = 1e-8 if power == 2 else 1e-4
    spec = audio(CENTRED, power=power, logarithm="dB", floor=floor, range=top or 0.0, layout="FT")
    np.testing.assert_allclose(written(spec, sound)[0], wanted, atol=0.02 if top else 0.2)


def test_natural_logarithm_floor_and_scaling_of_each_band():
    sound = call()[5 * RATE : 7 * RATE]
    plain = written(audio(CENTRED, bands=8), sound)[0].astype(np.float64)
    mean, std = tuple(np.arange(8) - 3.5), tuple(np.arange(8) + 0.5)
    found = written(audio(CENTRED, bands=8, logarithm="ln", floor=1e-4, mean=mean, std=std), sound)[0]
    assert (plain < 1e-4).any()
    np.testing.assert_allclose(found, (np.log(np.maximum(plain, 1e-4)) - mean) / std, atol=2e-5)


@pytest.mark.parametrize("samples", [201, 399, 400, 401, 560, 20479, 20480, 20481, 20640])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_edges_and_blocks_of_any_length(samples, padding):
    """Blocks hold 128 windows: 20480 samples. The oracle pads the whole sound and transforms it in float64."""
    sound = call()[5 * RATE : 5 * RATE + samples]
    padded = np.pad(sound.astype(np.float64), 200, mode={"zeros": "constant", "reflect": "reflect"}[padding])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
    wanted = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    close(written(audio(CENTRED, padding=padding), sound)[0], wanted)


@pytest.mark.parametrize(("frames", "step"), [(7, 3), (130, 1), (130, 130), (129, 50), (300, 300)])
def test_pieces_are_cuts_of_the_whole_across_blocks(frames, step):
    sound = call()[: 160 * 299]
    whole = written(audio(CENTRED, bands=5), sound)[0]
    starts = range(0, len(whole) - frames + 1, step)
    found = written(audio(CENTRED, bands=5, frames=frames, step=step), sound)
    np.testing.assert_array_equal(found, np.stack([whole[start : start + frames] for start in starts]))


@pytest.mark.parametrize(
    "spec",
    [
        audio({"rate": RATE}),
        audio(SILERO),
        audio(CENTRED, bands=40),
        audio(CENTRED, bands=40, layout="FT"),
        audio(CENTRED, bands=40, frames=20, step=10),
        audio(WHISPER),
    ],
    ids=["sound", "windows", "spectrum", "turned", "pieces", "range"],
)
def test_an_axis_of_one_channel(spec):
    sound = call()[5 * RATE : 6 * RATE]
    found = written(replace(spec, channel=True), sound)
    np.testing.assert_array_equal(found[:, 0], written(spec, sound))
    with pytest.raises(ShapeError, match="x: expected an axis of one channel behind the batch, found float32"):
        preprocessor(replace(spec, channel=True), {}).write(sound, lambda name: np.zeros((1, 2, 5), np.float32), 0)


def test_the_same_object_takes_sound_after_sound(beats):
    """What rose in the first window of the second sound is nothing."""
    made = preprocessor(audio(BEATNET), beats["assets"])
    for sound in (beats["sound"][:44100], beats["sound"][22050:66150]):
        buffer = np.empty((1, 100, 272), np.float32)
        assert made.prepare(sound) == {"x": {1: 100}}
        made.write(sound, lambda name, buffer=buffer: buffer, 0)
        np.testing.assert_array_equal(buffer, written(audio(BEATNET), sound, beats["assets"]))
        assert not buffer[0, 0, 136:].any()
