"""A detector that finds the bright block of a picture: its box lies around the block, wherever it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("onnx")

from PIL import Image  # noqa: E402

from edgekit.configs import DeployConfig, RunConfig  # noqa: E402
from edgekit.deploy import deploy  # noqa: E402
from edgekit.run import Answered, run  # noqa: E402
from edgekit.run import live as living  # noqa: E402
from edgekit.runtime.loop.placed import placed  # noqa: E402
from tests.runtime.loop.cameras import Scripted, frame  # noqa: E402
from tests.runtime.web.pages import frame as frame_of_page  # noqa: E402

RECIPE = """
[preprocess]
kind = "image"
input = "image"
resize = 40
crop = 32
mean = [127.0, 127.0, 127.0]
std = [32.0, 32.0, 32.0]

[postprocess]
kind = "boxes"
boxes = "boxes"
scores = "scores"
labels = ["block"]
"""
# left, top, right, bottom in a picture of 240 x 120 pixels, three of which are one of the network's.
BLOCK = (99, 36, 141, 84)
CORNERS = re.compile(r"block 0\.90 at (\S+) (\S+) (\S+) (\S+)")


def picture() -> np.ndarray:
    left, top, right, bottom = BLOCK
    pixels = np.zeros((120, 240, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    return pixels


@pytest.fixture(scope="module")
def detector(shared) -> Path:
    """The bundle: the first and the last row and column that are brighter than the mean, in the network's pixels."""
    import onnx

    helper = onnx.helper
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["zero"], value_float=0.0),
        helper.make_node("Constant", [], ["nine"], value_float=0.9),
        helper.make_node("Constant", [], ["at1"], value_ints=[1]),
        helper.make_node("Constant", [], ["others_x"], value_ints=[1, 2]),
        helper.make_node("Constant", [], ["others_y"], value_ints=[1, 3]),
    ]
    for axis in "xy":
        nodes += [
            helper.make_node("ReduceMax", ["image", f"others_{axis}"], [f"line_{axis}"], keepdims=0),
            helper.make_node("Greater", [f"line_{axis}", "zero"], [f"bright_{axis}"]),
            helper.make_node("Cast", [f"bright_{axis}"], [f"values_{axis}"], to=1),
        ]
        for last, end in enumerate(("first", "last")):
            name = f"{end}_{axis}"
            nodes += [
                helper.make_node("ArgMax", [f"values_{axis}"], [f"i_{name}"], axis=1, select_last_index=last),
                helper.make_node("Cast", [f"i_{name}"], [name if end == "first" else f"f_{name}"], to=1),
            ]
        nodes.append(helper.make_node("Add", [f"f_last_{axis}", "one"], [f"last_{axis}"]))
    nodes += [
        helper.make_node("Concat", ["first_x", "first_y", "last_x", "last_y"], ["flat"], axis=1),
        helper.make_node("Unsqueeze", ["flat", "at1"], ["boxes"]),
        helper.make_node("Mul", ["first_x", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "nine"], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", 1, ["batch", 3, 32, 32])
    outputs = [
        helper.make_tensor_value_info("boxes", 1, ["batch", 1, 4]),
        helper.make_tensor_value_info("scores", 1, ["batch", 1]),
    ]
    graph = helper.make_graph(nodes, "g", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def make(folder: Path) -> None:
        onnx.save(model, folder / "m.onnx")
        (folder / "recipe.toml").write_text(RECIPE)
        np.savez(folder / "x.npz", image=np.linspace(-1, 1, 3072, dtype=np.float32).reshape(1, 3, 32, 32))
        config = DeployConfig("cpu", str(folder / "x.npz"), precision="fp32", recipe=str(folder / "recipe.toml"))
        deploy(str(folder / "m.onnx"), folder / "out", config)

    return shared("detector", make) / "out" / "bundle"


def is_around_the_block(corners) -> bool:
    """To one pixel of the network, which is three of the picture."""
    return bool(np.abs(np.asarray(corners, np.float64) - BLOCK).max() <= 3)


def told(answer: tuple[str, ...]) -> list[float]:
    (line,) = answer
    return [float(value) for value in CORNERS.fullmatch(line).groups()]


def test_pictures_of_a_folder_are_told_their_own_pixels(detector, tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png")
    Image.fromarray(picture()).resize((480, 240)).save(tmp_path / "b.png")
    first, second = run(detector, RunConfig(source=str(tmp_path))).frames
    assert is_around_the_block(told(first.answer))
    assert is_around_the_block(np.divide(told(second.answer), 2))


def test_arrays_have_no_picture_and_their_boxes_are_the_networks(detector, tmp_path):
    image = np.full((1, 3, 32, 32), -1, np.float32)
    image[:, :, 4:9, 10:20] = 1
    np.savez(tmp_path / "x.npz", image=image)
    (only,) = run(detector, RunConfig(source=str(tmp_path / "x.npz"))).frames
    assert told(only.answer) == [10, 4, 20, 9]


def test_words_file_and_page_agree_with_the_frame(detector, tmp_path, monkeypatch):
    script = [frame(number, "cam", picture()) for number in range(3)]
    monkeypatch.setattr(living, "open_source", lambda text, **rest: Scripted(*script, name="cam"))
    said, pages, shown = [], [], []

    def show(item) -> None:
        if isinstance(item, Answered):
            if said:  # the page hears after the words, and has the frame before this one
                pages.append(frame_of_page(SimpleNamespace(port=int(re.search(r":(\d+)/", shown[0])[1])))[0])
            said.append(told(item.answer))
        else:
            shown.append(item)

    config = RunConfig(source="synthetic:9", show="web", port=0, answers=tmp_path / "a.jsonl")
    monkeypatch.setattr(living, "_policy", lambda session, config: living.Policy("every"))
    run(detector, config, show)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    written = [line["answer"][0]["corners"] for line in lines]
    assert len(said) == len(written) == 3
    assert all(map(is_around_the_block, [*said, *written]))
    drawn = [about["answer"]["boxes"][0]["corners"] for about in pages]
    assert drawn == [[round(value, 2) for value in corners] for corners in written[:2]]


@pytest.mark.parametrize("answer", [None, 7, [], [[]], "text", {"boxes": np.zeros(4)}])
def test_what_is_no_box_stays_as_it_is(answer):
    from edgekit.specs import ImagePreprocess

    spec = ImagePreprocess("image", "x", 40, 32, (0.0,) * 3, (1.0,) * 3)
    assert placed(answer, spec, picture()) is answer
