"""The scale table as a file: exact there and back, reviewable, and one line of refusal for whatever is not one."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("onnx")

from edgekit.errors import DataError
from edgekit.quantize.choice import Choice
from edgekit.quantize.histogram import BINS, Histogram
from edgekit.quantize.observers import Channels, Observer, Seen, Statistics
from edgekit.quantize.ranges import range_of
from edgekit.quantize.table import ScaleTable, read_table
from tests.quantize.digit_cnn import AXES, as_onnx, digits

MODEL = hashlib.sha256(b"model").hexdigest()


def table_of(statistics: Statistics, **changes) -> ScaleTable:
    table = ScaleTable(
        model_sha256=MODEL,
        data_sha256=hashlib.sha256(b"data").hexdigest(),
        data="12 of 48 samples of ziffern-ö.npz",
        samples=12,
        batch=4,
        held_every=4,
        held=3,
        complete=True,
        statistics=statistics,
        choice=Choice(ranges="mse", weights="gptq", alpha=0.85, bias=True),
        ranges={"image": 1.0, "a": 0.1},
        kept=("second",),
        warnings=("input 'image' is 0 in every sample",),
    )
    return replace(table, **changes)


@pytest.fixture(scope="module")
def seen() -> Statistics:
    """Of a real network."""
    return Observer(as_onnx(), AXES, ["c", "logits"]).see({"image": digits()[0][:48]})[0]


def read(text: str | bytes, folder: Path, model: str = MODEL) -> ScaleTable:
    path = folder / "t.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, model)


def same(found: ScaleTable, wanted: ScaleTable) -> None:
    """To the last digit."""
    assert replace(found, statistics=Statistics()) == replace(wanted, statistics=Statistics())
    assert found.statistics.tensors.keys() == wanted.statistics.tensors.keys()
    for name, item in wanted.statistics.tensors.items():
        other = found.statistics.tensors[name]
        assert other.largest == item.largest
        assert (other.histogram is None) == (item.histogram is None)
        assert (other.channels is None) == (item.channels is None)
        if item.histogram is not None:
            assert other.histogram.exponent == item.histogram.exponent
            np.testing.assert_array_equal(other.histogram.counts, item.histogram.counts)
        if item.channels is not None:
            assert (other.channels.axis, other.channels.count) == (item.channels.axis, item.channels.count)
            for field in ("low", "high", "total", "squares"):
                one, two = getattr(other.channels, field), getattr(item.channels, field)
                assert one.dtype == two.dtype
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("changes", [{}, {"choice": None, "ranges": {}, "kept": (), "complete": False}])
def test_a_table_comes_back_exactly(seen, tmp_path, changes):
    table = table_of(seen, **changes)
    found = read(table.to_bytes(), tmp_path)
    same(found, table)
    assert found.to_bytes() == table.to_bytes()


FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
ENDS = arrays.arrays(np.float32, (2, 3), elements=FLOATS).map(lambda ends: np.sort(ends, axis=0))
SUMS = arrays.arrays(np.float64, 3, elements=st.floats(allow_nan=False, allow_infinity=False))


@given(
    ENDS,
    SUMS,
    SUMS,
    st.lists(st.integers(0, 1 << 40), max_size=BINS),
    st.integers(-116, 128),
    st.sampled_from([-1, 1]),
    st.text(max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_any_numbers_come_back_exactly(tmp_path_factory, ends, total, squares, counts, exponent, axis, name):
    histogram = Histogram(exponent, np.pad(np.array(counts, np.int64), (0, BINS - len(counts))))
    channels = Channels(axis, *ends, total, np.abs(squares), 7)
    table = table_of(Statistics({name: Seen(float(np.abs(ends).max()), histogram, channels), "other": Seen(0.0)}))
    found = read(table.to_bytes(), tmp_path_factory.getbasetemp())
    same(found, table)
    assert found.to_bytes() == table.to_bytes()


def test_a_table_is_made_to_be_read_and_compared(seen):
    text = table_of(seen).to_bytes().decode()
    plain = json.loads(text)
    assert text == json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert plain["model_sha256"] == MODEL
    row = plain["tensors"]["a"]
    images = digits()[0][:48]
    assert plain["tensors"]["image"]["largest"] == float(images.max())
    assert len(row["channel_low"].split()) == len(row["channel_squares"].split()) == 8
    assert sum(map(int, row["counts"].split())) == 48 * 8 * 64
    assert plain["tensors"]["c"].keys() == {"largest"}, "of the others no more was seen"
    lines = text.splitlines()
    assert len(lines) < 100, "a row of numbers is one line"
    assert max(map(len, lines)) < 20_000


def test_another_model_is_refused(seen, tmp_path):
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(DataError, match="to be of this model") as caught:
        read(table_of(seen).to_bytes(), tmp_path, other)
    assert MODEL[:12] in str(caught.value)
    assert other[:12] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_table(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        read_table(tmp_path / "none.json", MODEL)
    with pytest.raises(DataError, match="expected a scale table in"):
        read_table(tmp_path, MODEL)
    for text in ("", "{}", "[]", "7", '"text"', "null", "{", "\x00", "[" * 100_000, '{"format": 2}', b"\xff\xfe{}"):
        with pytest.raises(DataError, match="expected a scale table in") as caught:
            read(text, tmp_path)
        assert "\n" not in str(caught.value)


BIG = 10**400
WRONG = [
    (("format",), 1),
    (("format",), None),
    (("samples",), -1),
    (("samples",), 0),
    (("samples",), 1.5),
    (("samples",), True),
    (("samples",), BIG),
    (("batch",), 0),
    (("batch",), "4"),
    (("held_every",), 1),
    (("held_every",), -2),
    (("held",), -1),
    (("complete",), "false"),
    (("complete",), None),
    (("tensors",), []),
    (("tensors", "a"), None),
    (("tensors", "a", "largest"), "nan"),
    (("tensors", "a", "largest"), float("nan")),
    (("tensors", "a", "largest"), float("inf")),
    (("tensors", "a", "largest"), -1),
    (("tensors", "a", "largest"), 1e300),
    (("tensors", "a", "largest"), None),
    (("tensors", "a", "largest"), BIG),
    (("tensors", "a", "exponent"), 10**9),
    (("tensors", "a", "exponent"), 129),
    (("tensors", "a", "exponent"), -117),
    (("tensors", "a", "exponent"), 0.5),
    (("tensors", "a", "counts"), "1 -2 3"),
    (("tensors", "a", "counts"), "1 2.5"),
    (("tensors", "a", "counts"), "1 two"),
    (("tensors", "a", "counts"), "1 " * (BINS + 1)),
    (("tensors", "a", "counts"), str(BIG)),
    (("tensors", "a", "counts"), f"{2**62} {2**62}"),
    (("tensors", "a", "counts"), [1, 2]),
    (("tensors", "a", "axis"), 7),
    (("tensors", "a", "count"), -1),
    (("tensors", "a", "channel_low"), "0 0"),
    (("tensors", "a", "channel_low"), "9e9 " * 8),
    (("tensors", "a", "channel_high"), "nan " * 8),
    (("tensors", "a", "channel_high"), "1e300 " * 8),
    (("tensors", "a", "channel_high"), None),
    (("tensors", "a", "channel_total"), "inf " * 8),
    (("tensors", "a", "channel_total"), "0 " * 9),
    (("tensors", "a", "channel_squares"), "-1 " * 8),
    (("choice",), []),
    (("choice",), "mse"),
    (("choice", "ranges"), "entropy"),
    (("choice", "ranges"), None),
    (("choice", "weights"), 3),
    (("choice", "alpha"), "0.5"),
    (("choice", "alpha"), 7),
    (("choice", "alpha"), float("nan")),
    (("choice", "bias"), 1),
    (("choice", "unheard_of"), 1),
    (("ranges",), []),
    (("ranges", "a"), -1),
    (("ranges", "a"), float("nan")),
    (("kept",), "second"),
    (("kept",), [1]),
    (("warnings",), {"a": "b"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_a_damaged_table_is_refused_in_one_line(seen, tmp_path, path, value):
    plain = json.loads(table_of(seen).to_bytes())
    place = plain
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DataError, match=r"expected a scale table in .*t\.json") as caught:
        read(json.dumps(plain), tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "key", ["model_sha256", "samples", "batch", "held_every", "held", "tensors", "choice", "ranges"]
)
def test_what_is_missing_is_named(seen, tmp_path, key):
    plain = json.loads(table_of(seen).to_bytes())
    del plain[key]
    with pytest.raises(DataError, match=f"found no '{key}' in it"):
        read(json.dumps(plain), tmp_path)


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, deadline=None)
def test_a_table_cut_short_is_refused(seen, tmp_path_factory, share):
    whole = table_of(Statistics({"image": seen.tensors["image"]})).to_bytes()
    with pytest.raises(DataError):
        read(whole[: int(share * (len(whole) - 2))], tmp_path_factory.getbasetemp())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1 2 3", "nan nan", "-1", "1e999", "max", "mse", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(plain: object, path: tuple = ()) -> list[tuple]:
    """The paths of all values inside."""
    found = [path] if path else []
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


@given(st.data(), st.integers(1, 3))
@settings(deadline=None)
def test_whatever_is_changed_is_read_or_refused(tmp_path_factory, data, changes):
    """And what is read can be used: no range of it is without sense."""
    channels = Channels(1, *np.array([[-1, 0], [1, 2]], np.float32), np.ones(2), np.ones(2), 7)
    whole = Statistics({"x": Seen(2.0, Histogram(2, np.arange(BINS)), channels), "y": Seen(1.0)})
    plain = copy.deepcopy(json.loads(table_of(whole).to_bytes()))
    for _ in range(changes):
        *outer, last = data.draw(st.sampled_from(places(plain)))
        place = plain
        for key in outer:
            place = place[key]
        if isinstance(place, dict) and data.draw(st.booleans()):
            del place[last]
        else:
            place[last] = data.draw(JSON)
        if not places(plain):
            break
    folder = tmp_path_factory.getbasetemp()
    try:
        table = read(json.dumps(plain), folder)
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert read(table.to_bytes(), folder).to_bytes() == table.to_bytes()
    for seen in table.statistics.tensors.values():
        for method in ("max", "mse", "percentile"):
            assert 0 <= range_of(method, seen.largest, seen.histogram) <= seen.largest
    assert table.choice is None or isinstance(hash(table.choice), int)
