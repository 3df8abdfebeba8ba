"""A recipe that does not fit its model is refused by deploy, not by the first frame on the robot."""

from __future__ import annotations

import pytest

from edgekit.deploy.fitting import check_postprocess, check_preprocess
from edgekit.errors import RecipeError
from edgekit.specs import (
    AudioPreprocess,
    Boxes,
    Classify,
    Ctc,
    Forecast,
    ImagePreprocess,
    SeriesPreprocess,
    TensorSpec,
    TextPreprocess,
)

MEL = {"features": "spectrogram", "window": 400, "hop": 160}


def specs(*shape: int | str) -> dict[str, TensorSpec]:
    return {"t": TensorSpec("t", "float32", shape)}


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (Classify("classify", "t", ("a", "b")), ("N", 2)),
        (Ctc("ctc", "t", ("_", "a", "b")), ("N", "T", 3)),
        (Ctc("ctc", "t", ("_", "a", "b"), layout="NCT"), ("N", 3, "T")),
        (Ctc("ctc", "t", ("_", "a", "b"), layout="TNC"), ("T", "N", 3)),
        (Forecast("forecast", "t", (0.0, 1.0), (1.0, 1.0)), ("N", 4, 2)),
        (Forecast("forecast", "t", (0.0,), (1.0,)), ("N", 4)),
        (Boxes("boxes", "t", labels=("a", "b", "c")), ("N", 9, 7)),
        (Boxes("boxes", "t", labels=("a", "b", "c"), layout="NCK"), ("N", 7, 9)),
    ],
)
def test_what_fits_passes_and_one_more_or_fewer_does_not(spec, shape):
    check_postprocess(spec, specs(*shape))
    check_postprocess(spec, specs(*("open" if isinstance(size, int) else size for size in shape)))
    for changed in (1, -1):
        wrong = tuple(size + changed if isinstance(size, int) else size for size in shape)
        if isinstance(spec, Forecast) and len(shape) == 2:
            continue  # any number of steps ahead
        with pytest.raises(RecipeError, match=r"\[postprocess\]"):
            check_postprocess(spec, specs(*wrong))


def test_one_output_of_scores_and_one_of_boxes():
    outputs = {"b": TensorSpec("b", "float32", ("N", 9, 4)), "s": TensorSpec("s", "float32", ("N", 9, 2))}
    check_postprocess(Boxes("boxes", "b", "s", ("a", "b")), outputs)
    with pytest.raises(RecipeError, match="expected 2 names for the axis 2"):
        check_postprocess(Boxes("boxes", "b", "s", ("a", "b", "c")), outputs)


def test_a_forecast_of_three_channels_wants_three_means():
    with pytest.raises(RecipeError, match=r"expected 3 channels for the axis 2 of \['N', 4, 3\], found 1"):
        check_postprocess(Forecast("forecast", "t", (0.0,), (1.0,)), specs("N", 4, 3))


@pytest.mark.parametrize(
    ("spec", "right", "wrong"),
    [
        (SeriesPreprocess("series", "t", (0.0, 0.0), (1.0, 1.0)), ("N", "T", 2), ("N", "T", 3)),
        (SeriesPreprocess("series", "t", (0.0, 0.0), (1.0, 1.0), layout="CT"), ("N", 2, "T"), ("N", 3, "T")),
        (AudioPreprocess("audio", "t", 16000, window=576, hop=512), ("N", 576), ("N", 512)),
        (AudioPreprocess("audio", "t", 16000, **MEL, bands=40), ("N", "T", 40), ("N", "T", 13)),
        (AudioPreprocess("audio", "t", 16000, **MEL, bands=40, layout="FT"), ("N", 40, "T"), ("N", 41, "T")),
        (AudioPreprocess("audio", "t", 16000, **MEL, bands=40, rise=True), ("N", "T", 80), ("N", "T", 40)),
    ],
)
def test_what_goes_in_is_as_wide_as_the_input(spec, right, wrong):
    check_preprocess(spec, specs(*right), {})
    with pytest.raises(RecipeError, match=r"\[preprocess\]"):
        check_preprocess(spec, specs(*wrong), {})


def test_a_tokenizer_is_read_now():
    pytest.importorskip("tokenizers")
    spec = TextPreprocess("text", "t", "assets/tokenizer.md")
    with pytest.raises(RecipeError, match=r"\[preprocess\]: "):
        check_preprocess(spec, specs("N", "T"), {"assets/tokenizer.md": b"# no tokenizer"})


def test_pictures_have_nothing_to_check():
    spec = ImagePreprocess("image", "t", 8, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    check_preprocess(spec, specs("N", 3, 8, 8), {})
