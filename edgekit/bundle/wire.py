"""The wire format of protobuf, field by field: where each one lies, without a copy of what is in it.

Source: https://protobuf.dev/programming-guides/encoding. Groups are refused: no ONNX file has any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from edgekit.bundle.window import Window

VARINT, I64, LEN, I32 = 0, 1, 2, 5
_FIXED = {I64: 8, I32: 4}
_LONGEST_TAG, _LONGEST_VARINT = 5, 10  # bytes
_LARGEST_FIELD = (1 << 29) - 1

# Number, wire type, value or the position of the first byte of its content, the position behind the field.
Field: TypeAlias = tuple[int, int, int, int]


class Malformed(ValueError):
    """What was found in the place of a message, in words."""


def fields(window: Window, start: int, end: int) -> Iterator[Field]:
    """The fields of the message from `start` to `end`, in the file's order. Raises Malformed."""
    position = start
    while position < end:
        data, first = window.around(position)
        try:
            tag, index = varint(data, position - first, _LONGEST_TAG)
            wire = tag & 7
            value = begin = first + index
            if wire == VARINT:
                value, index = varint(data, index, _LONGEST_VARINT)
                stop = first + index
            elif wire == LEN:
                length, index = varint(data, index, _LONGEST_TAG)
                value = first + index
                stop = value + length
            elif wire in _FIXED:
                stop = begin + _FIXED[wire]
            else:
                raise Malformed(f"a field of wire type {wire}")
        except IndexError:
            raise Malformed("a message that is cut short") from None
        if stop > end:
            raise Malformed(f"a field that ends {stop - end} bytes behind its message")
        if not 0 < tag >> 3 <= _LARGEST_FIELD:
            raise Malformed(f"the field number {tag >> 3}")
        yield tag >> 3, wire, value, stop
        position = stop


def varint(data: bytes, index: int, longest: int) -> tuple[int, int]:
    """The number at `index`, and the index behind it; Malformed for more than `longest` bytes or 64 bits."""
    value = data[index]
    if value < 128:
        return value, index + 1
    value &= 127
    for count in range(1, longest):
        byte = data[index + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            if value >> 64:
                raise Malformed("a number of more than 64 bits")
            return value, index + count + 1
    raise Malformed(f"a number of more than {longest} bytes")


def numbers(window: Window, start: int, end: int, most: int) -> list[int]:
    """The varints of a packed field; Malformed for more than `most` of them."""
    data, index = window.read(start, min(end - start, _LONGEST_VARINT * most + 1)), 0
    found: list[int] = []
    while index < len(data):
        if len(found) == most:
            raise Malformed(f"more than {most} numbers")
        try:
            value, index = varint(data, index, _LONGEST_VARINT)
        except IndexError:
            raise Malformed("a message that is cut short") from None
        found.append(value)
    return found
