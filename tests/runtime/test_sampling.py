"""Drawing a token; the oracle is the softmax in float64 and the counts of many draws."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import SessionError, UsageError
from edgekit.runtime.sampling import Sampler

LOGITS = np.array([1.0, 3.0, -2.0, 2.5, 0.0], np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()


def drawn(sampler: Sampler, logits: np.ndarray, count: int = 20_000) -> np.ndarray:
    """How often each token came, as a share."""
    picks = [sampler.pick(logits) for _ in range(count)]
    return np.bincount(picks, minlength=len(logits)) / count


def test_without_temperature_the_first_of_the_likeliest():
    assert Sampler(0, 0, None).pick(LOGITS) == 1
    assert Sampler(0, 3, None).pick(np.array([2.0, 5.0, 5.0])) == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tokens_come_as_often_as_the_softmax_says(temperature, dtype):
    logits = LOGITS.astype(dtype)
    found = drawn(Sampler(temperature, 0, 1), logits)
    np.testing.assert_allclose(found, softmax(logits / temperature), atol=0.02)


def test_only_the_top_k_come():
    found = drawn(Sampler(1.0, 2, 2), LOGITS)
    wanted = softmax(np.array([-np.inf, 3.0, -np.inf, 2.5, -np.inf]))
    np.testing.assert_allclose(found, wanted, atol=0.02)
    assert drawn(Sampler(1.0, 9, 2), LOGITS).min() > 0


def test_a_seed_repeats():
    first, again, other = (
        [sampler.pick(LOGITS) for _ in range(50)] for sampler in (Sampler(1, 0, 7), Sampler(1, 0, 7), Sampler(1, 0, 8))
    )
    assert first == again != other


def test_large_logits_do_not_overflow_and_impossible_ones_never_come():
    found = drawn(Sampler(1.0, 0, 3), np.array([1e4, -np.inf, 1e4 - 1], np.float32), 5000)
    np.testing.assert_allclose(found, softmax(np.array([1.0, -np.inf, 0.0])), atol=0.03)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_none_are_said(bad, temperature):
    with pytest.raises(SessionError, match="expected finite logits"):
        Sampler(temperature, 0, None).pick(np.array([0.0, bad, 1.0]))


@pytest.mark.parametrize(("temperature", "top_k"), [(-1.0, 0), (float("nan"), 0), (float("inf"), 0), (1.0, -1)])
def test_settings_are_checked(temperature, top_k):
    with pytest.raises(UsageError):
        Sampler(temperature, top_k, None)
