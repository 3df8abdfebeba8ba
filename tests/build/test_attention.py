"""The rule of what TensorRT refuses of Attention, against the TensorRT-RTX that is installed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto  # noqa: E402

from edgekit.build import attention, build  # noqa: E402
from edgekit.build.attention import for_importer, why_decomposed  # noqa: E402
from edgekit.build.flavour import Flavour  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402
from edgekit.errors import BuildError  # noqa: E402
from edgekit.rewrite.attention_node import attention_nodes  # noqa: E402

HALF, SINGLE, BRAIN = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.BFLOAT16


def model(dtype: int = HALF, size: int = 64, **form: Any) -> onnx.ModelProto:
    """q [n,h,t,size], k and v [n,g,s,size]; `mask` is a rank of a boolean mask, `past` adds a cache."""
    all_heads = form.pop("heads", 4)
    heads, value_size = form.pop("kv_heads", all_heads), form.pop("value_size", size)
    shapes = {"q": ["n", all_heads, "t", size], "k": ["n", heads, "s", size], "v": ["n", heads, "s", value_size]}
    names, outputs = ["q", "k", "v", "", "", ""], ["y"]
    if form.pop("three_axes", False):
        shapes = {name: [*shape[::2], shape[1] * shape[3]] for name, shape in shapes.items()}
        form |= {"q_num_heads": all_heads, "kv_num_heads": heads}
    if mask := form.pop("mask", 0):
        shapes["mask"], names[3] = ["n", 1, "t", "all"][4 - mask :], "mask"
    if form.pop("past", False):
        shapes |= {"pk": ["n", heads, "p", size], "pv": ["n", heads, "p", value_size]}
        names[4:], outputs = ["pk", "pv"], ["y", "keys", "values"]
    if form.pop("scores", False):
        outputs = ["y", "", "", "scores"]
    while not names[-1]:
        names.pop()
    node = onnx.helper.make_node("Attention", names, outputs, "attention", **form)
    inputs = [
        onnx.helper.make_tensor_value_info(name, TensorProto.BOOL if name == "mask" else dtype, shape)
        for name, shape in shapes.items()
    ]
    axes = len(shapes["q"])
    made = [onnx.helper.make_tensor_value_info(name, dtype, [None] * axes) for name in outputs if name]
    graph = onnx.helper.make_graph([node], "g", inputs, made)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10)


def shapes_of(proto: onnx.ModelProto) -> tuple[str, ...]:
    sizes = {"n": (1, 2, 4), "t": (4, 16, 64), "s": (4, 16, 64), "p": (1, 2, 16), "all": (4, 16, 64)}
    if any(value.name == "pk" for value in proto.graph.input):
        sizes["all"] = (5, 18, 80)
    texts = []
    for value in proto.graph.input:
        dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        columns = ["x".join(str(sizes[dim][at] if dim in sizes else dim) for dim in dims) for at in range(3)]
        texts.append(":".join([value.name, *columns]))
    return tuple(texts)


def built(proto: onnx.ModelProto, folder: Path) -> Any:
    pytest.importorskip("tensorrt_rtx")
    onnx.save(proto, folder / "m.onnx")
    return build(folder / "m.onnx", folder / "m.engine", BuildConfig("rtx", ("8.6",), shape=shapes_of(proto)))


KEPT = {
    "half": {},
    "bfloat16": {"dtype": BRAIN},
    "smallest": {"size": 9},
    "largest": {"size": 256},
    "causal": {"is_causal": 1},
    "scaled": {"scale": 0.3},
    "grouped": {"kv_heads": 2},
    "one_head": {"heads": 1, "is_causal": 1},
    "one_key_head": {"kv_heads": 1, "is_causal": 1},
    "three_axes": {"three_axes": True, "kv_heads": 2},
    "mask_2": {"mask": 2},
    "mask_3": {"mask": 3},
    "mask_4": {"mask": 4},
}
DECOMPOSED = {
    "single": ({"dtype": SINGLE}, "only half precision has a kernel"),
    "too_small": ({"size": 8}, "head size 8 is outside of 9 to 256"),
    "too_large": ({"size": 264}, "head size 264 is outside of 9 to 256"),
    "cache": ({"past": True}, "a cache inside the node"),
    "causal_mask": ({"is_causal": 1, "mask": 4}, "a mask beside is_causal"),
    "odd_head_mask": ({"size": 12, "mask": 4}, "a boolean mask with head size 12, no multiple of 8"),
    "one_head_mask": ({"heads": 1, "mask": 4}, "a single head with a mask"),
    "softcap": ({"softcap": 20.0}, "a softcap, a window"),
    "value_size": ({"value_size": 32}, "values of size 32 beside keys of 64"),
    "scores": ({"scores": True}, "another output than the result"),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_becomes_one_fused_kernel(name, tmp_path):
    report = built(model(**KEPT[name]), tmp_path)
    assert not any("decomposed" in line for line in report.warnings)
    assert sum("mha" in layer.name for layer in report.layers) == 1


@pytest.mark.parametrize("name", DECOMPOSED)
def test_what_is_decomposed_builds_and_would_be_refused_otherwise(name, tmp_path, monkeypatch):
    form, says = DECOMPOSED[name]
    assert says in why_decomposed(attention_nodes(model(**form))[0])
    report = built(model(**form), tmp_path)
    assert report.warnings[0].startswith("1 of 1 Attention nodes decomposed: ")
    assert says in report.warnings[0]
    monkeypatch.setattr(attention, "why_decomposed", lambda item: "")
    monkeypatch.setattr("edgekit.build.engine.no_kernel", lambda error: False)
    with pytest.raises(BuildError):
        built(model(**form), tmp_path)


def test_where_there_is_no_kernel_after_all_the_build_goes_on_without(tmp_path, monkeypatch):
    """As though the rule had not known of small heads: the first build fails, the second succeeds."""
    monkeypatch.setattr(attention, "why_decomposed", lambda item: "")
    report = built(model(size=8), tmp_path)
    assert report.warnings[0] == "1 of 1 Attention nodes decomposed: TensorRT found no kernel for one"


def test_a_decomposed_cache_is_fused_all_the_same(tmp_path):
    assert sum("mha" in layer.name for layer in built(model(past=True), tmp_path).layers) == 1


def test_without_an_importer_all_are_decomposed():
    done = for_importer(model(), "this TensorRT has no importer for it")
    assert done.notes == ("1 of 1 Attention nodes decomposed: this TensorRT has no importer for it",)
    kept = for_importer(model(), "")
    assert (kept.modified, kept.notes) == (False, ())


@pytest.mark.parametrize(
    ("name", "version", "imports"),
    [
        ("tensorrt_rtx", "1.7.1.116", True),
        ("tensorrt", "10.3.0", False),
        ("tensorrt", "10.13.2.6", False),
        ("tensorrt", "10.14.1.48", True),
        ("tensorrt", "11.4.1", True),
    ],
)
def test_who_has_an_importer(name, version, imports):
    assert Flavour(SimpleNamespace(), name, version).imports_attention is imports
