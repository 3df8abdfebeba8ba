"""Recipes, targets and budgets: a person's text becomes configs, or an error that names the nearest word."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.budget import parse_budget
from edgekit.configs import TARGETS
from edgekit.errors import RecipeError, TargetError
from edgekit.recipe import Recipe, load_recipe, recipe_names
from edgekit.resources import resource
from edgekit.targets import target


def test_every_recipe_that_ships_loads():
    assert "efficientnet_lite0" in recipe_names()
    for name in recipe_names():
        parse_budget(load_recipe(name).validate.budget)


def test_a_recipe_of_ones_own(tmp_path):
    (tmp_path / "my.toml").write_text('[quantize]\nkeep_ops = ["Gemm"]\n[export]\nopset = 21\n')
    recipe = load_recipe(str(tmp_path / "my.toml"))
    assert recipe.quantize.keep_ops == ("Gemm",)
    assert recipe.export.opset == 21
    assert recipe.build == Recipe().build


def test_files_stand_relative_to_the_recipe(tmp_path):
    (tmp_path / "my.toml").write_text(
        '[quantize]\ndata = "frames"\n[validate]\ndata = "held.py:out"\nlabels = "/abs/labels.npy"\n'
        '[export]\nweights = "net.safetensors"\n[postprocess]\nkind = "classify"\noutput = "y"\nlabels = ["a", "b"]\n'
    )
    recipe = load_recipe(str(tmp_path / "my.toml"))
    assert recipe.quantize.data == str(tmp_path / "frames")
    assert recipe.validate.data == f"{tmp_path}/held.py:out"
    assert recipe.validate.labels == Path("/abs/labels.npy")
    assert recipe.export.weights == tmp_path / "net.safetensors"
    assert recipe.postprocess is not None
    assert recipe.postprocess.labels == ("a", "b")
    (tmp_path / "my.toml").write_text('[validate]\ndata = "package.module:samples"\n')
    assert load_recipe(str(tmp_path / "my.toml")).validate.data == "package.module:samples"


def test_every_recipe_says_why():
    """A choice without a comment above it, or above its table, is a number that no one dares to change."""
    for name in recipe_names():
        text = (resource("calibration") / "recipes" / f"{name}.toml").read_text()
        recipe = load_recipe(name)
        assert recipe.preprocess is not None, name
        for key in ("precision", "budget", "resize", "mean"):
            (before,) = re.findall(rf"((?:^[^\n]*\n){{0,8}})^{key} =", text, re.MULTILINE)[:1]
            assert "#" in before, (name, key)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('quantize = "fp16"', "found a key outside of them"),
        ('[quantise]\nprecision = "fp16"', "did you mean 'quantize'?"),
        ('[quantize]\nprecison = "fp16"', "did you mean 'precision'"),
        ("[export]\nopset = 'twenty'", "expected int, found 'twenty'"),
        ("[export", "expected TOML"),
        ("\xff", "expected TOML"),
    ],
)
def test_a_malformed_recipe(tmp_path, text, says):
    (tmp_path / "my.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError) as error:
        load_recipe(str(tmp_path / "my.toml"))
    assert says in str(error.value)


def test_a_missing_recipe(tmp_path):
    with pytest.raises(RecipeError, match="expected a TOML file"):
        load_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(RecipeError, match="'efficientnet_lite0'"):
        load_recipe("efficientnet_lite")


def test_every_target_has_its_facts():
    for name in TARGETS:
        assert target(name).where
    with pytest.raises(TargetError, match="did you mean 'jetpack6'"):
        target("jetpack")
    with pytest.raises(TargetError, match="--compute-capability with one of"):
        target("jetpack6").check_compute_capabilities(("8.6",))
    target("desktop").check_compute_capabilities(("9.0",))  # unknown stays unknown: nothing to refuse by


def test_a_budget_holds_or_not():
    (limit,) = parse_budget(" sqnr_db >= 30 ")
    assert str(limit) == "sqnr_db>=30"
    assert [limit.holds(value) for value in (30, 31, 29.99, math.inf, -math.inf, math.nan)] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("snr_db>=30", "did you mean 'sqnr_db'?"),
        ("sqnr_db<=30", "expected sqnr_db>=30"),
        ("sqnr_db=30", "expected a budget such as"),
        ("sqnr_db>=nan", "expected a budget such as"),
        ("sqnr_db>=30,", "expected a budget such as"),
        ("", "expected a budget such as"),
    ],
)
def test_a_malformed_budget(text, says):
    with pytest.raises(RecipeError) as error:
        parse_budget(text)
    assert says in str(error.value)


@given(st.text(max_size=20))
def test_any_text_is_a_budget_or_refused(text):
    try:
        parse_budget(text)
    except RecipeError as error:
        assert "\n" not in str(error)
