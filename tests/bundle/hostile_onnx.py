"""Hostile ONNX files, some written with the package onnx, some byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.bundle.hostile import Kind, holding


def number(value: int) -> bytes:
    """A varint, of as many bytes as it takes."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def inside(field: int, *contents: bytes) -> bytes:
    """A field that holds bytes or a message."""
    data = b"".join(contents)
    return number(field << 3 | 2) + number(len(data)) + data


def saying(field: int, value: int) -> bytes:
    """A field that holds an integer."""
    return number(field << 3) + number(value)


def model(*graph: bytes) -> bytes:
    """A model of IR 10 with a graph of these fields."""
    return saying(1, 10) + inside(8, saying(2, 20)) + inside(7, *graph)


def tensor(*fields: bytes) -> bytes:
    """A model with an initializer of these fields."""
    return model(inside(5, *fields, inside(8, b"w")))


def external(location: str = "../../etc/passwd") -> TensorProto:
    """A float32[2] that has its data elsewhere."""
    made = TensorProto(dims=[2], data_type=1, name="w", data_location=TensorProto.EXTERNAL)
    made.external_data.add(key="location", value=location)
    return made


def plain(name: str = "w") -> TensorProto:
    """A float32[2] as it should be."""
    return helper.make_tensor(name, 1, [2], [1.0, 2.0])


def graph(nodes: list[onnx.NodeProto] = [], tensors: list[TensorProto] = []) -> onnx.GraphProto:  # noqa: B006
    """A graph of these, with no inputs and outputs."""
    return helper.make_graph(nodes, "g", [], [], tensors)


def serialized(main: onnx.GraphProto, functions: list[onnx.FunctionProto] = []) -> bytes:  # noqa: B006
    """A whole model."""
    return helper.make_model(main, functions=functions, ir_version=10).SerializeToString()


def function(name: str, *calls: str, tensors: list[TensorProto] = []) -> onnx.FunctionProto:  # noqa: B006
    """A function of the domain `f` that calls others of it."""
    nodes = [helper.make_node(call, [], [f"y{index}"], domain="f") for index, call in enumerate(calls)]
    nodes += [helper.make_node("Constant", [], [f"c{index}"], value=item) for index, item in enumerate(tensors)]
    return helper.make_function("f", name, [], [], nodes, [helper.make_opsetid("", 20)])


def calling(name: str) -> onnx.GraphProto:
    """A graph that calls one function."""
    return graph([helper.make_node(name, [], ["y"], domain="f")])


def nested_graphs(depth: int) -> bytes:
    """An If in an If in an If."""
    inner = b""
    for _ in range(depth):
        inner = inside(1, inside(4, b"If"), inside(5, inside(1, b"then_branch"), inside(6, inner)))
    return model(inner)


def nested_types(depth: int) -> bytes:
    """A sequence of sequences of sequences."""
    inner = b""
    for _ in range(depth):
        inner = inside(4, inside(1, inner))
    return model(inside(11, inside(2, inner)))


def sparse() -> onnx.SparseTensorProto:
    """Two numbers of a million million."""
    indices = helper.make_tensor("", TensorProto.INT64, [2], [0, 1])
    return helper.make_sparse_tensor(plain(), indices, [1_000_000, 1_000_000])


def _sparse_initializer() -> bytes:
    main = graph()
    main.sparse_initializer.append(sparse())
    return serialized(main)


def _sparse_outside() -> bytes:
    main = graph()
    stored = sparse()
    stored.dims[:] = [2]
    stored.values.CopyFrom(external())
    main.sparse_initializer.append(stored)
    return serialized(main)


def _damaged(change: Callable[[bytes], bytes]) -> Kind:
    """The good model, changed."""
    return lambda bundle: holding("model.onnx", change((bundle / "model.onnx").read_bytes()))(bundle)


def _in_a_branch(held: TensorProto) -> bytes:
    branch = graph([helper.make_node("Constant", [], ["c"], value=held)])
    return serialized(graph([helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]))


