"""Bundles of networks that carry a state, small enough to compute by hand; and a decoder with a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgekit.bundle import Contents, Manifest, ModelEntry, pack
from edgekit.files import json_bytes
from edgekit.rewrite.reading import graph_inputs, graph_outputs
from edgekit.specs import Stream, to_table

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def bundle_of(
    model: onnx.ModelProto, folder: Path, stream: Stream | None, ranges: dict[str, tuple[int, int, int]]
) -> Path:
    """A bundle of this model as `deploy` writes it, without a verdict of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    contents = Contents(copies={"model.onnx": folder / "model.onnx"})
    if stream:
        contents.made["stream.json"] = json_bytes(to_table(stream))
    manifest = Manifest(
        edgekit="test",
        verdict="",
        model=ModelEntry("model.onnx", "", "", "fp32", "disable_all"),
        preprocess="",
        postprocess="",
        stream="stream.json" if stream else "",
        assets=(),
        inputs=graph_inputs(model),
        outputs=graph_outputs(model),
        ranges=ranges,
        engines=(),
        files={},
    )
    pack(folder / "bundle", manifest, contents)
    return folder / "bundle"


def made(nodes: list[onnx.NodeProto], inputs: list, outputs: list, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def running_sum() -> onnx.ModelProto:
    """x [batch,T,2], total [batch,2] -> its total_out, and y [batch,T,2], the sums so far plus ten times x."""
    node = helper.make_node
    axes = {"one": np.array([1]), "ten": np.array(10, np.float32)}
    nodes = [
        node("CumSum", ["x", "first"], ["sums"]),
        node("Unsqueeze", ["total", "one"], ["before"]),
        node("Add", ["sums", "before"], ["so_far"]),
        node("Mul", ["x", "ten"], ["tens"]),
        node("Add", ["so_far", "tens"], ["y"]),
        node("ReduceSum", ["x", "one"], ["added"], keepdims=0),
        node("Add", ["total", "added"], ["total_out"]),
    ]
    weights = {**axes, "first": np.array(1)}
    inputs = [value("x", FLOAT, "batch", "time", 2), value("total", FLOAT, "batch", 2)]
    outputs = [value("y", FLOAT, "batch", "time", 2), value("total_out", FLOAT, "batch", 2)]
    return made(nodes, inputs, outputs, weights)


def counting_decoder(vocabulary: int = 16, *, masked: bool = False) -> onnx.ModelProto:
    """tokens [batch,T] behind a cache of all tokens before -> logits that are largest for (sum of all so far) mod V.

    Its cache is the tokens themselves, as floats [batch,P]; the likeliest next token is easily told by hand. With a
    mask [batch,total] and positions [batch,T], a token counts only where the mask is 1, and logits are NaN unless each
    position is the number of tokens before it.
    """
    node = helper.make_node
    nodes = [
        node("Cast", ["tokens"], ["floats"], to=FLOAT),
        node("Concat", ["past", "floats"], ["present"], axis=1),
        node("Mul" if masked else "Identity", ["present", "mask"] if masked else ["present"], ["counted"]),
        node("CumSum", ["counted", "first"], ["sums"]),
        node("Shape", ["past"], ["behind"], start=1),
        node("Slice", ["sums", "behind", "far", "one"], ["new"]),
        node("Mod", ["new", "size"], ["target"], fmod=1),
        node("Unsqueeze", ["target", "minus"], ["targets"]),
        node("Sub", ["targets", "ids"], ["away"]),
        node("Mul", ["away", "away"], ["square"]),
        node("Neg", ["square"], ["logits" if not masked else "right"]),
    ]
    weights = {
        "first": np.array(1),
        "far": np.array([2**31]),
        "one": np.array([1]),
        "minus": np.array([-1]),
        "size": np.array(vocabulary, np.float32),
        "ids": np.arange(vocabulary, dtype=np.float32),
    }
    inputs = [value("tokens", INT64, "batch", "time"), value("past", FLOAT, "batch", "past")]
    if masked:
        nodes += [
            node("Shape", ["past"], ["start"], start=1),
            node("Squeeze", ["start"], ["begin"]),
            node("Shape", ["present"], ["end_"], start=1),
            node("Squeeze", ["end_"], ["end"]),
            node("Range", ["begin", "end", "step"], ["places"]),
            node("Equal", ["positions", "places"], ["placed"]),
            node("Unsqueeze", ["placed", "minus"], ["valid"]),
            node("Where", ["valid", "right", "nan"], ["logits"]),
        ]
        weights |= {"step": np.array(1), "nan": np.array(np.nan, np.float32)}
        inputs += [value("mask", FLOAT, "batch", "total"), value("positions", INT64, "batch", "time")]
    outputs = [
        value("logits", FLOAT, "batch", "time", vocabulary),
        value("present", FLOAT, "batch", "past + time"),
    ]
    return made(nodes, inputs, outputs, weights)


def written_by_hand(prompt: list[int], count: int, vocabulary: int = 16) -> list[int]:
    """What `counting_decoder` writes behind a prompt."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(sum(tokens) % vocabulary)
    return tokens[len(prompt) :]
