"""No net allocation: what thousands of calls leave behind is nothing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit.reports import resident_mib
from edgekit.runtime import Session
from tests.runtime.small_streams import bundle_of, counting_decoder, running_sum
from tests.runtime.test_generation import CACHE, RANGES
from tests.runtime.test_streaming import RANGES as SUM_RANGES
from tests.runtime.test_streaming import SUMS

CALLS = 10_000


def grown(call: Callable[[], object], calls: int = CALLS) -> tuple[int, float]:
    """(blocks of Python's allocator, MiB of resident memory) more after so many calls than after a hundred."""
    for _ in range(100):
        call()
    gc.collect()
    before = sys.getallocatedblocks(), resident_mib()
    for _ in range(calls):
        call()
    gc.collect()
    return sys.getallocatedblocks() - before[0], resident_mib() - before[1]


@pytest.mark.parametrize("how", ["execute", "run", "submit and wait"])
def test_ten_thousand_calls_leave_nothing_behind(small_bundle: Path, how: str):
    image = np.ones((1, 3, 8, 8), np.float32)
    with Session.open(small_bundle) as session:
        calls = {
            "execute": session.execute,
            "run": lambda: session.run({"image": image}),
            "submit and wait": lambda: session.wait(session.submit()),
        }
        blocks, mib = grown(calls[how])
        assert blocks < 300
        assert mib < 2


def test_steps_of_a_stream_leave_nothing_behind(tmp_path: Path):
    x = np.ones((1, 1, 2), np.float32)
    with Session.open(bundle_of(running_sum(), tmp_path, SUMS, SUM_RANGES)) as session:
        blocks, mib = grown(lambda: session.step(x))
        assert blocks < 300
        assert mib < 2


def test_texts_one_after_the_other_leave_nothing_behind(tmp_path: Path):
    with Session.open(bundle_of(counting_decoder(), tmp_path, CACHE, RANGES)) as session:
        blocks, mib = grown(lambda: list(session.generate([1, 2, 3], 40, temperature=1.0, top_k=4, seed=1)), 250)
        assert blocks < 300
        assert mib < 2


def test_other_shapes_in_turn_leave_nothing_behind(small_bundle: Path):
    images = [np.ones((batch, 3, 8, 8), np.float32) for batch in (1, 5, 3)]
    with Session.open(small_bundle) as session:
        blocks, mib = grown(lambda: [session.run({"image": image}) for image in images], 1000)
        assert blocks < 300
        assert mib < 2