DATA = inside(9, bytes(8))
FILES: dict[str, bytes] = {
    "empty": b"",
    "text": b"#!/bin/sh\nexit 1\n",
    "a pickle": b"\x80\x04cposix\nsystem\n.",
    "no graph": saying(1, 10) + inside(8, saying(2, 20)),
    "two graphs": model() + inside(7),
    "a graph that is a number": saying(1, 10) + saying(7, 1),
    "a field of number zero": model() + b"\x02\x00",
    "a group": model() + b"\x0b\x0c",
    "wire type 6": model() + b"\x0e",
    "a tag of six bytes": model() + b"\x88\x80\x80\x80\x80\x00\x00",
    "a number of eleven bytes": b"\x08" + b"\x80" * 10 + b"\x01" + model()[2:],
    "a number of 70 bits": b"\x08" + b"\xff" * 9 + b"\x7f" + model()[2:],
    "a length behind the end": model() + b"\x12\x05abc",
    "a length of five gigabytes": model() + b"\x12\xff\xff\xff\xff\x13",
    "a length behind its message": model(number(1 << 3 | 2) + number(9)) + bytes(9),
    "a tag alone": model() + b"\x12",
    "onnxruntime's own format": saying(1, 10) + inside(2, b"ORTM") + model()[2:],
    "weights in another file": serialized(graph(tensors=[external()])),
    "weights in a file of the bundle": serialized(graph(tensors=[external("reports/accuracy.json")])),
    "weights in memory": serialized(graph(tensors=[external("*/_ORT_MEM_ADDR_/*")])),
    "weights elsewhere, without saying where": tensor(saying(1, 2), saying(2, 1), saying(14, 1), DATA),
    "where weights are, without being elsewhere": tensor(saying(1, 2), saying(2, 1), inside(13, inside(1, b"a")), DATA),
    "a constant elsewhere": serialized(graph([helper.make_node("Constant", [], ["c"], value=external())])),
    "a constant elsewhere, in a branch": _in_a_branch(external()),
    "a constant elsewhere, in a function": serialized(calling("a"), [function("a", tensors=[external()])]),
    "sparse weights elsewhere": _sparse_outside(),
    "sparse weights without end": _sparse_initializer(),
    "a dimension that is negative": tensor(saying(1, (1 << 64) - 1), saying(2, 1), DATA),
    "a dimension that is negative, of no elements": tensor(saying(1, (1 << 64) - 1), saying(1, 0), saying(2, 1)),
    "a name that is a number": model(inside(1, saying(3, 1))),
    "an integer that is a message": inside(1, b"\1") + model()[2:],
    "dimensions without end": tensor(inside(1, number(1 << 40), number(1 << 40)), saying(2, 1), DATA),
    "dimensions without data": tensor(saying(1, 1 << 30), saying(2, 1)),
    "forty dimensions": tensor(inside(1, b"\x01" * 40), saying(2, 8), inside(6, b"s")),
    "forty dimensions, one by one": tensor(saying(1, 1) * 40, saying(2, 2), inside(9, b"a")),
    "fewer bytes than elements": tensor(saying(1, 3), saying(2, 1), DATA),
    "more bytes than elements": tensor(saying(1, 1), saying(2, 1), DATA),
    "fewer bytes than elements of four bits": tensor(saying(1, 17), saying(2, 22), DATA),
    "fewer floats than elements": tensor(saying(1, 3), saying(2, 1), inside(4, bytes(8))),
    "fewer doubles than elements": tensor(saying(1, 2), saying(2, 11), inside(10, bytes(8))),
    "fewer integers than elements": tensor(saying(1, 9), saying(2, 7), inside(7, b"\1\1")),
    "fewer texts than elements": tensor(saying(1, 2), saying(2, 8), inside(6, b"s")),
    "texts as raw bytes": tensor(saying(1, 1), saying(2, 8), DATA),
    "a type that is none": tensor(saying(1, 1000), saying(2, 99), DATA),
    "data twice": tensor(saying(1, 2), saying(2, 1), DATA, DATA),
    "data in two forms": tensor(saying(1, 2), saying(2, 1), DATA, inside(4, bytes(8))),
    "a type twice": tensor(saying(1, 2), saying(2, 1), saying(2, 6), DATA),
    "graphs nested 30 deep": nested_graphs(30),
    "graphs nested 3000 deep": nested_graphs(3000),
    "types nested 70 deep": nested_types(70),
    "300,000 nodes": model(b"\x0a\x00" * 300_000),
    "300,000 weights of nothing": model(b"\x2a\x02\x08\x00" * 300_000),
    "a function that calls itself": serialized(calling("a"), [function("a", "b"), function("b", "a")]),
    "functions that double 40 times": serialized(
        calling("f0"), [function(f"f{at}", f"f{at + 1}", f"f{at + 1}") for at in range(40)]
    ),
    "functions nested 100 deep": serialized(calling("f0"), [function(f"f{at}", f"f{at + 1}") for at in range(100)]),
    "a function of a long name": serialized(calling("a" * 5000), [function("a")]),
}
IN_THE_MODEL: dict[str, Kind] = {
    **{name: holding("model.onnx", data) for name, data in FILES.items()},
    "cut": _damaged(lambda data: data[: len(data) // 2]),
    "grown by zeros": _damaged(lambda data: data + bytes(100)),
    "twice, one behind the other": _damaged(lambda data: data + data),
    "a graph more": _damaged(lambda data: data + inside(7)),
}


def a_file(data: bytes, path: Path) -> Path:
    """The bytes in a file."""
    path.write_bytes(data)
    return path
