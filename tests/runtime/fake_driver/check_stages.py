"""The stages by events on the stream, on a clock that is played: each figure is known before."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import SessionError
from edgekit.runtime import Session
from edgekit.runtime.cuda import wait
from edgekit.runtime.trt_stages import stage_events
from tests.runtime.fake_driver import models
from tests.runtime.fake_driver.check_session import sums  # noqa: F401 (a fixture)
from tests.runtime.fake_driver.check_states import bind, by_hand, frames, recurrent, step
from tests.runtime.fake_driver.harness import PYCUDA, bind_tagger, feeds, oracle, outputs, tagger

IN_MS, CALL_MS, OUT_MS = 0.030, 0.500, 0.007


@pytest.fixture(autouse=True)
def clock(driver):
    driver.set(in_us=30, call_us=500, out_us=7)


@pytest.fixture
def backend(kind):
    made = tagger()
    bind_tagger(made, 2, 3)
    yield made
    made.close()


def stages(kind: str, copies_in: int, copies_out: int) -> tuple:
    """What so many copies and one engine take."""
    wanted = (copies_in * IN_MS, CALL_MS, copies_out * OUT_MS)
    return pytest.approx(wanted, abs=1e-6) if kind == "discrete" else (None, pytest.approx(CALL_MS), None)


def test_each_stage_is_what_lies_between_its_events(kind, backend):
    assert backend.stages.copied == (kind == "discrete")
    with backend.stages as events:
        for seed in range(6):
            outputs(backend, feeds(2, 3, seed), "y")
            assert events.times() == stages(kind, 2, 2)


def test_what_is_timed_is_no_graph_and_the_graph_goes_on_afterwards(kind, backend, driver):
    reference = oracle(*models.tagger())
    bind_tagger(reference, 2, 3)

    def run(count: int) -> None:
        for seed in range(count):
            given = feeds(2, 3, seed)
            np.testing.assert_array_equal(outputs(backend, given, "y"), outputs(reference, given, "y"))

    run(6)
    launches = driver.get("launches")
    assert launches == (0 if PYCUDA else 3)
    with backend.stages:
        run(4)
        assert driver.get("launches") == launches
    calls = driver.get("calls")
    run(2)
    assert (driver.get("launches"), driver.get("calls")) == (0 if PYCUDA else 5, calls + 2)


def test_the_times_are_those_of_the_last_inference_and_told_once(backend):
    with backend.stages as events:
        for _ in range(2):
            with pytest.raises(SessionError, match=r"^expected an inference whose stages were timed, found none since"):
                events.times()
            outputs(backend, feeds(2, 3), "y")
            events.times()
    outputs(backend, feeds(2, 3), "y")
    with pytest.raises(SessionError, match="found none since"):
        events.times()


def test_an_inference_that_runs_has_no_times_yet(backend, driver):
    with backend.stages as events:
        backend.enqueue()
        with pytest.raises(SessionError, match=r"^the GPU reported: cuEventElapsedTime failed: device not ready"):
            events.times()
        assert backend.synchronise(5.0)


def test_the_events_are_made_once(backend, driver):
    assert driver.get("events") == 1
    for _ in range(3):
        with backend.stages:
            outputs(backend, feeds(2, 3), "y")
            assert driver.get("events") == 5


def test_events_that_cannot_be_made_are_one_line_and_made_the_next_time(kind, backend, driver):
    driver.set(fail_call=3)
    with pytest.raises(SessionError, match=r"the GPU reported: cuEventCreate failed: out of memory"):
        backend.stages.__enter__()
    assert not backend.stages.on
    with backend.stages as events:
        outputs(backend, feeds(2, 3), "y")
        assert events.times() == stages(kind, 2, 2)
    assert driver.get("events") == 5


def test_an_engine_that_refuses_leaves_no_times(driver):
    backend = tagger(refuses_to_run=True)
    bind_tagger(backend, 2, 3)
    with backend.stages as events:
        with pytest.raises(SessionError, match="could not enqueue the inference"):
            backend.enqueue()
        with pytest.raises(SessionError, match="found none since"):
            events.times()
    backend.close()


def test_a_step_copies_no_states_and_what_runs_by_hand_copies_them_out(kind, driver):
    backend = recurrent()
    bind(backend, 2)
    xs = frames(4)
    with backend.stages as events:
        for x, y in zip(xs, by_hand(xs)[0], strict=True):
            np.testing.assert_array_equal(step(backend, x), y)
            assert events.times() == stages(kind, 1, 1)
        backend.input("c")[...] = 1  # which the next step copies in
        step(backend, xs[0])
        assert events.times() == stages(kind, 2, 1)
        backend.enqueue()
        assert backend.synchronise(5.0)
        assert events.times() == stages(kind, 1, 3)  # the device has the states; the host gets the next ones
    backend.close()


def test_a_device_that_fails_says_so_and_closing_is_quiet(backend, driver, capfd):
    with backend.stages as events:
        outputs(backend, feeds(2, 3), "y")
        driver.set(broken=1)
        with pytest.raises(SessionError, match=r"cuEventElapsedTime failed: an illegal memory access"):
            events.times()
        with pytest.raises(SessionError, match=r"cuEventRecord failed: an illegal memory access"):
            backend.enqueue()
    backend.close()
    assert capfd.readouterr().err == ""
    driver.allow("left_to_driver")


def test_it_closes_while_a_timed_inference_hangs(driver):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    driver.set(hang=1)
    events = backend.stages.__enter__()
    backend.enqueue()
    assert not wait(backend._device, 0.0)
    backend._late = True
    backend.close()
    with pytest.raises(SessionError, match="found none since"):
        events.times()
    assert driver.get("would_block") == 0
    driver.allow(*driver.left())


@pytest.mark.parametrize("flavour", ["trt", "rtx"])
def test_a_session_on_a_device_has_them(kind, sums, flavour):  # noqa: F811
    with Session.open(sums, flavour) as session, stage_events(session) as events:
        session.execute()
        assert events.times() == stages(kind, 2, 2)
        session.step(np.ones((1, 1, 2), np.float32))
        assert events.times() == stages(kind, 1, 1)
    with pytest.raises(SessionError, match="expected an open session, found it closed"):
        stage_events(session)
    with pytest.raises(SessionError, match="found none since"):
        events.times()


def test_a_session_on_the_host_has_none(sums):  # noqa: F811
    with Session.open(sums, "ort") as session:
        assert stage_events(session) is None


def test_what_takes_over_has_no_times_of_the_one_that_failed(sums, driver):  # noqa: F811
    with Session.open(sums, "trt", on_failure="ort") as session:
        with stage_events(session) as events:
            session.execute()
            driver.set(break_in=1)
            session.execute()
            assert session.backend == "ort"
            with pytest.raises(SessionError, match=r"found none since|illegal memory access"):
                events.times()
        assert stage_events(session) is None
    driver.allow("left_to_driver")
