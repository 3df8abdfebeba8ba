"""Names, shapes, ranges and tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.configs import BuildConfig, ValidateConfig
from edgekit.errors import EdgekitError, RecipeError, ShapeError, UsageError, nearest
from edgekit.specs import Classify, Preprocess, ShapeRange, TensorSpec, from_table, to_table

NAMES = st.text(min_size=1, max_size=12).filter(lambda name: not name.isspace())
RANGES = st.lists(st.lists(st.integers(1, 99), min_size=3, max_size=3).map(sorted), min_size=1, max_size=4)


@given(name=NAMES, axes=RANGES)
def test_a_range_survives_its_own_text(name, axes):
    low, best, high = zip(*axes, strict=True)
    made = ShapeRange(name, low, best, high)
    assert ShapeRange.parse(str(made), [name]) == made


@pytest.mark.parametrize(
    ("text", "inputs", "name", "opt"),
    [
        ("image:1x3x8x8", (), "image", (1, 3, 8, 8)),
        ("image:1x3:2x3:4x3", (), "image", (2, 3)),
        ("gpu_0/data:0:1x3", (), "gpu_0/data:0", (1, 3)),
        ("x:0:1:2:3", ("x:0",), "x:0", (2,)),
        ("x:0:1:2", ("x:0:1",), "x:0:1", (2,)),
        ("x:0:1:2", ("x",), "x", (1,)),
    ],
)
def test_names_may_hold_a_colon(text, inputs, name, opt):
    found = ShapeRange.parse(text.replace("x:0:1:2", "x:1:1:2") if inputs == ("x",) else text, inputs)
    assert (found.name, found.opt) == (name, opt)


@given(st.text(max_size=30))
def test_any_other_text_is_refused_in_one_line(text):
    try:
        ShapeRange.parse(text)
    except ShapeError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["", "image", "image:", ":1x3", "image:1x", "image:1,3", "image:0x3", "image:2:1:3"])
def test_malformed_ranges(text):
    if text == ":1x3":
        assert ShapeRange.parse(text).name == ""
        return
    with pytest.raises(ShapeError):
        ShapeRange.parse(text)


def test_a_spec_checks_and_resolves():
    spec = TensorSpec("x", "float32", ("batch", 3))
    spec.check("float32", (7, 3))
    for dtype, shape in (("float64", (7, 3)), ("float32", (7, 4)), ("float32", (7, 3, 1))):
        with pytest.raises(ShapeError, match="x: expected float32"):
            spec.check(dtype, shape)
    assert spec.at({"batch": 5}) == (5, 3)
    assert spec.at({}) is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"budgt": "x"}, "did you mean 'budget'?"),
        ({"samples": "64"}, "expected int, found '64'"),
        ({"samples": True}, "expected int, found True"),
        ({"budget": 3}, "expected str, found 3"),
        ({"reference": 3}, "found 3"),
    ],
)
def test_a_table_is_checked(table, says):
    with pytest.raises(RecipeError) as error:
        from_table(ValidateConfig, table, "here")
    assert str(error.value).startswith("here: ")
    assert says in str(error.value)


def test_a_choice_is_checked_wherever_it_comes_from():
    with pytest.raises(UsageError, match="target: expected one of cpu, rtx"):
        from_table(BuildConfig, {"target": "toaster"}, "here")


IMAGE = {"kind": "image", "input": "x", "resize": 8, "crop": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "sound"},
        {"interpolation": "nearest"},
        {"layout": "CHWN"},
        {"colour": "YUV"},
        {"mean": [0.0]},
        {"std": [1, 0, 1]},
        {"crop": 9},
        {"crop": 0},
        {"mean": ["0", "0", "0"]},
    ],
)
def test_preprocessing_is_checked(change):
    with pytest.raises(RecipeError):
        from_table(Preprocess, {**IMAGE, **change}, "here")


def test_specs_survive_json():
    for spec in (from_table(Preprocess, IMAGE, ""), Classify("classify", "logits", ("a", "b"))):
        table = {key: list(value) if isinstance(value, tuple) else value for key, value in to_table(spec).items()}
        assert from_table(type(spec), table, "") == spec
    with pytest.raises(RecipeError):
        Classify("guess", "logits")


def test_nearest_helps():
    assert nearest("reznet18", ["resnet18", "lstm"]) == "did you mean 'resnet18'?"
    assert nearest("qqq", ["b", "a"]) == "known are a, b"


def test_an_error_is_one_line_with_the_next_step():
    error = EdgekitError("two\n  lines", "edgekit doctor")
    assert str(error) == "two lines; next: edgekit doctor"


@pytest.mark.parametrize(
    ("low", "best", "high"),
    [((2,), (1,), (3,)), ((1,), (3,), (2,)), ((0,), (0,), (1,)), ((1,), (1, 1), (1,)), ((1, 1), (1, 1), (1,))],
)
def test_a_range_out_of_order_or_of_two_ranks_cannot_be_made(low, best, high):
    with pytest.raises(ShapeError, match="expected 0 <= min <= opt <= max"):
        ShapeRange("x", low, best, high)


def test_a_missing_key_is_named_and_a_whole_number_is_a_float():
    with pytest.raises(RecipeError, match=r"here: .*'crop'"):
        from_table(Preprocess, {key: value for key, value in IMAGE.items() if key != "crop"}, "here")
    found = from_table(Preprocess, IMAGE, "here")
    assert [type(value) for value in (*found.mean, *found.std)] == [float] * 6


@given(st.lists(st.integers(1, 4) | st.sampled_from(["n", "t"]), max_size=4), st.lists(st.integers(1, 4), max_size=4))
def test_what_a_spec_accepts_is_what_it_resolves_to(axes, shape):
    """Naming the open axes by their places makes `check` and `at` say the same."""
    spec = TensorSpec(
        "x", "int64", tuple(f"{axis}{at}" if isinstance(axis, str) else axis for at, axis in enumerate(axes))
    )
    dims = {axis: size for axis, size in zip(spec.shape, shape, strict=False) if isinstance(axis, str)}
    if spec.at(dims) == tuple(shape):
        spec.check("int64", tuple(shape))
    else:
        with pytest.raises(ShapeError):
            spec.check("int64", tuple(shape))
