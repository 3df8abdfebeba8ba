"""What is refused before it fills the memory or the stack."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgekit import texts
from edgekit.texts import DEEPEST, check_nesting, parse_json, read_json, read_text


def nested(depth: int, inner: str = "1") -> str:
    """Lists and tables by turns, `depth` of them in one another."""
    text = inner
    for level in range(depth):
        text = f"[{text}]" if level % 2 else '{"a": ' + text + ', "b": 0}'
    return text


def test_ordinary_values_come_as_they_are(tmp_path):
    value = {"a": [1, 2.5, None, True, "é \u2028"], "b": {"c": []}}
    (tmp_path / "a.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == value
    assert parse_json(json.dumps(value)) == parse_json(json.dumps(value).encode()) == value
    assert parse_json("[Infinity]") == [math.inf]


def test_nesting_ends_at_its_limit():
    assert parse_json(nested(DEEPEST)) == json.loads(nested(DEEPEST))
    for depth in (DEEPEST + 1, 500, 100_000):
        with pytest.raises(ValueError, match=f"more than {DEEPEST} deep"):
            parse_json("[" * depth + "]" * depth)
    with pytest.raises(ValueError, match="deep"):
        parse_json(nested(DEEPEST + 1))


def test_a_value_that_holds_itself_ends_too():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="deep"):
        check_nesting(loop)


@pytest.mark.parametrize("text", ["", "{", "[1,]", '"\\ud800"', '{"\\udfff": 1}', "[1] x", "9" * 5000])
def test_what_is_no_json(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_a_file_is_read_up_to_its_limit(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_bytes("aé".encode() + b"x")
    assert read_text(file, 4) == "aéx"
    with pytest.raises(ValueError, match="more than 3 bytes"):
        read_text(file, 3)
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        read_text(file, 4)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none", 4)
    monkeypatch.setattr(texts, "LARGEST_JSON", 3)
    file.write_text("[12]")
    with pytest.raises(ValueError, match="more than 3 bytes"):
        read_json(file)


def test_of_a_device_without_an_end_only_the_limit_is_read():
    with pytest.raises(ValueError, match="more than 65,536 bytes"):
        read_text(Path("/dev/zero"), 1 << 16)
