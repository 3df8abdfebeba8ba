"""A bench on a driver that is played; test_bench_command.py runs it in a process of its own."""

from __future__ import annotations

import json

import numpy as np

from edgekit.bench import bench
from edgekit.configs import BenchConfig
from edgekit.latency.doubts import DOUBTS
from tests.runtime.fake_driver.check_session import sums  # noqa: F401 (a fixture)


def test_a_budget_that_anything_keeps_does_not_pass(sums, tmp_path, driver):  # noqa: F811
    np.savez(tmp_path / "x.npz", x=np.ones((8, 1, 2), np.float32), total=np.zeros((8, 2), np.float32))
    config = BenchConfig(
        str(tmp_path / "x.npz"), budget="p50_ms<=60000", backend="trt", requests=100, cold_starts=0, allow=tuple(DOUBTS)
    )
    report = bench(sums, tmp_path / "report.json", config)
    assert report.verdict.startswith("INCONCLUSIVE (trt, edgekit fake device (compute capability 8.7))")
    assert (report.exit_code, report.findings[0].outcome) == (5, "INCONCLUSIVE")
    assert "nothing is a PASS on a fake device" in report.warnings
    table = json.loads((tmp_path / "report.json").read_text())
    assert table["environment"]["digests"].keys() == {"model", "engine"}
    assert table["absent_stages"]["h2d"].startswith("part of compute")
