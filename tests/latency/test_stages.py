"""Stages on stamps whose differences are known."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from edgekit.latency import Samples
from edgekit.latency.raw import write_samples
from edgekit.latency.stages import stage_times, summarise_stages

MS = 1_000_000


@pytest.fixture
def samples() -> Samples:
    """Three due every 10 ms; the second was late, the third was not answered."""
    intended = np.array([0, 10, 20]) * MS
    return Samples(intended, np.array([8, 25, 26]) * MS, served=2)


# Two calls of the warm-up, then begin, pre, compute and post of the two requests.
STAMPS = [(0, 1, 2, 3), (5, 6, 7, 8), *[tuple(MS * value for value in row) for row in ((1, 3, 7, 8), (14, 15, 24, 25))]]


def test_each_stage_has_its_time(samples):
    times = stage_times(samples, STAMPS, ("pre", "compute", "post"))
    assert list(times) == ["wait", "pre", "compute", "post"]
    for name, wanted in (("wait", [1, 4]), ("pre", [2, 1]), ("compute", [4, 9]), ("post", [1, 1])):
        np.testing.assert_allclose(times[name], wanted)
    np.testing.assert_allclose(sum(times.values()), samples.latencies_ms[:2])


def test_a_summary_has_the_stages_in_the_order_of_the_work(samples):
    random = np.random.default_rng(0)
    times = {name: random.random(500) for name in ("post", "compute", "wait")}
    found = summarise_stages(times)
    assert list(found) == ["wait", "compute", "post"]
    for name, stage in found.items():
        assert stage.mean_ms == pytest.approx(times[name].mean())
        for q, interval in ((0.5, stage.p50_ms), (0.9, stage.p90_ms), (0.99, stage.p99_ms)):
            assert interval.value == np.quantile(times[name], q, method="inverted_cdf")
            assert interval.low <= interval.value <= interval.high


def test_raw_times_are_kept(samples, tmp_path):
    out = tmp_path / "raw.npz"
    write_samples(out, samples, {"wait": np.array([0.5, 1.5])})
    with np.load(out) as file:
        assert sorted(file.files) == ["answered", "done_ns", "intended_ns", "stage_wait_ms"]
        np.testing.assert_array_equal(file["done_ns"], samples.done_ns)
        assert (int(file["answered"]), file["stage_wait_ms"].tolist()) == (2, [0.5, 1.5])
    assert zipfile.ZipFile(out).testzip() is None
