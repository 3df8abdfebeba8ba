"""Samples that a user's function yields, and the ways in which such a function goes wrong."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest

from edgekit.data import batches, open_data
from edgekit.errors import DataError
from edgekit.specs import TensorSpec

SERIES = TensorSpec("x", "float32", ("batch", 2))


@pytest.fixture
def feed(tmp_path, monkeypatch):
    """Writes the body of a function `make` into a module `feed`; returns it as `path/feed.py:make`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "feed", None)

    def write(body):
        head = "import numpy as np\n\nONE = np.ones((1, 2), np.float32)\n\n\ndef make():\n"
        (tmp_path / "feed.py").write_text(head + textwrap.indent(body, "    "))
        return f"{tmp_path / 'feed.py'}:make"

    return write


def read(source, size=4, limit=99, inputs=(SERIES,)):
    return list(batches(open_data(source, inputs, None), inputs, size, limit))


COUNTED = """\
first = 0
for count in (1, 5, 2):
    yield {"x": np.arange(first, first + count, dtype=np.float32)[:, None].repeat(2, axis=1)}
    first += count
"""


def test_batches_of_any_size_are_cut_anew(feed):
    source = feed(COUNTED)
    data = open_data(source, (SERIES,), None)
    assert (data.what, data.count, data.labels, data.names) == (f"samples of {source}", None, None, ())
    found = list(batches(data, (SERIES,), 3, 7))
    assert [batch.index.tolist() for batch in found] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch.inputs["x"][:, 0].tolist() for batch in found] == [[0, 1, 2], [3, 4, 5], [6]]


def test_each_pass_calls_it_anew(feed):
    data = open_data(feed(COUNTED), (SERIES,), None)
    passes = [[len(batch) for batch in batches(data, (SERIES,), 8, 99)] for _ in range(2)]
    assert passes == [[8], [8]]


def test_a_module_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "feed_by_name.py").write_text("make = lambda: [{'x': [[1.0, 2.0]]}]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match=r"expected float32\[N, 2\], found float64\[1, 2\]"):
        read("feed_by_name:make")
    (found,) = read("feed_by_name:make", inputs=(TensorSpec("x", "float64", ("batch", 2)),))
    assert found.inputs["x"].tolist() == [[1, 2]]


def test_a_fixed_batch_fills_up_across_what_is_yielded(feed):
    found = read(feed(COUNTED), inputs=(TensorSpec("x", "float32", (3, 2)),))
    assert [batch.index.tolist() for batch in found] == [[0, 1, 2], [3, 4, 5]]


def test_an_endless_stream_ends_at_the_limit(feed):
    found = read(feed("while True:\n    yield {'x': ONE}"), size=4, limit=10)
    assert [len(batch) for batch in found] == [4, 4, 2]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_a_buffer_that_is_filled_again_does_no_harm(feed, size):
    """A camera's driver reuses its memory; samples that wait for a whole batch must not change."""
    body = """\
buffer = np.zeros((2, 2), np.float32)
for first in (0, 2, 4, 6):
    buffer[:] = first, first + 1
    yield {"x": buffer.T}
"""
    found = read(feed(body), size)
    assert np.concatenate([batch.inputs["x"][:, 0] for batch in found]).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise RuntimeError('no\\ncamera')\nyield", "to return, found RuntimeError: no camera"),
        ("yield {'x': ONE}\nraise KeyError('frame')", "to return, found KeyError: 'frame'"),
        ("yield {'x': ONE}\nraise SystemExit(3)", "to return, found SystemExit: 3"),
        ("import sys\nsys.exit('done')", "to return, found SystemExit: done"),
        ("return iter(StopIteration, 1).missing", "found AttributeError"),
        ("return 7", "to yield batches, found int"),
        ("return None", "to yield batches, found NoneType"),
        ("return {'x': ONE}", "to yield dicts of arrays, found str"),
        ("yield ONE", "to yield dicts of arrays, found ndarray"),
        ("yield {}", "to yield dicts of arrays, found dict"),
        ("yield {'x': ONE[:0]}", "samples along axis 0, found none in {'x': (0, 2)}"),
        ("yield {'x': 3.0}", "samples along axis 0, found none in {'x': ()}"),
        ("yield {'x': [[1, 2], [3]]}", "to return, found ValueError"),
        ("yield {'x': [object(), {}]}", "expected float32[N, 2], found object[2]"),
        ("yield {'x': ONE * np.float32(np.nan)}", "found NaN or Inf in sample 0"),
        ("yield {'x': ONE}\nyield {'y': ONE}", "no input 'y'; known are x"),
        ("yield {'x': ONE}\nyield {'x': ONE, 'y': ONE}", "no input 'y'"),
        ("return []", "expected at least one sample, found 0"),
        ("if False:\n    yield", "expected at least one sample, found 0"),
        ("class Torn:\n    def __iter__(self):\n        raise OSError('gone')\nreturn Torn()", "found OSError: gone"),
    ],
)
def test_a_function_that_goes_wrong(feed, body, says):
    source = feed(body)
    with pytest.raises(DataError) as error:
        read(source)
    assert says in str(error.value)
    assert source in str(error.value)
    assert "\n" not in str(error.value)


def test_inputs_of_unequal_counts(feed):
    source = feed("yield {'x': ONE.repeat(3, axis=0), 'gain': np.arange(2)}")
    with pytest.raises(DataError, match=r"same number of samples .* found \{'x': 3, 'gain': 2\}"):
        read(source, inputs=(SERIES, TensorSpec("gain", "int64", ("batch",))))


def test_too_few_for_a_fixed_batch(feed):
    with pytest.raises(DataError, match="at least 9 samples of one shape for a model with a batch of 9, found 8"):
        read(feed(COUNTED), inputs=(TensorSpec("x", "float32", (9, 2)),))


def test_an_interrupt_is_no_error_of_the_data(feed):
    with pytest.raises(KeyboardInterrupt):
        read(feed("yield {'x': ONE}\nraise KeyboardInterrupt"))
