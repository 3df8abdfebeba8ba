"""An ONNX file is bounded before anything parses it: what it holds, how deep, how much, and that nothing is elsewhere.

Without the package onnx, and without touching the weights: some ten thousand fields of a network, a few milliseconds.
What a network computes is not bounded here: a loop may run forever, and an operator make any large tensor.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator

from edgekit.bundle.onnx_functions import check_functions
from edgekit.bundle.onnx_messages import MESSAGES, Rule
from edgekit.bundle.onnx_tensors import check_sparse, check_tensor
from edgekit.bundle.window import Window
from edgekit.bundle.wire import Field, Malformed, fields
from edgekit.errors import IntegrityError

# What one protobuf may have, and what its own parser stops at is 100; a graph in a graph is three deeper.
_LARGEST, _DEEPEST = (1 << 31) - 1, 64
# A field of two bytes may become a hundred in memory. edgekit's GPT-2 has 190 nodes, and 8,000 fields in all.
_MOST_FIELDS = 1 << 22
_MOST = {"NodeProto": 1 << 18, "TensorProto": 1 << 18, "ValueInfoProto": 1 << 19, "GraphProto": 1 << 12}
_MOST |= {"FunctionProto": 1 << 12}
# onnxruntime takes bytes with this at 4..8 for a file of its own format, and does not look for a protobuf.
_ORT_FORMAT = b"ORTM"


def check_onnx(window: Window, name: str) -> None:
    """Raise IntegrityError unless the bytes are one ONNX model within the bounds, with all its data inside.

    A quick look: fields and lengths, not whether the network makes sense.
    """
    try:
        if window.size > _LARGEST:
            raise Malformed(f"{window.size} bytes")
        if window.read(4, 4) == _ORT_FORMAT:
            raise Malformed("onnxruntime's own format")
        walk = _Walk(window)
        walk.message("ModelProto", 0, window.size, 1)
        if not walk.counts["GraphProto"]:
            raise Malformed("none: there is no graph")
        check_functions(window)
    except Malformed as error:
        raise IntegrityError(
            f"expected a bounded ONNX model with its weights inside in {name}, found {error}", "get the bundle again"
        ) from error


class _Walk:
    """Goes through every message of a file, and through no bytes of weights."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._fields = 0
        self.counts: collections.Counter[str] = collections.Counter()

    def message(self, kind: str, start: int, end: int, depth: int) -> None:
        """Check the message of this kind from `start` to `end`, and all that are in it. Raises Malformed."""
        if depth > _DEEPEST:
            raise Malformed(f"messages nested more than {_DEEPEST} deep")
        rules = MESSAGES[kind]
        found = list(self._held_against(rules, kind, start, end))
        if kind == "TensorProto":
            check_tensor(self._window, found)
        elif kind == "SparseTensorProto":
            check_sparse(self._window, found)
        for number, _, first, behind in found:
            rule = rules.get(number)
            if rule is not None and rule.message:
                self.message(rule.message, first, behind, depth + 1)

    def _held_against(self, rules: dict[int, Rule], kind: str, start: int, end: int) -> Iterator[Field]:
        seen = set()
        for field in fields(self._window, start, end):
            number, wire = field[0], field[1]
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise Malformed(f"more than {_MOST_FIELDS} fields")
            rule = rules.get(number)
            if rule is not None:
                if wire not in rule.wires:
                    raise Malformed(f"wire type {wire} in field {number} of {kind}")
                # Readers differ about which of two counts, or put both together.
                if not rule.repeated and number in seen:
                    raise Malformed(f"field {number} of {kind} twice")
                seen.add(number)
                self._count(rule.message)
            yield field

    def _count(self, message: str) -> None:
        """Before it is looked into: a list of a million is not made only to be refused."""
        self.counts[message] += 1
        if self.counts[message] > _MOST.get(message, _MOST_FIELDS):
            raise Malformed(f"more than {_MOST[message]} times {message}")
