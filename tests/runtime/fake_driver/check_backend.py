"""The TensorRT backend against onnxruntime on the same model, and all that may go wrong on the way."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from edgekit.errors import EdgekitError, SessionError, ShapeError, TargetError
from edgekit.runtime import trt
from edgekit.runtime.trt import TensorRTBackend
from edgekit.specs import TensorSpec
from tests.runtime.fake_driver import models, stand_in
from tests.runtime.fake_driver.harness import TAGGER, bind_tagger, feeds, oracle, outputs, tagger

SIZES = [(1, 1), (2, 5), (4, 16), (1, 17), (4, 40), (3, 2)]


def test_all_sizes_are_bit_equal_to_onnxruntime(kind, driver):
    backend, reference = tagger(), oracle(*models.tagger())
    for seed, (batch, time_steps) in enumerate(SIZES):
        for each in (backend, reference):
            bind_tagger(each, batch, time_steps)
        for repeat in range(3):
            given = feeds(batch, time_steps, 10 * seed + repeat)
            for found, wanted in zip(
                outputs(backend, given, "y", "count"), outputs(reference, given, "y", "count"), strict=True
            ):
                np.testing.assert_array_equal(found, wanted, strict=True)
    copies = 2 * 3 * len(SIZES)
    expected = (copies, copies) if kind == "discrete" else (0, 0)
    assert (driver.get("to_device"), driver.get("to_host")) == expected
    backend.close()


def test_only_the_bytes_of_the_shape_are_copied(driver):
    backend = tagger()
    backend.reserve({"x": (4, 40, 8), "mask": (4, 40)})
    bind_tagger(backend, 1, 2)
    outputs(backend, feeds(1, 2), "y")
    assert driver.get("to_device_bytes") == 2 * 8 * 4 + 2
    backend.close()


def test_the_outputs_shapes_may_come_from_the_engine(kind):
    backend = tagger()
    backend.bind({"x": (2, 3, 8), "mask": (2, 3)}, {"y": None, "count": None})
    assert (backend.output("y").shape, backend.output("count").dtype) == ((2, 3, 5), np.int64)
    backend.close()


def test_new_inputs_are_zeros_and_so_are_those_of_another_shape(kind):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    assert not backend.input("x").any()
    backend.input("x")[...] = 5
    bind_tagger(backend, 2, 3)
    assert (backend.input("x") == 5).all()
    bind_tagger(backend, 3, 2)
    assert not backend.input("x").any()
    backend.close()


def test_within_what_was_reserved_a_binding_allocates_nothing(kind, driver):
    backend = tagger()
    backend.reserve({"x": (4, 40, 8), "mask": (4, 40), "y": (4, 40, 5), "count": (4,)})
    made = driver.get("made")
    for sizes in SIZES:
        bind_tagger(backend, *sizes)
        outputs(backend, feeds(*sizes), "y")
    assert driver.get("made") == made
    backend.close()


def test_memory_that_grows_replaces_what_was_there(kind, driver):
    backend = tagger()
    bind_tagger(backend, 1, 1)
    outputs(backend, feeds(1, 1), "y")
    allocations = driver.get("allocations")
    bind_tagger(backend, 4, 40)
    assert driver.get("allocations") == allocations
    backend.close()


def test_ten_thousand_calls_let_nothing_grow(kind, driver):
    driver.set(lateness=0)
    backend = tagger()
    bind_tagger(backend, 1, 2)
    wanted = outputs(backend, feeds(1, 2), "y")
    for _ in range(10):
        outputs(backend, feeds(1, 2), "y")
    counters = ("allocations", "bytes", "host_bytes", "streams", "events", "graphs", "contexts", "made")
    before = {name: driver.get(name) for name in counters}
    for _ in range(10_000):
        backend.enqueue()
        backend.synchronise(None)
    assert {name: driver.get(name) for name in counters} == before
    np.testing.assert_array_equal(backend.output("y"), wanted[0])
    backend.close()


# ---- refusals


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"x": (5, 1, 8), "mask": (5, 1)}, r"x \[1, 1, 8\]..\[4, 16, 8\], .* or x \[1, 17, 8\]..\[4, 40, 8\]"),
        ({"x": (2, 16, 8), "mask": (2, 17)}, r"found x \[2, 16, 8\], mask \[2, 17\]"),
        ({"x": (2, 8), "mask": (2, 17)}, r"found x \[2, 8\]"),
    ],
)
def test_shapes_that_no_profile_holds_are_refused_and_the_last_binding_holds(inputs, named):
    backend = tagger()
    bind_tagger(backend, 2, 20)
    with pytest.raises(ShapeError, match=f"expected shapes that the engine was built for, .*{named}"):
        backend.bind(inputs, {"y": None, "count": None})
    assert outputs(backend, feeds(2, 20), "y")[0].shape == (2, 20, 5)
    backend.close()


def test_an_output_that_is_not_as_the_bundle_says_is_refused_and_the_last_binding_holds():
    backend = tagger()
    bind_tagger(backend, 2, 3)
    with pytest.raises(SessionError, match=r"y: expected \[1, 20, 6\] as the bundle says, found \[1, 20, 5\]"):
        backend.bind({"x": (1, 20, 8), "mask": (1, 20)}, {"y": (1, 20, 6), "count": (1,)})
    assert outputs(backend, feeds(2, 3), "y")[0].shape == (2, 3, 5)
    backend.close()


def test_an_output_whose_shape_depends_on_the_data_is_refused():
    model, specs = models.finder()
    backend = TensorRTBackend(stand_in.make_engine(model, data_dependent=["where"]), "tensorrt", specs)
    with pytest.raises(SessionError, match=r"^where: expected a shape that follows from the inputs, found one that"):
        backend.bind({"x": (8,)}, {"where": None})
    backend.close()


def test_half_precision_goes_through():
    model, specs = models.halves()
    engine = stand_in.make_engine(model, profiles=[{"x": [[1, 4], [1, 4], [4, 4]]}])
    backend = TensorRTBackend(engine, "tensorrt", specs)
    backend.bind({"x": (2, 4)}, {"y": (2, 4)})
    given = np.array([[-1, 2, -3, 4]] * 2, np.float16)
    np.testing.assert_array_equal(outputs(backend, {"x": given}, "y")[0], np.maximum(given, 0), strict=True)
    backend.close()


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"types": {"y": "HALF"}}, "to be .* y float32, found .* y float16"),
        ({"types": {"y": "BF16"}}, "found .* y DataType.BF16"),
        ({"on_host": ["count"]}, "count: expected a tensor on the device, found a shape"),
    ],
)
def test_tensors_that_are_not_the_bundles_are_refused(recipe, words):
    with pytest.raises(SessionError, match=words):
        tagger(**recipe)


def test_tensors_that_the_bundle_does_not_know_are_refused():
    model, specs = models.tagger()
    with pytest.raises(SessionError, match=r"expected the engine's tensors to be .*other int64"):
        other = (*specs[:-1], TensorSpec("other", "int64", ("batch",)))
        TensorRTBackend(stand_in.make_engine(model), "tensorrt", other)


def test_what_tensorrt_logs_is_in_the_message_and_not_on_stderr(capfd):
    with pytest.raises(TargetError) as error:
        TensorRTBackend(b"damaged", "tensorrt", ())
    assert str(error.value) == (
        "tensorrt 11.1.0 cannot load the engine on edgekit fake device (compute capability 8.7), 1024.0 of 1024 MiB "
        "free (IRuntime::deserializeCudaEngine: Error Code 1: Serialization); "
        "next: build it for this device with edgekit build-engine, or --backend ort"
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [1, 2])
def test_memory_that_tensorrt_itself_lacks_is_its_own_message(driver, number):
    driver.set(fail_allocation=number)
    with pytest.raises(TargetError, match=r", 102\d\.\d of 1024 MiB free \(.*OutOfMemory \(requested"):
        tagger()


def test_an_inference_that_tensorrt_does_not_start_is_one_line():
    backend = tagger(refuses_to_run=True)
    bind_tagger(backend, 1, 1)
    for _ in range(2):  # each time with what was logged since
        with pytest.raises(SessionError) as error:
            backend.enqueue()
        assert str(error.value) == (
            "tensorrt 11.1.0 could not enqueue the inference (enqueueV3: Error Code 3: no address or shape of an input)"
        )
    backend.close()


@pytest.mark.parametrize("refused", ["set_input_shape", "set_tensor_address", "set_optimization_profile_async"])
def test_every_no_of_the_context_is_heard(monkeypatch, refused):
    backend = tagger()
    bind_tagger(backend, 1, 1)
    outputs(backend, feeds(1, 1), "y")
    monkeypatch.setattr(stand_in.Context, refused, lambda *_: False)
    with pytest.raises(SessionError, match=r"^tensorrt 11.1.0 (refuses|takes no address)"):
        bind_tagger(backend, 2, 30)
        backend.enqueue()
    monkeypatch.undo()
    stand_in.install()
    bind_tagger(backend, 2, 3)
    outputs(backend, feeds(2, 3), "y")
    backend.close()


def test_plugins_that_do_not_load_leave_nothing(monkeypatch):
    import tensorrt

    class Registry:
        def load_library(self, path):
            return None

    monkeypatch.setattr(tensorrt, "get_plugin_registry", Registry, raising=False)
    with pytest.raises(TargetError, match=r"to load the bundle's plugins"):
        TensorRTBackend(stand_in.make_engine(models.tagger()[0]), "tensorrt", models.tagger()[1], b"plugins")


# ---- memory, errors and time


def test_out_of_memory_anywhere_is_one_line_and_leaves_nothing(kind, driver):
    for number in itertools.count(1):
        backend = None
        driver.set(fail_allocation=number)
        try:
            backend = tagger()
            bind_tagger(backend, 2, 3)
            driver.set(fail_allocation=0)
            break
        except EdgekitError as error:
            said = str(error)
        driver.set(fail_allocation=0)
        if backend is not None:
            assert "found 1024.0 of 1024 MiB free: cuMem" in said
            assert "\n" not in said
            bind_tagger(backend, 1, 1)  # all is as before, so it goes on
            outputs(backend, feeds(1, 1), "y")
            backend.close()
        assert driver.left() == {}, number
    assert number == (7 if kind == "integrated" else 11)
    backend.close()


def test_when_memory_is_short_for_another_shape_the_last_binding_holds(kind, driver):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    given = feeds(2, 3)
    wanted = outputs(backend, given, "y", "count")
    for number in range(1, 5 if kind == "integrated" else 8):
        driver.set(fail_allocation=number)
        with pytest.raises(SessionError, match=r"expected 0.0 MiB for "):
            bind_tagger(backend, 4, 40)
        driver.set(fail_allocation=0)
        for found, expected in zip(outputs(backend, given, "y", "count"), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)
    backend.close()


def test_when_even_the_free_memory_is_unknown_the_error_is_still_one_line(driver):
    backend = tagger()
    driver.set(broken=1)
    with pytest.raises(SessionError, match=r"expected 0.0 MiB for .*, found none free: .*illegal memory access"):
        bind_tagger(backend, 1, 1)
    backend.close()
    driver.allow(left_to_driver=4)


def test_an_error_of_the_device_arrives_with_its_words_and_closing_gives_back(kind, driver, capfd):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    outputs(backend, feeds(2, 3), "y")
    driver.set(break_in=1)
    backend.enqueue()
    with pytest.raises(SessionError, match=r"the GPU reported: .*: an illegal memory access was encountered; next: "):
        backend.synchronise(1.0)
    for call in (backend.enqueue, lambda: backend.synchronise(1.0), lambda: bind_tagger(backend, 4, 16), backend.reset):
        if call != backend.reset:
            with pytest.raises(SessionError, match=r"illegal memory access"):
                call()
    backend.close()
    assert "illegal memory access" in backend.notes["close"]
    assert capfd.readouterr().err == ""
    driver.allow("left_to_driver")


def test_a_hang_ends_in_time_and_closing_does_not_wait_for_it(kind, driver):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    driver.set(hang=1)
    backend.enqueue()
    start = time.perf_counter()
    assert not backend.synchronise(0.05)
    assert 0.05 <= time.perf_counter() - start < 0.5
    backend.close()
    assert time.perf_counter() - start < 1.0
    assert "an inference is still running on edgekit fake device" in backend.notes["close"]
    assert (driver.get("would_block"), driver.get("depth")) == (0, 0)
    with pytest.raises(SessionError, match=r"found it closed"):
        backend.enqueue()
    driver.allow(*driver.left())


def test_what_was_late_and_ended_is_given_back(driver):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    driver.set(hang=1)
    backend.enqueue()
    assert not backend.synchronise(0.0)
    driver.set(hang=0, lateness=0)
    backend.close()
    assert "close" not in backend.notes


def test_a_session_that_is_closed_while_it_works_waits_for_it():
    backend = tagger()
    bind_tagger(backend, 2, 3)
    backend.enqueue()
    for _ in range(2):
        backend.close()
    assert "close" not in backend.notes


def test_nothing_is_changed_under_an_inference_that_hangs(driver, monkeypatch):
    monkeypatch.setattr(trt, "_CLOSE_S", 0.02)
    backend = tagger()
    bind_tagger(backend, 2, 3)
    driver.set(hang=1)
    backend.enqueue()
    for change in (lambda: bind_tagger(backend, 1, 1), lambda: backend.reserve({"x": (4, 40, 8)})):
        with pytest.raises(SessionError, match=r"expected the inference to end within 0\.02 s, found it running still"):
            change()
    driver.set(hang=0)
    assert backend.synchronise(1.0)
    backend.close()


def test_an_array_that_outlives_its_session_can_be_read_and_its_memory_goes_with_it(kind, driver):
    backend = tagger()
    bind_tagger(backend, 2, 3)
    outputs(backend, feeds(2, 3), "y")
    kept, other = backend.output("y"), backend.input("mask")[0]
    wanted = kept.copy()
    backend.close()
    assert backend.notes["close"] == "2 arrays of this session are in use: their memory goes with them"
    assert (driver.get("allocations"), driver.get("contexts"), driver.get("depth")) == (2, 1, 0)
    again = tagger()
    again.close()
    np.testing.assert_array_equal(kept, wanted)
    del kept
    assert (driver.get("allocations"), driver.get("contexts")) == (1, 1)
    del other
    assert driver.left() == {}


def test_an_array_that_outlives_its_binding_can_be_read(kind, driver):
    backend = tagger()
    bind_tagger(backend, 1, 1)
    outputs(backend, feeds(1, 1), "y")
    kept = backend.output("y")
    wanted = kept.copy()
    bind_tagger(backend, 4, 40)
    np.testing.assert_array_equal(kept, wanted)
    del kept
    backend.close()
    assert "close" not in backend.notes


def test_two_sessions_in_two_threads_do_not_disturb_each_other(kind):
    failures: list[BaseException] = []

    def work(seed):
        try:
            backend, reference = tagger(), oracle(*models.tagger())
            for each in (backend, reference):
                bind_tagger(each, 2, 3)
            for repeat in range(50):
                given = feeds(2, 3, 1000 * seed + repeat)
                np.testing.assert_array_equal(outputs(backend, given, "y"), outputs(reference, given, "y"))
            backend.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_two_sessions_in_one_thread_close_in_any_order():
    first, second = tagger(), tagger()
    for backend in (first, second):
        bind_tagger(backend, 1, 2)
    first.close()
    outputs(second, feeds(1, 2), "y")
    second.close()


def test_another_thread_is_refused_by_the_driver():
    backend = tagger()
    bind_tagger(backend, 1, 2)
    found: list[str] = []

    def intrude():
        try:
            backend.enqueue()
        except SessionError as error:
            found.append(str(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert "invalid device context" in found[0]
    backend.close()


def test_the_engine_of_the_other_flavour_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(TargetError, match=r"expected the module tensorrt_rtx .* pip install tensorrt-rtx-cu13"):
        tagger("tensorrt_rtx")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(TargetError, match=r"expected the module tensorrt .* TensorRT's Python package"):
        tagger()


def test_the_recipes_of_this_file_have_two_profiles():
    assert len(TAGGER["profiles"]) == 2
