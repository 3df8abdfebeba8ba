"""Preprocessing of sounds, texts and series as tables, and the tables that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgekit.errors import RecipeError
from edgekit.specs import AudioPreprocess, Preprocess, SeriesPreprocess, TextPreprocess, from_table, to_table

SAMPLES = {"kind": "audio", "input": "x", "rate": 16000, "window": 576, "hop": 512, "before": 64}
SPECTRUM = {
    "kind": "audio",
    "input": "x",
    "rate": 16000,
    "features": "spectrogram",
    "window": 400,
    "hop": 160,
    "bands": 80,
    "logarithm": "log10",
    "frames": 100,
    "step": 50,
}
TEXT = {"kind": "text", "input": "ids", "tokenizer": "tokenizer.json", "mask": "mask", "length": 128}
SERIES = {"kind": "series", "input": "x", "mean": [0, 1.5], "std": [1, 2], "length": 100, "step": 10}
TABLES = {AudioPreprocess: SPECTRUM, TextPreprocess: TEXT, SeriesPreprocess: SERIES}


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.KIND)
def test_a_table_of_its_kind_survives_json(kind):
    made = from_table(Preprocess, TABLES[kind], "here")
    assert type(made) is kind
    assert from_table(Preprocess, json.loads(json.dumps(to_table(made))), "here") == made


def test_fields_that_name_files_are_said():
    assert AudioPreprocess.ASSETS == ("filters",)
    assert TextPreprocess.ASSETS == ("tokenizer",)
    assert SeriesPreprocess.ASSETS == ()
    assert AudioPreprocess("audio", "x", 8000).filters == ""


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        (SAMPLES, {"kind": "sound"}, "kind"),
        (SAMPLES, {"features": "mfcc"}, "preprocess.features: expected one of samples, spectrogram, found 'mfcc'"),
        (SAMPLES, {"rate": 0}, "preprocess.rate: expected 1 .. 1000000, found 0"),
        (SAMPLES, {"length": -1}, "length"),
        (SAMPLES, {"hop": 0}, "preprocess.hop: expected 1 .. 576, found 0"),
        (SAMPLES, {"hop": 577}, "hop"),
        (SAMPLES, {"window": 0}, "hop: expected 0 .. 0, found 512"),
        (SAMPLES, {"window": 2**22 + 1}, "window"),
        (SAMPLES, {"before": 576}, "preprocess.before: expected 0 .. 575, found 576"),
        (SAMPLES, {"after": 577}, "after"),
        (SAMPLES, {"bands": 80, "fft": 1024}, "expected fft, bands of a spectrogram only; next: features = "),
        (SAMPLES, {"logarithm": "ln"}, "expected logarithm of a spectrogram only"),
        (SAMPLES, {"frames": 2, "step": 1}, "frames"),
        (SAMPLES, {"mean": [1, 2], "std": [1, 2]}, "expected 0 or 1 means and stds, found 2 and 2"),
        (SPECTRUM, {"padding": "mirror"}, "padding"),
        (SPECTRUM, {"taper": "blackman"}, "taper"),
        (SPECTRUM, {"scale": "bark"}, "scale"),
        (SPECTRUM, {"norm": "area"}, "norm"),
        (SPECTRUM, {"logarithm": "log2"}, "logarithm"),
        (SPECTRUM, {"layout": "NTF"}, "layout"),
        (SPECTRUM, {"window": 0, "hop": 0}, "window"),
        (SPECTRUM, {"fft": 399}, "preprocess.fft: expected 400 .. 4194304, found 399"),
        (SPECTRUM, {"power": 3}, "power"),
        (SPECTRUM, {"bands": 4097}, "bands"),
        (SPECTRUM, {"filters": "f.npy"}, "bands of a mel scale or a file of filters, found both"),
        (SPECTRUM, {"high": 8001}, "preprocess.high: expected a finite number in 0 .. 8000, found 8001"),
        (SPECTRUM, {"low": 8000.5}, "low"),
        (SPECTRUM, {"low": 600, "high": 500}, "preprocess.low: expected a finite number in 0 .. 500, found 600"),
        (SPECTRUM, {"low": float("nan")}, "low"),
        (SPECTRUM, {"floor": 0}, "floor"),
        (SPECTRUM, {"range": -1}, "range"),
        (SPECTRUM, {"range": 8, "rise": True}, "expected a range with a logarithm and without rise"),
        (SPECTRUM, {"range": 8, "logarithm": "none"}, "expected a range with a logarithm"),
        (SPECTRUM, {"frames": 0}, "step"),
        (SPECTRUM, {"step": 101}, "preprocess.step: expected 1 .. 100, found 101"),
        (SPECTRUM, {"mean": [0.0] * 79, "std": [1.0] * 79}, "expected 0 or 1 or 80 means and stds"),
        (SPECTRUM, {"mean": [0.0] * 80, "std": [1.0] * 80, "rise": True}, "0 or 1 or 160"),
        (SPECTRUM, {"mean": [0.0], "std": [0.0]}, "finite stds other than zero"),
        (SPECTRUM, {"mean": [0.0]}, "found 1 and 0"),
        (TEXT, {"tokenizer": ""}, "one of them empty"),
        (TEXT, {"mask": "ids"}, "to be different inputs"),
        (TEXT, {"padding": "left"}, "padding"),
        (TEXT, {"pad": -1}, "pad"),
        (TEXT, {"length": -1}, "length"),
        (TEXT, {"length": 0, "truncate": True}, "expected a length to cut to or fill up to"),
        (TEXT, {"length": 0, "padding": "length"}, "expected a length to cut to or fill up to"),
        (SERIES, {"mean": [], "std": []}, "a mean and a std for each channel"),
        (SERIES, {"std": [1.0]}, "found 2 and 1"),
        (SERIES, {"mean": [0, float("inf")]}, "finite means"),
        (SERIES, {"layout": "NTC"}, "layout"),
        (SERIES, {"step": 101}, "preprocess.step: expected 1 .. 100, found 101"),
        (SERIES, {"length": 2**21 + 1}, "length"),
        (SERIES, {"length": 0}, "step"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(table: dict[str, Any], change: dict[str, Any], says: str):
    with pytest.raises(RecipeError) as error:
        from_table(Preprocess, {**table, **change}, "here")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert from_table(Preprocess, table, "here")


def test_a_typo_is_answered_by_the_nearest_key():
    with pytest.raises(RecipeError, match="did you mean 'window'"):
        from_table(Preprocess, {**SAMPLES, "windw": 3}, "here")
