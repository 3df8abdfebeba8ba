"""Steps with a carried state: the oracle is the sum by hand, and onnxruntime's own `run` with the state handed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402

from edgekit.errors import IntegrityError, RecipeError, SessionError, ShapeError  # noqa: E402
from edgekit.runtime import Session  # noqa: E402
from edgekit.specs import Stream  # noqa: E402
from tests.runtime.small_streams import FLOAT, INT64, bundle_of, made, running_sum, value  # noqa: E402

RANGES = {"batch": (1, 1, 4), "time": (1, 1, 8)}
SUMS = Stream(("total=total_out",))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return bundle_of(running_sum(), tmp_path_factory.mktemp("sums"), SUMS, RANGES)


def series(steps: int, batch: int = 1) -> np.ndarray:
    return np.arange(batch * steps * 2, dtype=np.float32).reshape(batch, steps, 2)


def by_hand(x: np.ndarray) -> np.ndarray:
    return np.cumsum(x.astype(np.float64), axis=1) + 10 * x


@pytest.mark.parametrize(("batch", "chunk"), [(1, 1), (1, 3), (3, 1), (4, 8)])
def test_a_stream_in_steps_is_the_whole(bundle, batch, chunk):
    x = series(24, batch)
    with Session.open(bundle) as session:
        parts = [session.step(x[:, at : at + chunk])["y"].copy() for at in range(0, 24, chunk)]
        np.testing.assert_array_equal(np.concatenate(parts, 1), by_hand(x))
        np.testing.assert_array_equal(session.state()["total"], x.sum(1))


def test_chunks_of_other_lengths_go_on_with_the_same_state(bundle):
    x = series(16)
    with Session.open(bundle) as session:
        parts = [session.step(part)["y"].copy() for part in np.split(x, [1, 4, 5, 12], axis=1)]
        np.testing.assert_array_equal(np.concatenate(parts, 1), by_hand(x))


def test_another_batch_begins_anew(bundle):
    with Session.open(bundle) as session:
        session.step(series(2))
        found = session.step(series(2, 2))["y"]
        np.testing.assert_array_equal(found, by_hand(series(2, 2)))


def test_reset_begins_anew_and_so_does_a_step_after_a_run(bundle):
    x = series(3) + 1
    with Session.open(bundle) as session:
        first = session.step(x)["y"].copy()
        assert not np.array_equal(session.step(x)["y"], first)
        session.reset()
        np.testing.assert_array_equal(session.step(x)["y"], first)
        given = session.run({"x": x, "total": np.full((1, 2), 5, np.float32)})
        np.testing.assert_array_equal(given["y"], first + 5)
        np.testing.assert_array_equal(given["total_out"], x.sum(1) + 5)
        np.testing.assert_array_equal(session.step(x)["y"], first)


def test_a_stream_may_begin_with_a_state_of_its_own(bundle):
    x = series(2)
    with Session.open(bundle) as session:
        session.step(x)
        session.reset({"total": np.array([[5, 7]], np.float32)})
        np.testing.assert_array_equal(session.step(x)["y"], by_hand(x) + np.array([5, 7]))
        for states, says in (({"x": x}, "expected one of total"), ({"total": x}, "total: expected float32[batch, 2]")):
            with pytest.raises(ShapeError) as error:
                session.reset(states)
            assert says in str(error.value)
        session.reset({"total": np.array([[1, 2], [3, 4], [5, 6]], np.float32)})
        wide = series(2, 3)
        wanted = by_hand(wide) + np.array([[1, 2], [3, 4], [5, 6]])[:, None]
        np.testing.assert_array_equal(session.step(wide)["y"], wanted)
        with pytest.raises(ShapeError, match=r"expected batch in 1\.\.4"):
            session.reset({"total": np.zeros((5, 2), np.float32)})


def test_what_runs_alone_after_a_stream_starts_from_zero(bundle):
    x = series(3) + 1
    with Session.open(bundle) as session:
        session.step(x)
        session.input("x")[...] = x
        session.execute()
        np.testing.assert_array_equal(session.output("y"), by_hand(x))
        np.testing.assert_array_equal(session.output("total_out"), x.sum(1))


def test_an_input_may_be_written_in_place_and_the_batch_axis_left_away(bundle):
    x = series(2)
    with Session.open(bundle) as session:
        session.set_shape("x", (1, 2, 2))
        session.input("x")[...] = x
        np.testing.assert_array_equal(session.step()["y"], by_hand(x))
        session.reset()
        np.testing.assert_array_equal(session.step(x[0])["y"], by_hand(x))


def test_views_are_the_same_arrays_step_after_step(bundle):
    with Session.open(bundle) as session:
        first = session.step(series(1))
        kept = first["y"]
        assert session.step(series(1))["y"] is kept
        assert session.metrics()["steps"] == 2


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        (np.zeros((1, 1, 3), np.float32), "x: expected float32[batch, time, 2], found float32[1, 1, 3]"),
        (np.zeros(2, np.float32), "expected float32[batch, time, 2], found float32[2]"),
        (np.zeros((1, 9, 2), np.float32), "expected time in 1..8"),
        (np.zeros((1, 1, 2)), "next: array.astype('float32')"),
        ({}, "found none for x"),
        ({"x": series(1), "total": np.zeros((1, 2), np.float32)}, "expected one of x, found 'total'"),
    ],
)
def test_what_does_not_fit_is_said(bundle, feeds, says):
    with Session.open(bundle) as session, pytest.raises(ShapeError) as error:
        session.step(feeds)
    assert says in str(error.value)


def test_the_output_of_a_state_is_not_read_while_it_is_carried(bundle):
    with Session.open(bundle) as session:
        session.execute()
        session.output("total_out")
        session.step(series(1))
        with pytest.raises(SessionError, match=r"next: session\.state\(\)"):
            session.output("total_out")


def test_a_bundle_without_states_has_no_steps(small_bundle):
    with Session.open(small_bundle) as session:
        for call in (lambda: session.step(series(1)), session.reset, session.state):
            with pytest.raises(SessionError, match="expected a bundle with states"):
                call()


@pytest.mark.parametrize(
    ("states", "says"),
    [
        (("totl=total_out",), "did you mean 'total'?"),
        (("total=y",), "expected y as total"),
        (("x=total_out",), "expected total_out as x"),
    ],
)
def test_states_that_the_model_does_not_have_are_refused(tmp_path, states, says):
    made = bundle_of(running_sum(), tmp_path, Stream(states), RANGES)
    with pytest.raises(IntegrityError) as error:
        Session.open(made)
    assert says in str(error.value)


@pytest.mark.parametrize("states", [(), ("h",), ("h=",), ("a=b", "a=c"), ("a=c", "b=c"), ("a=b=c",)])
def test_a_stream_names_each_state_once(states):
    with pytest.raises(RecipeError, match=r"stream\.states"):
        Stream(states)


def test_an_answer_whose_length_only_the_step_tells_is_that_of_the_step(tmp_path):
    node = helper.make_node
    model = made(
        [node("NonZero", ["x"], ["where"]), node("Add", ["total", "x"], ["total_out"])],
        [value("x", FLOAT, 1, 4), value("total", FLOAT, 1, 4)],
        [value("where", INT64, 2, "count"), value("total_out", FLOAT, 1, 4)],
        {},
    )
    with Session.open(bundle_of(model, tmp_path, Stream(("total=total_out",)), {})) as session:
        with pytest.raises(SessionError, match="expected a run before where is read, found none"):
            session.output("where")
        for count in (1, 2, 4, 3, 1):
            x = (np.arange(4) < count).astype(np.float32)[None]
            np.testing.assert_array_equal(session.step(x)["where"], np.nonzero(x))
