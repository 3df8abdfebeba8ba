"""Edgekit's nodes in TensorRT-RTX's real parser: which creator it finds, and each field's type and value."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx", reason="the parser is TensorRT-RTX's")

from onnx import TensorProto  # noqa: E402

from edgekit.plugins.operators import DOMAIN, FLOAT, INT, OPERATORS, TEXT  # noqa: E402
from edgekit.rewrite.recurrent_to_plugin import recurrent_to_plugin  # noqa: E402
from tests.export.real.recording import folder  # noqa: E402
from tests.plugins import test_rewritten  # noqa: E402
from tests.plugins.op_runs import WHOLE  # noqa: E402
from tests.plugins.test_recurrent_onnx import random_node  # noqa: E402

nets = test_rewritten.nets

ROOT = Path(__file__).parents[2]
TYPES = {INT: "INT32", FLOAT: "FLOAT32", TEXT: "CHAR"}
# With no plugin made, this is as far as a parser comes.
NO_PLUGIN = ["Assertion failed: plugin: Could not create the plugin."]
RANKS = {"lengths": 1, "key_lengths": 1, "past_length": 1, "h0": 3, "c0": 3}  # of others 4
Call = dict[str, Any]


def probed(models: dict[str, Any], where: Path) -> dict[str, Call]:
    """What the first edgekit node of each model asks of which creator; nothing but the missing plugin is an error."""
    paths = {str(where / f"{name}.onnx"): name for name in models}
    for path, name in paths.items():
        onnx.save(models[name], path)
    command = [sys.executable, "-m", "tests.plugins.parser_probe", *paths]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = {}
    for path, report in json.loads(ran.stdout).items():
        assert (report["parsed"], report["errors"]) == (False, NO_PLUGIN), (paths[path], report)
        (found[paths[path]],) = report["calls"]
    return found


def alone(model: Any) -> dict[str, Any]:
    """Each node of edgekit's with its constants, in a model of its own: a parser stops at the first."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    info, made = onnx.helper.make_tensor_value_info, {}
    for node in [node for node in model.graph.node if node.domain == DOMAIN]:
        names = dict(zip(OPERATORS[node.op_type].inputs, node.input, strict=True))
        given = [
            info(value, TensorProto.INT32 if name in WHOLE else TensorProto.FLOAT, [None] * RANKS.get(name, 4))
            for name, value in names.items()
            if value not in constants
        ]
        stored = [constants[value] for value in dict.fromkeys(node.input) if value in constants]
        outputs = [info(name, TensorProto.FLOAT, None) for name in node.output]
        graph = onnx.helper.make_graph([node], "alone", given, outputs, stored)
        made[node.name] = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=10)
    return made


def told(node: Any) -> dict[str, list[Any]]:
    """The fields that a node's attributes should become."""
    values = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {
        name: [TYPES[kind], values[name].decode() if kind == TEXT else values[name]]
        for name, kind in OPERATORS[node.op_type].attributes.items()
    }


def fields_of(call: Call) -> dict[str, list[Any]]:
    """Texts come with the zero that ends them in C: this parser counts it, and the plugin has to expect either."""
    return {
        name: [kind, value.rstrip("\0") if kind == "CHAR" else value] for name, (kind, value) in call["fields"].items()
    }


# A node, and what its operator's creator has to be given.
FORMS: dict[str, tuple[str, str, dict[str, Any], dict[str, list[Any]]]] = {
    "lstm": ("LSTM", "forward", {}, {"clip": ["FLOAT32", 0.0]}),
    "lstm, clipped": ("LSTM", "bidirectional", {"clip": 2.5}, {"clip": ["FLOAT32", 2.5]}),
    "gru": ("GRU", "reverse", {}, {"clip": ["FLOAT32", 0.0], "linear_before_reset": ["INT32", 1]}),
    "gru, reset first": (
        "GRU, reset first", "bidirectional", {}, {"clip": ["FLOAT32", 0.0], "linear_before_reset": ["INT32", 0]},
    ),
    "rnn": ("RNN, tanh", "forward", {}, {"clip": ["FLOAT32", 0.0], "activation": ["CHAR", "tanh"]}),
    "rnn, relu": (
        "RNN, relu", "bidirectional", {"clip": 0.5}, {"clip": ["FLOAT32", 0.5], "activation": ["CHAR", "relu"]},
    ),
}  # fmt: skip


