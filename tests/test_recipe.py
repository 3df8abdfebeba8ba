"""Recipes, targets and budgets: a person's text becomes configs, or an error that names the nearest word."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.budget import parse_budget
from edgekit.configs import TARGETS
from edgekit.errors import RecipeError, TargetError
from edgekit.recipe import Family, Recipe, load_recipe, recipe_of, serving
from edgekit.targets import target


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


def test_a_recipe_of_a_family_serves_all_of_its_networks():
    assert recipe_of("vgg11") == recipe_of("vgg16") == "vgg"
    assert recipe_of("efficientnet_lite0") == "efficientnet_lite0"
    assert load_recipe("vgg16") == load_recipe("vgg")
    assert load_recipe("vgg16").recipe.architectures == ("vgg11", "vgg16")


def test_a_recipe_with_a_name_of_its_own_serves_who_asks_for_it():
    """The INT8 recipe is a choice beside the usual one, and no architecture's."""
    assert load_recipe("efficientnet_lite0_int8").quantize.precision == "int8+fp16"
    assert load_recipe("efficientnet_lite0").quantize.precision == "fp16"


@pytest.mark.parametrize("nobody", [None, "", "my_own_network", "ResNet18"])
def test_a_network_without_a_recipe(nobody):
    assert recipe_of(nobody) is None


def test_two_recipes_for_one_network_are_refused():
    both = {"one": Recipe(Family(("lstm", "gru"))), "other": Recipe(Family(("rnn", "gru")))}
    with pytest.raises(RecipeError, match="expected one recipe for gru, found two: one and other"):
        serving(both)
    with pytest.raises(RecipeError, match="expected one recipe for one, found two: one and other"):
        serving({"one": Recipe(), "other": Recipe(Family(("one",)))})
    assert serving({"one": Recipe(Family(("one", "gru", "gru")))}) == {"one": "one", "gru": "one"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('quantize = "fp16"', "found a key outside of them"),
        ('[quantise]\nprecision = "fp16"', "did you mean 'quantize'?"),
        ('[quantize]\nprecison = "fp16"', "did you mean 'precision'"),
        ('[recipe]\narchitecture = ["vgg11"]', "did you mean 'architectures'?"),
        ('[recipe]\narchitectures = "vgg11"', "found 'vgg11'"),
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
