"""JSON with one meaning."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle import strict_json
from edgekit.bundle.strict_json import parse_json
from edgekit.errors import IntegrityError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)  # fmt: skip


@given(VALUES, st.booleans())
def test_what_json_writes_is_read_as_it_was(value, ascii_only):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode(), "a.json") == value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"{} {}", "Extra data"),
        (b"{'a': 1}", "Expecting property name"),
        (b"[1,]", "Expecting value|Illegal trailing comma"),
        (b'{"a": 1, "a": 1}', "a key twice"),
        (b'[{"a": {"b": 1, "c": 2, "b": 3}}]', "a key twice"),
        (b'{"a": 1, "\\u0061": 1}', "a key twice"),
        (b"NaN", "the constant NaN"),
        (b"[Infinity]", "the constant Infinity"),
        (b"[-Infinity]", "the constant -Infinity"),
        (b"1e999", "a number that is not finite"),
        (b"[-1e400]", "a number that is not finite"),
        (b"9223372036854775808", "an integer of more than 64 bits"),
        (b"-9223372036854775809", "an integer of more than 64 bits"),
        (b"1" * 5000, "an integer of more than 64 bits"),
        (b"[" * 100_000, "RecursionError"),
        (b'{"a":' * 100_000, "RecursionError"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        ('{"a": 1}'.encode("utf-16"), "characters that are none"),
        ('{"a": 1}'.encode("utf-32"), "Expecting|characters that are none"),
        ('"\u00e9"'.encode("latin-1"), "characters that are none"),
        (b'"\xc0\x80"', "characters that are none"),
        (b'"\\ud800"', "half of one"),
        (b'{"\\udfff": 1}', "half of one"),
        (b'"\x00"', "Invalid control character"),
    ],
)
def test_what_readers_differ_about_is_refused_in_one_line(data, says):
    with pytest.raises(IntegrityError, match=rf"expected a\.json as strict JSON, found .*({says})") as caught:
        parse_json(data, "a.json")
    assert "\n" not in str(caught.value)


def test_a_large_text_is_not_parsed(monkeypatch):
    monkeypatch.setattr(strict_json, "LARGEST_JSON", 10)
    assert parse_json(b'"12345678"', "a.json") == "12345678"
    with pytest.raises(IntegrityError, match="below 10 bytes, found 11"):
        parse_json(b'"123456789"', "a.json")
