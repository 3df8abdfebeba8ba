"""The messages of an ONNX file: which fields each has, and what may stand in them.

Source: https://github.com/onnx/onnx, onnx/onnx.proto, IR version 14. A field that is not listed, such as one of a later
version, is passed over: whoever reads the file does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.bundle.wire import I32, I64, LEN, VARINT


@dataclass(frozen=True)
class Rule:
    """The wire types in which a field may come, whether it may come again, and the message that is in it, if any."""

    wires: tuple[int, ...]
    repeated: bool = False
    message: str = ""


_NUMBER, _NUMBERS = Rule((VARINT,)), Rule((VARINT, LEN), True)
_FLOAT, _FLOATS, _DOUBLES = Rule((I32,)), Rule((I32, LEN), True), Rule((I64, LEN), True)
_BYTES, _MANY_BYTES = Rule((LEN,)), Rule((LEN,), True)


def _one(message: str) -> Rule:
    return Rule((LEN,), False, message)


def _many(message: str) -> Rule:
    return Rule((LEN,), True, message)


_PROPERTIES = _many("StringStringEntryProto")
_ELEMENT_AND_SHAPE = {1: _NUMBER, 2: _one("TensorShapeProto")}

MESSAGES: dict[str, dict[int, Rule]] = {
    "ModelProto": {
        **{1: _NUMBER, 2: _BYTES, 3: _BYTES, 4: _BYTES, 5: _NUMBER, 6: _BYTES, 7: _one("GraphProto")},
        **{8: _many("OperatorSetIdProto"), 14: _PROPERTIES, 20: _many("TrainingInfoProto")},
        **{25: _many("FunctionProto"), 26: _many("DeviceConfigurationProto")},
    },
    "GraphProto": {
        **{1: _many("NodeProto"), 2: _BYTES, 5: _many("TensorProto"), 10: _BYTES, 11: _many("ValueInfoProto")},
        **{12: _many("ValueInfoProto"), 13: _many("ValueInfoProto"), 14: _many("TensorAnnotation")},
        **{15: _many("SparseTensorProto"), 16: _PROPERTIES},
    },
    "NodeProto": {
        **{1: _MANY_BYTES, 2: _MANY_BYTES, 3: _BYTES, 4: _BYTES, 5: _many("AttributeProto"), 6: _BYTES, 7: _BYTES},
        **{8: _BYTES, 9: _PROPERTIES, 10: _many("NodeDeviceConfigurationProto")},
    },
    "AttributeProto": {
        **{1: _BYTES, 2: _FLOAT, 3: _NUMBER, 4: _BYTES, 5: _one("TensorProto"), 6: _one("GraphProto")},
        **{7: _FLOATS, 8: _NUMBERS, 9: _MANY_BYTES, 10: _many("TensorProto"), 11: _many("GraphProto"), 13: _BYTES},
        **{14: _one("TypeProto"), 15: _many("TypeProto"), 20: _NUMBER, 21: _BYTES},
        **{22: _one("SparseTensorProto"), 23: _many("SparseTensorProto")},
    },
    "TensorProto": {
        **{1: _NUMBERS, 2: _NUMBER, 3: _one("Segment"), 4: _FLOATS, 5: _NUMBERS, 6: _MANY_BYTES, 7: _NUMBERS},
        **{8: _BYTES, 9: _BYTES, 10: _DOUBLES, 11: _NUMBERS, 12: _BYTES, 13: _PROPERTIES, 14: _NUMBER},
        **{16: _PROPERTIES},
    },
    "SparseTensorProto": {1: _one("TensorProto"), 2: _one("TensorProto"), 3: _NUMBERS},
    "FunctionProto": {
        **{1: _BYTES, 4: _MANY_BYTES, 5: _MANY_BYTES, 6: _MANY_BYTES, 7: _many("NodeProto"), 8: _BYTES},
        **{9: _many("OperatorSetIdProto"), 10: _BYTES, 11: _many("AttributeProto"), 12: _many("ValueInfoProto")},
        **{13: _BYTES, 14: _PROPERTIES},
    },
    "TrainingInfoProto": {1: _one("GraphProto"), 2: _one("GraphProto"), 3: _PROPERTIES, 4: _PROPERTIES},
    "ValueInfoProto": {1: _BYTES, 2: _one("TypeProto"), 3: _BYTES, 4: _PROPERTIES},
    "TypeProto": {
        **{1: _one("Tensor"), 4: _one("Sequence"), 5: _one("Map"), 6: _BYTES, 7: _one("Opaque")},
        **{8: _one("SparseTensor"), 9: _one("Optional")},
    },
    "Tensor": _ELEMENT_AND_SHAPE,
    "SparseTensor": _ELEMENT_AND_SHAPE,
    "Sequence": {1: _one("TypeProto")},
    "Optional": {1: _one("TypeProto")},
    "Map": {1: _NUMBER, 2: _one("TypeProto")},
    "Opaque": {1: _BYTES, 2: _BYTES},
    "TensorShapeProto": {1: _many("Dimension")},
    "Dimension": {1: _NUMBER, 2: _BYTES, 3: _BYTES},
    "OperatorSetIdProto": {1: _BYTES, 2: _NUMBER},
    "StringStringEntryProto": {1: _BYTES, 2: _BYTES},
    "TensorAnnotation": {1: _BYTES, 2: _PROPERTIES},
    "Segment": {1: _NUMBER, 2: _NUMBER},
    "DeviceConfigurationProto": {1: _BYTES, 2: _NUMBER, 3: _MANY_BYTES},
    "NodeDeviceConfigurationProto": {1: _BYTES, 2: _many("ShardingSpecProto"), 3: _NUMBER},
    "ShardingSpecProto": {
        **{1: _BYTES, 2: _NUMBERS, 3: _many("IntIntListEntryProto"), 4: _many("ShardedDimProto")},
    },
    "ShardedDimProto": {1: _NUMBER, 2: _many("SimpleShardedDimProto")},
    "SimpleShardedDimProto": {1: _NUMBER, 2: _BYTES, 3: _NUMBER},
    "IntIntListEntryProto": {1: _NUMBER, 2: _NUMBERS},
}
