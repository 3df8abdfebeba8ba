"""A decoder over its cache; the oracle is the same arithmetic on the whole text, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.errors import IntegrityError, SessionError, ShapeError, UsageError  # noqa: E402
from edgekit.runtime import Session, generation  # noqa: E402
from edgekit.specs import Stream  # noqa: E402
from tests.runtime.small_streams import bundle_of, counting_decoder, running_sum, written_by_hand  # noqa: E402

RANGES = {"batch": (1, 1, 2), "time": (1, 1, 32), "past": (0, 8, 63)}
CACHE = Stream(("past=present",), "tokens", "logits")
MASKED = Stream(("past=present",), "tokens", "logits", "mask", "positions")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return bundle_of(counting_decoder(), tmp_path_factory.mktemp("decoder"), CACHE, RANGES)


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> Path:
    ranges = RANGES | {"total": (1, 8, 64)}
    return bundle_of(counting_decoder(masked=True), tmp_path_factory.mktemp("masked"), MASKED, ranges)


@pytest.mark.parametrize("prompt", [[1], [3, 1, 4, 1, 5], list(range(16)) * 2])
def test_the_likeliest_tokens_follow_one_by_one(bundle, prompt):
    with Session.open(bundle) as session:
        assert list(session.generate(prompt, 20)) == written_by_hand(prompt, 20)
        assert session.metrics()["tokens"] == 20


def test_a_mask_and_positions_are_filled_in(masked):
    with Session.open(masked) as session:
        assert list(session.generate([3, 1, 4], 12)) == written_by_hand([3, 1, 4], 12)


@pytest.mark.parametrize("largest", [1, 3 * 16 * 4])
def test_a_prompt_goes_in_by_chunks(bundle, monkeypatch, largest):
    monkeypatch.setattr(generation, "_LARGEST_LOGITS_BYTES", largest)
    with Session.open(bundle) as session:
        prompt = [5, 2, 7, 1, 1, 3, 9]
        assert list(session.generate(prompt, 9)) == written_by_hand(prompt, 9)
        assert session.metrics()["steps"] == (7 if largest == 1 else 3) + 8


def test_the_next_text_starts_with_an_empty_cache(bundle):
    with Session.open(bundle) as session:
        for prompt, count in (([2, 3], 5), ([9], 1), ([9], 1), ([7], 2), ([2, 3], 5)):
            assert list(session.generate(prompt, count)) == written_by_hand(prompt, count)
        with_past = {"tokens": np.array([[1, 2]]), "past": np.array([[4]], np.float32)}
        for _ in range(2):
            assert session.run(with_past)["present"].tolist() == [[4, 1, 2]]
            assert list(session.generate([9], 1)) == [9]
        shorter = {"tokens": np.array([[1]]), "past": np.array([[4]], np.float32)}
        assert session.run(shorter)["present"].tolist() == [[4, 1]]
        list(session.generate([9], 1))
        session.execute()
        assert session.output("present").tolist() == [[9]], "the cache is empty, the token still there"


def test_it_ends_behind_a_stop_token(bundle, tmp_path):
    written = written_by_hand([3], 10)
    stop = written[4]
    with Session.open(bundle) as session:
        assert list(session.generate([3], 10, stop=[stop])) == written[: written.index(stop) + 1]
    own = Stream(("past=present",), "tokens", "logits", stop=(stop,))
    with Session.open(bundle_of(counting_decoder(), tmp_path, own, RANGES)) as session:
        assert list(session.generate([3], 10)) == written[: written.index(stop) + 1]


def test_the_cache_is_reserved_once_and_only_swapped(bundle):
    """The two blocks of the cache are the same memory from the first token to the last: seen from within, since asking
    the session for the buffer of a state ends a stream."""
    with Session.open(bundle) as session:
        blocks = set()
        for _ in session.generate([1, 2], 40):
            blocks.add(session._runner.mine().input("past").ctypes.data)
    assert len(blocks) == 2


def test_a_text_as_long_as_the_cache_and_one_longer(bundle):
    with Session.open(bundle) as session:
        assert len(list(session.generate([1] * 5, 60))) == 60
        with pytest.raises(ShapeError, match="expected a prompt and new tokens of 65 in all at the most, found 66"):
            session.generate([1] * 5, 61)


def test_what_comes_between_two_tokens_is_said(bundle):
    with Session.open(bundle) as session:
        first = session.generate([1, 2], 5)
        next(first)
        list(session.generate([1], 2))
        with pytest.raises(SessionError, match="one text at a time"):
            next(first)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (([], 3), ShapeError, "expected a prompt of at least one token"),
        (([[1], [1, 2]], 3), ShapeError, "expected a prompt of token ids"),
        (([1], 1.5), ShapeError, "max_new_tokens of 1 or more, found 1.5"),
        (([[1]], 3), ShapeError, "expected a prompt of token ids"),
        (([1.5], 3), ShapeError, "expected a prompt of token ids"),
        (([1, 16], 3), ShapeError, r"expected token ids of 0\.\.15, found 1\.\.16"),
        (([-1], 3), ShapeError, "expected token ids of 0"),
        (([1], 0), ShapeError, "max_new_tokens"),
    ],
)
def test_a_wrong_call_is_said_at_once(bundle, arguments, error, says):
    with Session.open(bundle) as session, pytest.raises(error, match=says):
        session.generate(*arguments)


def test_wrong_settings_are_said_at_once(bundle):
    with Session.open(bundle) as session:
        with pytest.raises(UsageError, match="temperature"):
            session.generate([1], 3, temperature=-1.0)
        with pytest.raises(UsageError, match="top_k"):
            session.generate([1], 3, top_k=-1)


def test_steps_of_a_decoder_grow_its_cache(bundle):
    with Session.open(bundle) as session:
        text = [7, 4]
        logits = session.step(np.array([text]))["logits"]
        for _ in range(6):
            text.append(int(logits[0, -1].argmax()))
            logits = session.step(np.array([text[-1:]]))["logits"]
        assert text[2:] == written_by_hand([7, 4], 6)
        np.testing.assert_array_equal(session.state()["past"], [text])
        logits = session.step(np.array([[1]]))["logits"]
        assert int(logits[0, -1].argmax()) == (sum(text) + 1) % 16


def test_a_step_beyond_the_cache_is_refused_and_the_last_one_within_is_answered(bundle):
    with Session.open(bundle) as session:
        for _ in range(2):
            session.step(np.ones((1, 32), np.int64))
        for call in (lambda: session.step(np.array([[1]])), session.state):
            with pytest.raises(ShapeError, match=r"expected past in 0\.\.63, the range of the bundle, found 64"):
                call()
        session.reset()
        assert int(session.step(np.array([[5]]))["logits"][0, -1].argmax()) == 5


def test_another_batch_of_texts_begins_with_an_empty_cache(bundle):
    with Session.open(bundle) as session:
        session.step(np.array([[3, 4]]))
        found = session.step(np.array([[1, 2], [5, 6]]))["logits"][:, -1].argmax(-1)
        np.testing.assert_array_equal(found, [3, 11])
        np.testing.assert_array_equal(session.state()["past"], [[1, 2], [5, 6]])


def test_a_cache_that_was_kept_is_given_back(bundle):
    with Session.open(bundle) as session:
        session.step(np.array([[3, 4, 5]]))
        kept = session.state()
        first = session.step(np.array([[1]]))["logits"].copy()
        list(session.generate([9], 4))
        session.reset(kept)
        np.testing.assert_array_equal(session.step(np.array([[1]]))["logits"], first)


def test_chunks_of_other_lengths_by_preprocess_go_on_with_the_cache(bundle):
    """As `preprocess` does it: the shape is set, the input written, and `step` takes what is there."""
    with Session.open(bundle) as session:
        for tokens in ([[3, 4]], [[5]], [[6, 7, 8]]):
            session.set_shape("tokens", np.shape(tokens))
            session.input("tokens")[...] = tokens
            logits = session.step()["logits"]
        np.testing.assert_array_equal(session.state()["past"], [[3, 4, 5, 6, 7, 8]])
        assert int(logits[0, -1].argmax()) == sum(range(3, 9)) % 16


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (Stream(("past=logits",), "tokens", "logits"), "expected logits as past"),
        (Stream(("past=present",), "past", "logits"), "expected tokens as integers [N, T], found past"),
        (Stream(("past=present",), "tokens", "present"), "expected logits as floats [N, T, V], found present"),
        (Stream(("past=present",), "tokens", "logits", stop=(16,)), "expected stop tokens of 0..15, found [16]"),
        (Stream(("past=present",)), "expected one open axis that grows by the tokens"),
    ],
)
def test_a_stream_that_is_not_that_of_the_model_is_refused(tmp_path, stream, says):
    made = bundle_of(counting_decoder(), tmp_path, stream, RANGES)
    with pytest.raises(IntegrityError) as error:
        Session.open(made)
    assert says in str(error.value)


def test_a_network_that_is_no_decoder_says_so(tmp_path):
    made = bundle_of(running_sum(), tmp_path, Stream(("total=total_out",)), {"batch": (1, 1, 4), "time": (1, 1, 8)})
    with Session.open(made) as session, pytest.raises(SessionError, match="expected a bundle of a decoder"):
        session.generate([1], 3)
