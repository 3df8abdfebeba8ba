"""What a session does when its backend fails or hangs, or is called out of turn."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edgekit.bundle import verify
from edgekit.errors import SessionError, ShapeError
from edgekit.runtime import Session
from edgekit.runtime.choice import Choice
from edgekit.runtime.opening import Opened
from tests.runtime.fakes import Doubler, Failing, Hanging
from tests.threads import elsewhere

IMAGE = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def opened(bundle, backend, fallback=None) -> Session:
    return Session(Opened(verify(bundle), Choice("fake", None, "a test"), backend, fallback))


def refused_elsewhere(call) -> None:
    """In another thread than that of the session."""
    with pytest.raises(SessionError) as error:
        elsewhere(call)
    assert error.value.problem == "expected calls from the thread that opened the session, found another thread"


def test_a_backend_is_faked_in_a_few_lines(small_bundle):
    with opened(small_bundle, Doubler()) as session:
        found = session.run({"image": IMAGE})["logits"]
        np.testing.assert_array_equal(found, 2 * IMAGE.reshape(2, -1)[:, :5])
        assert (session.backend, session.device) == ("fake", "nowhere")


@pytest.mark.parametrize("waiting", [False, True])
def test_a_failure_is_the_callers_unless_another_takes_over(small_bundle, waiting):
    with opened(small_bundle, Failing(1, waiting=waiting)) as session:
        session.execute()
        for _ in range(2):
            with pytest.raises(SessionError, match="an illegal address"):
                session.execute()
        health = session.health()
        assert (health["runs"], health["errors"], health["state"], health["degraded"]) == (1, 2, "ready", "")
        assert health["last_error"] == "the GPU reported: an illegal address"


@pytest.mark.parametrize("waiting", [False, True])
def test_another_takes_over_with_the_same_shapes_and_inputs(small_bundle, waiting):
    first, second = Failing(1, waiting=waiting), Doubler()
    session = opened(small_bundle, first, lambda: second)
    session.run({"image": IMAGE})
    view = session.input("image")
    view[...] = IMAGE + 1
    session.execute()
    np.testing.assert_array_equal(session.output("logits"), 2 * (IMAGE + 1).reshape(2, -1)[:, :5])
    assert session.input("image") is not view
    health = session.health()
    assert (health["backend"], health["state"], health["errors"]) == ("fake", "degraded", 1)
    assert health["degraded"] == "failing failed: the GPU reported: an illegal address; fake took over"
    assert session.metrics()["degradations"] == 1
    assert first.closed == 0, "an app may still hold a view of its memory"
    session.close()
    session.close()
    assert (first.closed, second.closed) == (1, 1)


def test_memory_that_is_short_for_a_larger_shape_is_a_failure_like_another(small_bundle):
    class Cramped(Doubler):
        def bind(self, inputs, outputs):
            if inputs["image"][0] > 1:
                raise SessionError("the GPU reported: out of memory")
            super().bind(inputs, outputs)

    with opened(small_bundle, Cramped()) as session:
        with pytest.raises(SessionError, match="out of memory"):
            session.run({"image": IMAGE})
        assert session.input("image").shape == (1, 3, 8, 8)
        session.execute()
    with opened(small_bundle, Cramped(), Doubler) as session:
        found = session.run({"image": IMAGE})["logits"]
        np.testing.assert_array_equal(found, 2 * IMAGE.reshape(2, -1)[:, :5])
        assert "out of memory" in session.health()["degraded"]


def test_who_took_over_is_not_replaced_in_turn(small_bundle):
    with opened(small_bundle, Failing(0), lambda: Failing(1)) as session:
        session.execute()
        with pytest.raises(SessionError, match="an illegal address"):
            session.execute()


def test_a_timeout_is_said_and_can_be_waited_for_again(small_bundle):
    backend = Hanging()
    with opened(small_bundle, backend) as session:
        ticket = session.submit()
        assert session.health()["state"] == "running"
        with pytest.raises(SessionError, match=r"expected the inference to end within 0\.25 s"):
            session.wait(ticket, 0.25)
        assert session.health()["state"] == "hung"
        with pytest.raises(SessionError, match="to be waited for first"):
            session.execute()
        backend.done = True
        session.wait(ticket)
        health = session.health()
        assert (health["state"], health["timeouts"], health["runs"]) == ("ready", 1, 1)


def test_a_session_that_hangs_is_closed_all_the_same(small_bundle):
    backend = Hanging()
    session = opened(small_bundle, backend)
    with pytest.raises(SessionError, match="within"):
        session.wait(session.submit(), 0.01)
    session.close()
    assert backend.closed == 1


def test_calls_out_of_turn_are_said(small_bundle):
    with opened(small_bundle, Doubler()) as session:
        ticket = session.submit()
        for call in (session.submit, session.execute, lambda: session.input("image"), lambda: session.output("logits")):
            with pytest.raises(SessionError, match="to be waited for first"):
                call()
        session.wait(ticket)
        for late in (ticket, session.submit()._replace(number=99)):
            with pytest.raises(SessionError, match="expected the ticket of the inference under way"):
                session.wait(late)


def test_on_failure_has_two_words(small_bundle):
    with pytest.raises(SessionError, match="expected on_failure raise or ort, found 'panic'"):
        Session.open(small_bundle, on_failure="panic")


def test_timing_is_that_of_the_whole_inference(small_bundle):
    class Slow(Doubler):
        def synchronise(self, timeout_s):
            time.sleep(0.02)
            return True

    with opened(small_bundle, Slow()) as session:
        assert session.execute().compute_ms >= 20
        assert session.metrics()["compute_ms"]["sum"] >= 20


def test_states_given_by_hand_go_along_and_those_of_a_stream_begin_anew(tmp_path):
    pytest.importorskip("onnx")
    from edgekit.runtime.ort import OrtBackend
    from tests.runtime.small_streams import bundle_of, running_sum
    from tests.runtime.test_streaming import RANGES, SUMS

    bundle = bundle_of(running_sum(), tmp_path, SUMS, RANGES)
    verified = verify(bundle, keep={"model.onnx", "stream.json"})
    specs = (*verified.manifest.inputs, *verified.manifest.outputs)

    def working() -> OrtBackend:
        return OrtBackend(verified.contents["model.onnx"], "disable_all", specs, {"total": "total_out"})

    class Breaking(OrtBackend):
        left = 2

        def enqueue(self, *, step=False):
            self.left -= 1
            if self.left < 0:
                raise SessionError("the GPU reported: an illegal address")
            super().enqueue(step=step)

    x, total = np.ones((1, 1, 2), np.float32), np.full((1, 2), 5, np.float32)

    def session() -> Session:
        breaking = Breaking(verified.contents["model.onnx"], "disable_all", specs, {"total": "total_out"})
        return Session(Opened(verified, Choice("ort", None, "a test"), breaking, working))

    with session() as by_hand:
        for _ in range(4):
            assert by_hand.run({"x": x, "total": total})["total_out"].tolist() == [[6, 6]]
        assert by_hand.health()["state"] == "degraded"
    with session() as stream:
        assert [float(stream.step(x)["y"][0, 0, 0]) for _ in range(4)] == [11, 12, 11, 12]


def test_a_session_that_is_handed_over_belongs_to_the_next_thread_that_calls(small_bundle):
    steps = []

    class Bound(Doubler):
        """As a CUDA context is: in one thread at a time."""

        def __init__(self, name):
            super().__init__()
            self.name = name

        def let_go(self):
            steps.append((self.name, "let go", threading.get_ident()))

        def take(self):
            steps.append((self.name, "take", threading.get_ident()))

    first = Bound("first")
    first.enqueue = lambda step=False: Failing(0).enqueue()
    session = opened(small_bundle, first, lambda: Bound("second"))
    session.execute()  # the first fails: both are kept until the end
    session.hand_over()
    found = []

    def other():
        found.append(session.run({"image": IMAGE})["logits"])
        session.hand_over()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(30)
    np.testing.assert_array_equal(found[0], 2 * IMAGE.reshape(2, -1)[:, :5])
    session.execute()
    mine, others = threading.get_ident(), steps[2][2]
    # contexts lie on one another: what came last goes first
    goes, comes = ("second", "let go"), ("first", "take")
    assert [step[:2] for step in steps] == [goes, ("first", "let go"), comes, ("second", "take")] * 2
    assert [step[2] for step in steps] == [mine] * 2 + [others] * 4 + [mine] * 2
    session.close()


def test_a_session_is_handed_over_by_its_own_thread_with_nothing_under_way(small_bundle):
    with opened(small_bundle, Doubler()) as session:
        ticket = session.submit()
        with pytest.raises(SessionError, match="the inference under way to be waited for first"):
            session.hand_over()
        session.wait(ticket)
        refused_elsewhere(session.hand_over)
    with pytest.raises(SessionError, match="expected an open session"):
        session.hand_over()


def test_another_thread_that_waits_or_closes_takes_nothing_from_the_owner(small_bundle):
    backend = Hanging()
    session = opened(small_bundle, backend)
    ticket = session.submit()
    refused_elsewhere(lambda: session.wait(ticket))
    refused_elsewhere(session.close)
    assert session.health()["state"] == "running"
    with pytest.raises(SessionError, match="expected the inference under way to be waited for first"):
        session.input("image")
    backend.done = True
    assert session.wait(ticket).compute_ms > 0
    session.close()
    assert backend.closed == 1


class Narrow(Failing):
    """An engine for fewer pictures than the bundle is for."""

    def bind(self, inputs, outputs):
        if inputs["image"][0] > 2:
            raise ShapeError("expected shapes that the engine was built for")
        super().bind(inputs, outputs)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_shape_that_is_refused_is_forgotten(small_bundle, batch):
    """Also by the one that takes over later."""
    session = opened(small_bundle, Narrow(0), Doubler)
    session.set_shape("image", (batch, 3, 8, 8))
    with pytest.raises(ShapeError):
        session.set_shape("image", (3, 3, 8, 8))
    session.input("image")[...] = IMAGE[:batch]
    session.execute()
    assert session.health()["state"] == "degraded"
    assert session.input("image").shape == (batch, 3, 8, 8)
    np.testing.assert_array_equal(session.output("logits"), 2 * IMAGE[:batch].reshape(batch, -1)[:, :5])
    session.close()


def test_one_that_cannot_take_over_is_closed_and_may_be_tried_again(small_bundle):
    tried = []

    class Cramped(Doubler):
        def bind(self, inputs, outputs):
            if len(tried) == 1:
                raise SessionError("the host has no memory")
            super().bind(inputs, outputs)

    def another():
        tried.append(Cramped())
        return tried[-1]

    session = opened(small_bundle, Failing(0), another)
    with pytest.raises(SessionError, match="the host has no memory"):
        session.execute()
    assert tried[0].closed == 1
    assert session.health()["state"] == "ready"
    session.execute()
    assert session.health()["state"] == "degraded"
    session.close()
    assert [each.closed for each in tried] == [1, 1]
