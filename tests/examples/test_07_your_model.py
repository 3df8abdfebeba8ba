"""The commands of examples/07_your_model, as a reader types them: real photographs, trained, in INT8, signed."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from edgekit.recipe import load_recipe
from tests.reading import ROOT, commands, tried

EXAMPLE = ROOT / "examples/07_your_model"
README = "examples/07_your_model/README.md"
for package in ("torch", "skimage", "cryptography"):
    pytest.importorskip(package, reason="the example trains on photographs and signs")


@pytest.mark.slow  # trains, exports and quantizes for real
def test_every_command(ran, tmp_path):
    folder, printed = ran("07_your_model")
    photos, trained, deployed, _, _, verified, run, named = printed
    assert "train: 480 squares" in photos
    assert "held_out: 288 squares" in photos
    right, count = map(int, re.search(r"(\d+) of (\d+) held-out squares right", trained).groups())
    assert count == 288
    assert right >= 0.95 * count
    # The recipe makes of a picture what train.py makes of it: the two tools count the same squares.
    assert f"the reference {right / count:.1%}" in deployed
    assert "4 layers in INT8, calibrated on 480 pictures" in deployed
    assert "top1>=0.9: PASS" in deployed
    assert re.search(r"signed by [0-9a-f]{16}, trusted\n", verified)
    assert sum("grass" in line for line in run.splitlines()) >= 90  # of 96
    assert re.fullmatch(r"signed by [0-9a-f]{16}, trusted\ngravel \(\d+%\)\n", named)

    checkout = tmp_path / "copy"
    shutil.copytree(folder, checkout, symlinks=True)
    command = next(line for line in commands(README) if "main.py" in line)
    model = checkout / "out/ground/bundle/model.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused = tried(command, checkout)
    assert refused.returncode == 1
    assert re.fullmatch("edgekit: error: expected SHA-256 .*\n", refused.stderr)
    model.write_bytes(good)
    keygen = next(line for line in commands(README) if "keygen" in line)
    assert tried(keygen, checkout).returncode == 1, "never written over"
    assert tried(command, checkout).returncode == 0
    (model.parent / "signatures.json").unlink()
    refused = tried(command, checkout)
    assert re.fullmatch("edgekit: error: expected a signed bundle, found no signature.*\n", refused.stderr)


@pytest.mark.slow  # loads torch
def test_the_squares_share_no_pixel(tmp_path):
    """Put back where they were cut from, they fill each photograph once."""
    import skimage.data
    from PIL import Image

    assert tried(f"python {EXAMPLE}/photos.py photos", tmp_path).returncode == 0
    for name in ("brick", "grass", "gravel"):
        times, together = np.zeros((512, 512), int), np.zeros((512, 512), np.uint8)
        for part, rows in (("train", range(320)), ("held_out", range(320, 512))):
            for file in (tmp_path / "photos" / part / name).iterdir():
                top, left = map(int, file.stem.split("_"))
                assert top in rows
                assert top + 31 in rows
                times[top : top + 32, left : left + 32] += 1
                together[top : top + 32, left : left + 32] = np.asarray(Image.open(file))
        assert (times == 1).all()
        np.testing.assert_array_equal(together, getattr(skimage.data, name)())


def test_training_and_recipe_scale_grey_values_alike():
    recipe = load_recipe(str(EXAMPLE / "recipe.toml")).preprocess
    source = (EXAMPLE / "train.py").read_text()
    mean, std = map(float, re.search(r"^MEAN, STD = ([\d.]+), ([\d.]+)", source, re.MULTILINE).groups())
    assert (recipe.mean, recipe.std) == ((mean,), (std,))
