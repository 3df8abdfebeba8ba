"""Carried states: two buffers a pair that change places, never copied in a step; everything as onnxruntime does it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.errors import SessionError
from edgekit.runtime.trt import TensorRTBackend
from tests.runtime.fake_driver import models, stand_in
from tests.runtime.fake_driver.harness import CACHED, STATES, STREAM, oracle, outputs

NAMES = ("y", "h_next", "c_next")


def recurrent(flavour="tensorrt", carried=STATES):
    model, specs = models.stream()
    return TensorRTBackend(stand_in.make_engine(model, **STREAM), flavour, specs, carried=carried)


def bind(backend, batch):
    inputs = {"x": (batch, 4), "h": (batch, 6), "c": (batch, 6)}
    backend.bind(inputs, {"y": (batch, 3), "h_next": (batch, 6), "c_next": (batch, 6)})


def frames(count, batch=2, seed=3):
    return np.random.default_rng(seed).normal(size=(count, batch, 4)).astype(np.float32)


def step(backend, x):
    backend.input("x")[...] = x
    backend.enqueue(step=True)
    assert backend.synchronise(5.0)
    backend.advance()
    return backend.output("y").copy()


def by_hand(xs, h=None, c=None):
    """The loop that an app would write, with onnxruntime."""
    reference = oracle(*models.stream())
    bind(reference, xs.shape[1])
    zeros = np.zeros((xs.shape[1], 6), np.float32)
    h, c, ys = zeros if h is None else h, zeros if c is None else c, []
    for x in xs:
        y, h, c = outputs(reference, {"x": x, "h": h, "c": c}, *NAMES)
        ys.append(y)
    return ys, h, c


def test_steps_are_the_loop_by_hand(kind, driver):
    backend = recurrent()
    bind(backend, 2)
    xs = frames(9)
    wanted, h, c = by_hand(xs)
    for x, y in zip(xs, wanted, strict=True):
        np.testing.assert_array_equal(step(backend, x), y)
    copies = 9 if kind == "discrete" else 0
    assert (driver.get("to_device"), driver.get("to_host"), driver.get("within_device")) == (copies, copies, 0)
    np.testing.assert_array_equal(backend.state("h"), h)
    np.testing.assert_array_equal(backend.state("c"), c)
    backend.close()


def test_an_even_and_an_odd_number_of_steps_see_their_own_state(kind):
    xs = frames(2)
    for count in (1, 2):
        backend = recurrent()
        bind(backend, 2)
        for x in xs[:count]:
            step(backend, x)
        np.testing.assert_array_equal(backend.state("c"), by_hand(xs[:count])[2])
        backend.close()


def test_reset_zeroes_the_states(kind):
    backend = recurrent()
    bind(backend, 2)
    xs = frames(5)
    for x in xs[:3]:
        step(backend, x)
    backend.reset()
    assert not backend.state("h").any()
    wanted, h, _ = by_hand(xs)
    for x, y in zip(xs, wanted, strict=True):
        np.testing.assert_array_equal(step(backend, x), y)
    np.testing.assert_array_equal(backend.state("h"), h)
    backend.close()


def test_a_state_that_is_reset_and_closed_at_once_leaves_nothing():
    backend = recurrent()
    bind(backend, 2)
    backend.reset()
    backend.close()


def test_by_hand_states_are_copied_like_all_else(kind, driver):
    backend = recurrent()
    bind(backend, 2)
    random = np.random.default_rng(5)
    feeds = {"x": frames(1)[0]} | {name: random.normal(size=(2, 6)).astype(np.float32) for name in STATES}
    reference = oracle(*models.stream())
    bind(reference, 2)
    for _ in range(6):
        for found, wanted in zip(outputs(backend, feeds, *NAMES), outputs(reference, feeds, *NAMES), strict=True):
            np.testing.assert_array_equal(found, wanted)
    copies = 18 if kind == "discrete" else 0
    assert (driver.get("to_device"), driver.get("to_host")) == (copies, copies)
    step(backend, feeds["x"])  # the states are on the device already
    assert driver.get("to_device") == copies + (1 if kind == "discrete" else 0)
    backend.close()


ACTIONS = ("step", "plain", "write", "reset", "look", "rebind", "other batch")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_an_app_does_in_whatever_order_it_is_as_with_onnxruntime(kind, seed):
    backend, reference = recurrent(), oracle(*models.stream(), STATES)
    random = np.random.default_rng(seed)
    for each in (backend, reference):
        bind(each, 3)
    batch = 3
    for action in random.choice(ACTIONS, size=60):
        x = random.normal(size=(batch, 4)).astype(np.float32)
        written = random.normal(size=(batch, 6)).astype(np.float32)
        seen = []
        for each in (backend, reference):
            if action == "write":
                each.input("h")[...] = written
                each.input("c")[0] = written[0]
            elif action == "reset":
                each.reset()
            elif action == "rebind":
                bind(each, batch)
            elif action == "other batch":
                bind(each, 5 - batch)
                each.reset()
            elif action == "step":
                seen.append([step(each, x)])
            elif action == "plain":
                seen.append(outputs(each, {"x": x}, *NAMES))
            else:
                seen.append([each.state("h"), each.input("c").copy()])
        batch = 5 - batch if action == "other batch" else batch
        for found, wanted in zip(*seen, strict=True) if seen else ():
            np.testing.assert_array_equal(found, wanted, err_msg=action)
    backend.close()


def test_a_state_keeps_its_bytes_while_other_shapes_are_bound(kind):
    backend, reference = recurrent(), oracle(*models.stream(), STATES)
    x = frames(1, batch=3)[0]
    for each in (backend, reference):
        bind(each, 3)
        step(each, x)
        bind(each, 2)
        each.state("h")
        bind(each, 3)
    np.testing.assert_array_equal(backend.state("h"), reference.state("h"))
    np.testing.assert_array_equal(step(backend, x), step(reference, x))
    backend.close()


def test_a_cache_that_was_reserved_grows_by_a_token_a_step_from_nothing(kind, driver):
    model, specs = models.cached()
    backend = TensorRTBackend(stand_in.make_engine(model, **CACHED), "tensorrt", specs, carried={"past": "present"})
    backend.reserve({"past": (1, 2, 12, 4)})
    made = driver.get("made")
    for length in range(12):
        backend.bind({"x": (1, 2, 1, 4), "past": (1, 2, length, 4)}, {"y": (1, 2, 1, 4), "present": None})
        y = step(backend, np.full((1, 2, 1, 4), length + 1, np.float32))
    assert (y == sum(range(1, 13))).all()
    assert driver.get("made") == made + (2 if kind == "integrated" else 4)  # x and y
    assert driver.get("within_device") == 0
    np.testing.assert_array_equal(backend.state("past")[0, 1, :, 2], np.arange(1, 13))
    backend.close()


def test_an_empty_cache_and_its_growth_are_as_with_onnxruntime(kind):
    model, specs = models.cached()
    engine = stand_in.make_engine(model, **CACHED)
    backend = TensorRTBackend(engine, "tensorrt", specs, carried={"past": "present"})
    reference = oracle(model, specs, {"past": "present"})
    for length in range(20):  # nothing was reserved: blocks grow, and keep what they hold
        x = np.full((1, 2, 1, 4), length + 1, np.float32)
        found = []
        for each in (backend, reference):
            each.bind(
                {"x": (1, 2, 1, 4), "past": (1, 2, length, 4)}, {"y": (1, 2, 1, 4), "present": (1, 2, length + 1, 4)}
            )
            found.append((step(each, x), each.state("past").copy()))
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
    assert (found[0][0] == sum(range(1, 21))).all()
    backend.close()


def test_out_of_memory_while_a_cache_grows_keeps_the_cache(kind, driver):
    model, specs = models.cached()
    backend = TensorRTBackend(stand_in.make_engine(model, **CACHED), "tensorrt", specs, carried={"past": "present"})

    def bind_at(length):
        backend.bind({"x": (1, 2, 1, 4), "past": (1, 2, length, 4)}, {"y": None, "present": None})

    bind_at(0)
    step(backend, np.ones((1, 2, 1, 4), np.float32))
    for number in itertools.count(1):
        driver.set(fail_allocation=number)
        try:
            bind_at(1)
            break
        except SessionError as error:
            assert "expected 0.0 MiB for p" in str(error)
    driver.set(fail_allocation=0)
    assert number == (3 if kind == "integrated" else 5)
    assert (step(backend, np.full((1, 2, 1, 4), 2, np.float32)) == 3).all()
    backend.close()


def test_a_cache_that_breaks_while_it_grows_says_so_and_closing_gives_back(driver):
    model, specs = models.cached()
    backend = TensorRTBackend(stand_in.make_engine(model, **CACHED), "tensorrt", specs, carried={"past": "present"})
    bind_at = {"x": (1, 2, 1, 4), "past": (1, 2, 0, 4)}
    backend.bind(bind_at, {"y": None, "present": None})
    step(backend, np.ones((1, 2, 1, 4), np.float32))
    driver.set(break_in=1)
    with pytest.raises(SessionError, match=r"the GPU reported: .*illegal memory access"):
        backend.reserve({"past": (1, 2, 9, 4)})
    backend.close()
    driver.allow("left_to_driver")


def test_after_a_sticky_error_states_say_so_too(driver):
    backend = recurrent()
    bind(backend, 2)
    step(backend, frames(1)[0])
    driver.set(broken=1)
    for call in (lambda: backend.state("h"), lambda: backend.input("h"), backend.reset, lambda: backend.state("h")):
        with pytest.raises(SessionError, match=r"the GPU reported: .*illegal memory access"):
            call()
    backend.close()
    driver.allow("left_to_driver")
