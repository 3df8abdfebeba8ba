"""What TensorRT-RTX's parser asks edgekit's plugin creators for: `python -m tests.plugins.parser_probe model.onnx ...`

Prints JSON, a report for each file: `calls` of a creator, whether the file `parsed`, and the parser's `errors`.
Creators note what they are given and make nothing, so that the parser stops at the first node of edgekit's. The
registry of plugins is one for the whole process: run this in its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt_rtx as trt

from edgekit.plugins.operators import FLOAT, INT, NAMESPACE, OPERATORS, PLUGIN_VERSION, TEXT, Operator

FIELDS = {INT: trt.PluginFieldType.INT32, FLOAT: trt.PluginFieldType.FLOAT32, TEXT: trt.PluginFieldType.CHAR}


class Creator(trt.IPluginCreatorV3One):
    """Says which fields its operator has, and notes what the parser fills in."""

    def __init__(self, operator: Operator, calls: list[dict[str, Any]]) -> None:
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_namespace, self.plugin_version = operator.name, NAMESPACE, PLUGIN_VERSION
        fields = [trt.PluginField(name, np.array([]), FIELDS[kind]) for name, kind in operator.attributes.items()]
        self.field_names = trt.PluginFieldCollection(fields)
        self.calls = calls

    def create_plugin(self, name: str, fields: Any, phase: Any) -> None:
        self.calls.append(
            {
                "op": self.name,
                "node": name,
                "phase": phase.name,
                "fields": {field.name: [field.type.name, value_of(field)] for field in fields},
            }
        )


def value_of(field: Any) -> Any:
    """A text, or a number; several numbers as a list."""
    if field.type == trt.PluginFieldType.CHAR:
        return field.data if isinstance(field.data, str) else bytes(field.data.astype(np.uint8)).decode()
    numbers = np.asarray(field.data).ravel().tolist()
    return numbers[0] if len(numbers) == 1 else numbers


def probe(path: Path, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """One file."""
    calls.clear()
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(path.read_bytes())
    errors = [parser.get_error(at).desc() for at in range(parser.num_errors)]
    return {"calls": list(calls), "parsed": parsed, "errors": errors}


def main(paths: list[str]) -> None:
    calls: list[dict[str, Any]] = []
    creators = [Creator(operator, calls) for operator in OPERATORS.values()]
    for creator in creators:
        assert trt.get_plugin_registry().register_creator(creator, NAMESPACE)
    print(json.dumps({path: probe(Path(path), calls) for path in paths}))


if __name__ == "__main__":
    main(sys.argv[1:])
