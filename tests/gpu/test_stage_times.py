"""What only a GPU can show of the stages' times: that they are times, and that the host's clock agrees."""

from __future__ import annotations

import time

import pytest

from edgekit.bench import bench
from edgekit.configs import BenchConfig
from edgekit.data import read_picture
from edgekit.device import find_gpus
from edgekit.runtime import Session
from edgekit.runtime.trt_stages import stage_events

_SEARCH = find_gpus()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,  # exports EfficientNet-Lite0
    pytest.mark.skipif(not _SEARCH.gpus, reason=f"needs an NVIDIA GPU: {_SEARCH.reason}"),
]
_EVENT_MS = 0.002  # four events, each half a microsecond exact


def test_the_stages_of_an_inference_are_within_what_the_host_waits(lite0, photos):
    with Session.open(lite0 / "bundle", "rtx") as session:
        session.preprocess(read_picture(photos / "cat.png"))
        session.warmup()
        events = stage_events(session)
        assert events is not None
        with events:
            for _ in range(50):
                began = time.perf_counter()
                session.execute()
                host_ms = (time.perf_counter() - began) * 1e3
                h2d_ms, compute_ms, d2h_ms = events.times()
                assert compute_ms > 0
                assert (h2d_ms or 0.0) + compute_ms + (d2h_ms or 0.0) <= host_ms + _EVENT_MS
                if events.copied:
                    assert h2d_ms > 0
                    assert d2h_ms > 0
                else:
                    assert h2d_ms is d2h_ms is None


def test_a_bench_has_them(lite0, photos, tmp_path):
    config = BenchConfig(str(photos), backend="rtx", requests=200, cold_starts=0)
    found = bench(lite0 / "bundle", tmp_path / "report.json", config).device_stages
    assert found is not None
    assert found.n == 200
    assert sum(stage.mean_ms for stage in found.stages.values()) <= found.host.mean_ms + _EVENT_MS
