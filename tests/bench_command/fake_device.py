"""A bench on a driver that is played; test_bench_command.py runs it in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.bench import bench, report_lines
from edgekit.configs import BenchConfig
from edgekit.latency.doubts import DOUBTS
from tests.runtime.fake_driver.check_session import sums  # noqa: F401 (a fixture)


def arrays(folder: Path) -> str:
    """Inputs of `sums`."""
    np.savez(folder / "x.npz", x=np.ones((8, 1, 2), np.float32), total=np.zeros((8, 2), np.float32))
    return str(folder / "x.npz")


def test_a_budget_that_anything_keeps_does_not_pass(sums, tmp_path, driver):  # noqa: F811
    config = BenchConfig(
        arrays(tmp_path), budget="p50_ms<=60000", backend="trt", requests=100, cold_starts=0, allow=tuple(DOUBTS)
    )
    report = bench(sums, tmp_path / "report.json", config)
    assert report.verdict.startswith("INCONCLUSIVE (trt, edgekit fake device (compute capability 8.7))")
    assert (report.exit_code, report.findings[0].outcome) == (5, "INCONCLUSIVE")
    assert "nothing is a PASS on a fake device" in report.warnings
    table = json.loads((tmp_path / "report.json").read_text())
    assert table["environment"]["digests"].keys() == {"model", "engine"}
    assert table["absent_stages"]["h2d"].startswith("part of compute")


@pytest.mark.parametrize("backend", ["trt", "rtx"])
def test_the_stages_on_the_device_are_those_of_its_clock(sums, tmp_path, kind, driver, backend):  # noqa: F811
    """Two arrays in and two out. The clock is played, so that the figures are known and the host's are not."""
    driver.set(in_us=30, call_us=500, out_us=7)
    config = BenchConfig(arrays(tmp_path), backend=backend, requests=20, cold_starts=0)
    report = bench(sums, tmp_path / "report.json", config)
    table = json.loads((tmp_path / "report.json").read_text())
    found = table["device_stages"]
    shown = {
        name: {key: value["value"] for key, value in stage.items() if key != "mean_ms"}
        for name, stage in found["stages"].items()
    }
    wanted = {"h2d": 0.06, "compute": 0.5, "d2h": 0.014} if kind == "discrete" else {"compute": 0.5}
    assert shown.keys() == wanted.keys()
    for name, ms in wanted.items():
        assert shown[name] == pytest.approx({"p50_ms": ms, "p90_ms": ms, "p99_ms": ms}, abs=1e-6)
    own = "none: a carried state changes its address" if backend == "rtx" else "none"
    assert found["cuda_graph"].startswith(own)
    assert found["cuda_graph_of_requests"].startswith("captured" if backend == "trt" else own)
    assert found["n"] == 20 == table["n"] == len(table["latencies_ms"])
    assert found["host"]["p50_ms"]["value"] > 0
    assert table["stages"].keys() == {"wait", "pre", "compute"}, "no figure of one series stands among the other's"
    why = "part of compute: the copies" if kind == "discrete" else "nothing is copied"
    assert all(table["absent_stages"][name].startswith(why) for name in ("h2d", "d2h"))
    start = "h2d 0.06, compute 0.5, d2h 0.014;" if kind == "discrete" else "compute 0.5;"
    assert any(
        line.startswith(f"on the device in ms, 20 inferences of their own: p50 {start}")
        for line in report_lines(report)
    )
