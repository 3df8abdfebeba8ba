"""The recipes that come with edgekit: one for every architecture, each choice with its why and a figure."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import numpy as np
import pytest

from edgekit.budget import parse_budget
from edgekit.configs import CALIBRATED, QuantizeConfig
from edgekit.models import ARCHITECTURES
from edgekit.quantize import fitting
from edgekit.recipe import load_recipe, recipe_names, recipe_of
from edgekit.resources import resource

# What torchvision's own evaluation does, for the architectures of which it has weights.
TORCHVISION = {
    "alexnet": "AlexNet",
    "vgg11": "VGG11",
    "vgg16": "VGG16",
    "resnet18": "ResNet18",
    "resnet50": "ResNet50",
    "efficientnet_b0": "EfficientNet_B0",
    "vit_b_16": "ViT_B_16",
}
# A choice: it has a comment of its own. The others of a table may share one.
CHOICES = ("precision", "method", "per_channel", "residual", "keep_layers", "min_sqnr_db", "samples", "budget")
# What a calibrated precision gets from a recipe that is not for one.
KNOBS = ("method", "per_channel", "residual", "keep_layers", "min_sqnr_db", "samples")


def text(name: str) -> str:
    return (resource("calibration") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def test_every_architecture_has_a_recipe():
    assert {name: recipe_of(name) for name in ARCHITECTURES if recipe_of(name) is None} == {}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_for_networks_that_there_are(name):
    """A recipe serves architectures, or is a second choice for one, and says so by its name."""
    served = [one for one in ARCHITECTURES if recipe_of(one) == name]
    assert set(load_recipe(name).recipe.architectures) <= set(served)
    assert served or any(name.startswith(f"{one}_") for one in ARCHITECTURES), name
    parse_budget(load_recipe(name).validate.budget)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pictures_are_for_networks_of_pictures(name):
    recipe, task = load_recipe(name), ARCHITECTURES[name].task
    if task == "image classification":
        assert recipe.preprocess is not None
    if recipe.preprocess is not None:
        assert task in ("image classification", "segmentation")
        assert recipe.preprocess.input == "image"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_recipe_works_without_data(name):
    """`deploy` without a calibration set must not be refused; with one, nothing in the recipe is ignored."""
    asked = load_recipe(name).quantize
    assert asked.precision not in CALIBRATED
    eight = fitting(replace(asked, precision="int8+fp16", data="set.npz"))
    assert [getattr(eight, knob) for knob in KNOBS] == [getattr(asked, knob) for knob in KNOBS]


@pytest.mark.parametrize("name", recipe_names())
def test_every_choice_says_why(name):
    """A choice without a comment above it is a number that no one dares to change."""
    lines = text(name).splitlines()
    keys = {line.partition(" = ")[0]: number for number, line in enumerate(lines) if re.match(r"[a-z_]+ = ", line)}
    assert {"precision", "budget"} <= keys.keys()
    for key, number in keys.items():
        if key in CHOICES:
            assert lines[number - 1].startswith("# "), key
        assert "#" in "".join(lines[max(number - 8, 0) : number]), key


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_its_figures(name):
    """In dB, as the budget is; and what could not be measured is said not to be."""
    assert re.search(r"\d dB", text(name))
    if any("models.vision:" in entry.builder and recipe_of(one) == name for one, entry in ARCHITECTURES.items()):
        assert re.search(r"[Nn]ot measured", text(name))


@pytest.mark.parametrize(("name", "weights"), TORCHVISION.items())
def test_pictures_become_what_torchvision_makes_of_them(name, weights):
    models = pytest.importorskip("torchvision.models")
    wanted = getattr(models, f"{weights}_Weights").IMAGENET1K_V1.transforms()
    found = load_recipe(name).preprocess
    assert found is not None
    assert ([found.crop], [found.resize]) == (wanted.crop_size, wanted.resize_size)
    assert found.interpolation == wanted.interpolation.value
    np.testing.assert_allclose(np.array([found.mean, found.std]) / 255, [wanted.mean, wanted.std], rtol=1e-6)


def test_the_readme_names_the_options_of_quantize():
    """Every knob of [quantize] stands in the table, and every name in the table is a knob."""
    guide = (resource("calibration") / "README.md").read_text(encoding="utf-8")
    table = guide.partition("### The options of `[quantize]`")[2].partition("\n###")[0]
    keys = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(keys))) == sorted(item.name for item in fields(QuantizeConfig))


def test_the_readme_names_the_recipes():
    guide = (resource("calibration") / "README.md").read_text(encoding="utf-8")
    assert [name for name in recipe_names() if f"`{name}`" not in guide] == []
