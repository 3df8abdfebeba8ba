"""A bundle whose answers can be seen: which colour a picture has most of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

RECIPE = """
[preprocess]
kind = "image"
input = "image"
resize = 16
crop = 16
mean = [127.0, 127.0, 127.0]
std = [32.0, 32.0, 32.0]

[postprocess]
kind = "classify"
output = "logits"
labels = ["red", "green", "blue"]
"""


@pytest.fixture(scope="session")
def colours(shared) -> Path:
    """The bundle."""
    onnx = pytest.importorskip("onnx")
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    helper = onnx.helper
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", 1, ["batch", 3, 16, 16])
    graph = helper.make_graph(nodes, "g", [image], [helper.make_tensor_value_info("logits", 1, ["batch", 3])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def make(folder: Path) -> None:
        onnx.save(model, folder / "m.onnx")
        (folder / "recipe.toml").write_text(RECIPE)
        np.savez(folder / "x.npz", image=np.linspace(-1, 1, 768, dtype=np.float32).reshape(1, 3, 16, 16))
        config = DeployConfig("cpu", str(folder / "x.npz"), precision="fp32", recipe=str(folder / "recipe.toml"))
        deploy(str(folder / "m.onnx"), folder / "out", config)

    return shared("colours", make) / "out" / "bundle"
