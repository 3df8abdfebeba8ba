"""ONNX files, held against what the package onnx reads in those that the bounds accept."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError, Message

from edgekit.bundle.onnx_bounds import check_onnx
from edgekit.bundle.window import Window
from edgekit.errors import IntegrityError
from tests.fuzz.target import a_file

_DEEPEST, _MOST_NODES = 64, 1 << 18


def onnx_bounds(data: bytes) -> None:
    """Bytes in memory and in a file are judged alike; what the package reads of accepted ones is within the bounds."""
    said = [_refusal(Window.over(data)), _in_a_file(data)]
    assert said[0] == said[1], said
    if said[0]:
        raise IntegrityError(said[0])
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        return  # the bounds are no whole parser: this one refuses the rest, and in words
    nodes = 0
    for message, depth in _messages(model, 1):
        assert depth <= _DEEPEST
        nodes += isinstance(message, onnx.NodeProto)
        if isinstance(message, onnx.TensorProto):
            assert message.data_location == onnx.TensorProto.DEFAULT
            assert not message.external_data
            # Two bits an element are the fewest of a known type, one bit of any other.
            assert math.prod(message.dims) <= 8 * len(data)
            assert all(axis >= 0 for axis in message.dims)
    assert nodes <= _MOST_NODES


def _refusal(window: Window) -> str:
    try:
        check_onnx(window, "model.onnx")
    except IntegrityError as error:
        return str(error)
    return ""


def _in_a_file(data: bytes) -> str:
    """Not at its beginning, as in an archive."""
    with a_file(b"before" + data + b"behind", "a.onnx").open("rb") as file:
        return _refusal(Window.of(file.fileno(), 6, len(data)))


def _messages(message: Message, depth: int) -> Iterator[tuple[Message, int]]:
    yield message, depth
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner, depth + 1)