def written(form: str) -> Any:
    """One of FORMS behind the pass, its weights constants; H is 6."""
    kind, direction, attributes, _ = FORMS[form]
    node, arrays = random_node(kind, direction, 0, **attributes)
    node.name = f"cell {form}"
    info = onnx.helper.make_tensor_value_info
    stored = [onnx.numpy_helper.from_array(arrays[name], name) for name in ("W", "R", "B")]
    types = {"int32": TensorProto.INT32, "float32": TensorProto.FLOAT}
    given = [info(n, types[str(arrays[n].dtype)], arrays[n].shape) for n in node.input if n not in ("W", "R", "B")]
    outputs = [info(name, TensorProto.FLOAT, [None] * (4 if name == "Y" else 3)) for name in node.output]
    graph = onnx.helper.make_graph([node], "g", given, outputs, stored)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return recurrent_to_plugin(model, lambda item: "").model


def test_each_form_asks_its_creator(tmp_path):
    found = probed({form: written(form) for form in FORMS}, tmp_path)
    for form, (kind, direction, _, fields) in FORMS.items():
        call = found[form]
        assert (call["op"], call["node"], call["phase"]) == (
            f"Edgekit{kind.partition(',')[0]}",
            f"cell {form}",
            "BUILD",
        )
        assert fields_of(call) == {"hidden_size": ["INT32", 6], "direction": ["CHAR", direction], **fields}


@pytest.mark.parametrize(
    ("domain", "namespace", "version", "found"),
    [
        ("edgekit", "other", "1", True),
        ("other", "edgekit", "1", True),  # as TensorRT 10.3 has it, which does not read the domain
        ("other", "other", "1", False),
        ("edgekit", "edgekit", "2", False),
    ],
)
def test_what_a_creator_is_found_by(tmp_path, domain, namespace, version, found):
    """The domain or the attribute says the namespace, and the version has to be its own."""
    model = written("lstm")
    (node,) = [node for node in model.graph.node if node.domain == DOMAIN]
    node.domain = domain
    model.opset_import.append(onnx.helper.make_opsetid("other", 1))
    for item in node.attribute:
        if item.name.startswith("plugin_"):
            item.s = (version if item.name == "plugin_version" else namespace).encode()
    if found:
        assert probed({"x": model}, tmp_path)["x"]["op"] == "EdgekitLSTM"
        return
    with pytest.raises(AssertionError, match="Plugin not found, are the plugin name, version, and namespace correct"):
        probed({"x": model}, tmp_path)


ARCHITECTURES = ("bilstm_tagger", "rnn_classifier", "gru_stream", "lstm_attention", "cnn_bigru_ctc", "seq2seq")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture(nets, tmp_path, name):
    """In every precision of weights: the whole network up to the first of edgekit's nodes, and each node by itself."""
    models, nodes = {}, {}
    for precision in test_rewritten.DTYPES:
        model, _ = test_rewritten.taken(onnx.load(nets(name) / f"{precision}.onnx"))
        mine = {node.name: node for node in model.graph.node if node.domain == DOMAIN}
        models[precision], nodes[precision] = model, next(iter(mine.values()))
        for at, (own, single) in enumerate(alone(model).items()):
            models[f"{precision} {at}"], nodes[f"{precision} {at}"] = single, mine[own]
    assert len(nodes) == 3 * (1 + sum(test_rewritten.CASES[name].ops.get(cell, 0) for cell in test_rewritten.CELLS))
    for key, call in probed(models, tmp_path).items():
        assert (call["op"], call["node"]) == (nodes[key].op_type, nodes[key].name)
        assert fields_of(call) == told(nodes[key])


def test_a_node_inside_of_two_ifs(tmp_path):
    """silero-vad's own file: the parser comes to the first of its four."""
    model, _ = test_rewritten.taken(onnx.load(folder("silero_vad") / "data/silero_vad.onnx"))
    call = probed({"silero": model}, tmp_path)["silero"]
    assert call["node"] in {node.name for node in test_rewritten.plugins(model)}
    assert fields_of(call) == {
        "hidden_size": ["INT32", 128],
        "direction": ["CHAR", "forward"],
        "clip": ["FLOAT32", 0.0],
    }
