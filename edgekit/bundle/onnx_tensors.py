"""A tensor of an ONNX file is as large as its dimensions say, and all of it is in the file."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgekit.bundle.window import Window
from edgekit.bundle.wire import LEN, Field, Malformed, numbers

_MOST_DIMS = 32
# A sparse tensor claims any shape with a few bytes, and its reader writes out the zeros.
_MOST_DENSE = 1 << 28
_INT64 = 1 << 63
_DIMS, _DATA_TYPE, _STRINGS, _RAW, _EXTERNAL, _LOCATION = 1, 2, 6, 9, 13, 14
_FLOATS, _DOUBLES, _VARINTS = 4, 10, (5, 7, 11)
_PAYLOADS = (_FLOATS, *_VARINTS, _STRINGS, _RAW, _DOUBLES)
_STRING = 8
# TensorProto.DataType to the bits of an element; another type's bytes are only held below eight an element.
BITS = {
    **{1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16},
    **{17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2},
}


def check_tensor(window: Window, found: Iterable[Field]) -> None:
    """Raise Malformed for a TensorProto of these fields that has its data elsewhere, or more or less than it says."""
    dims: list[int] = []
    data_type = 0
    # Of each field of data: its bytes, and how many times it comes.
    payloads: dict[int, tuple[int, int]] = {}
    for number, wire, value, stop in found:
        if number == _DIMS:
            dims += numbers(window, value, stop, _MOST_DIMS) if wire == LEN else [value]
        elif number == _DATA_TYPE:
            data_type = value
        elif number == _EXTERNAL or (number == _LOCATION and value != 0):
            raise Malformed("a tensor whose data are in another file")
        elif number in _PAYLOADS:
            size, count = payloads.get(number, (0, 0))
            width = stop - value if wire == LEN else _WIDTHS.get(number, 1)
            payloads[number] = (size + width, count + 1)
    elements = _elements(dims)
    if len(payloads) > 1:
        raise Malformed("a tensor with its data in two forms")
    for number, (size, count) in payloads.items():
        if not _fits(number, size, count, elements, data_type):
            raise Malformed(f"a tensor of {elements} elements, type {data_type}, in {size} bytes")
    if not payloads and elements:
        raise Malformed(f"a tensor of {elements} elements without data")


def check_sparse(window: Window, found: Iterable[Field]) -> None:
    """Raise Malformed for a SparseTensorProto of these fields that would be too large when it is written out."""
    dims: list[int] = []
    for number, wire, value, stop in found:
        if number == 3:
            dims += numbers(window, value, stop, _MOST_DIMS) if wire == LEN else [value]
    if (elements := _elements(dims)) > _MOST_DENSE:
        raise Malformed(f"a sparse tensor of {elements} elements")


_WIDTHS = {_FLOATS: 4, _DOUBLES: 8}  # bytes of a number that is not packed; of a varint at least one


def _elements(dims: list[int]) -> int:
    if len(dims) > _MOST_DIMS:
        raise Malformed(f"a tensor of more than {_MOST_DIMS} dimensions")
    if any(dim >= _INT64 for dim in dims):
        raise Malformed("a tensor with a negative dimension")
    return math.prod(dims)


def _fits(number: int, size: int, count: int, elements: int, data_type: int) -> bool:
    """Whether `size` bytes of a field of data, which came `count` times, are those of so many elements."""
    if number == _STRINGS:
        return data_type == _STRING and count == elements
    bits = BITS.get(data_type)
    if data_type == _STRING:
        return False
    if bits is None:
        return elements <= 8 * size
    if number == _RAW:
        return size == (elements * bits + 7) // 8
    if number in _WIDTHS:
        width = _WIDTHS[number]
        # A complex number is two of the field's.
        return size == width * elements * max(1, bits // (8 * width))
    # Varints, of one to ten bytes each; four-bit elements come two in one, those of two bits four in one.
    entries = -(-elements // max(1, 8 // bits))
    return entries <= size <= 10 * entries
