"""`bench` of a bundle: the very one that was verified, and judged by what it was made for, at that rate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit import bench as room
from edgekit.bench import bench
from edgekit.bundle import archive
from edgekit.configs import BenchConfig, ValidateConfig
from edgekit.errors import IntegrityError, UsageError
from edgekit.latency.doubts import DOUBTS
from edgekit.validate import validate
from tests.validate.bundles import edited

pytest.importorskip("onnx")
CALM = tuple(DOUBTS)


def asked(small_data: Path, **more: Any) -> BenchConfig:
    return BenchConfig(**{"data": str(small_data), "requests": 60, "cold_starts": 0, "allow": CALM} | more)


def promising(small_bundle: Path, out: Path, budget: str, fps: float = 0.0) -> Path:
    return edited(small_bundle, out, budget=budget, fps=fps)


@pytest.mark.parametrize("moment", ["serving", "cold_starts", "beside"])
@pytest.mark.parametrize("source", ["bundle", "current", "b.ekb"])
def test_another_bundle_in_its_place_is_not_measured(small_bundle, small_data, tmp_path, monkeypatch, moment, source):
    """It takes that place between the check and the use, verifies as well, and is another model for all that is known.

    A link is another matter: what it led to is still there, and is what is measured.
    """
    first = shutil.copytree(small_bundle, tmp_path / "bundle")
    second = edited(small_bundle, tmp_path / "second", verdict="another")
    (tmp_path / "current").symlink_to("bundle")
    if source == "b.ekb":
        archive(first, tmp_path / "b.ekb")
        archive(second, tmp_path / "second.ekb")
        second = tmp_path / "second.ekb"
    place, real = tmp_path / source, getattr(room, moment)

    def exchanging(*given: Any) -> Any:
        if place.is_symlink():
            place.unlink()
            place.symlink_to("second")
        elif second.exists():
            place.rename(tmp_path / "aside")
            second.rename(place)
        return real(*given)

    monkeypatch.setattr(room, moment, exchanging)
    config = asked(small_data, cold_starts=int(moment == "cold_starts"))
    if moment == "beside":
        config = asked(small_data, beside=(str(place),))
    measured = small_bundle if moment == "beside" else place
    if source == "current":
        assert bench(measured, tmp_path / "report.json", config).exit_code == 0
        return
    with pytest.raises(IntegrityError, match="as it was when it was verified, found another") as error:
        bench(measured, tmp_path / "report.json", config)
    assert error.value.exit_code == 7
    assert not (tmp_path / "report.json").exists()


def test_the_rate_of_a_bundle_is_that_of_its_promises(small_bundle, small_data, tmp_path):
    bundle = promising(small_bundle, tmp_path / "bundle", "deadline_miss<=0.9,p50_ms<=60000,sqnr_db>=1", 200.0)
    report = bench(bundle, tmp_path / "report.json", asked(small_data))
    table = json.loads((tmp_path / "report.json").read_text())
    assert (report.mode, report.fps, report.deadline_ms) == ("fixed-rate", 200.0, 5.0)
    assert (table["mode"], table["fps"]) == ("fixed-rate", 200.0)
    assert [str(finding.limit) for finding in report.findings] == ["deadline_miss<=0.9", "p50_ms<=60000"]
    assert report.exit_code in (0, 5), "on a busy machine 60 requests may be worth too few"
    assert not any("was not judged" in line for line in report.warnings)


def test_a_promise_that_is_broken_at_that_rate_fails(small_bundle, small_data, tmp_path):
    """A million a second, which nothing serves: a closed loop would not see it."""
    bundle = promising(small_bundle, tmp_path / "bundle", "deadline_miss<=0.001", 1e6)
    report = bench(bundle, tmp_path / "report.json", asked(small_data, requests=300))
    assert (report.exit_code, report.findings[0].outcome) == (4, "FAIL")


@pytest.mark.parametrize(
    ("fps", "more", "mode", "left"),
    [
        (0.0, {}, "closed", "expected a frame rate to judge deadline_miss by, found none; next: --fps"),
        (
            30.0,
            {"mode": "closed"},
            "closed",
            "expected a frame rate to judge deadline_miss by, found none; next: --fps",
        ),
        (30.0, {"mode": "offline"}, "offline", "expected a mode to judge deadline_miss<=0.9 by"),
        (30.0, {"fps": 400.0}, "fixed-rate", None),
        (30.0, {"mode": "poisson", "fps": 400.0}, "poisson", None),
        (30.0, {"budget": "p50_ms<=60000"}, "closed", None),
    ],
)
def test_what_is_asked_for_decides_and_what_is_left_out_is_said(
    small_bundle, small_data, tmp_path, fps, more, mode, left
):
    bundle = promising(small_bundle, tmp_path / "bundle", "deadline_miss<=0.9", fps)
    report = bench(bundle, tmp_path / "report.json", asked(small_data, **more))
    assert (report.mode, report.fps) == (mode, more.get("fps"))
    said = [line for line in report.warnings if "was not judged" in line]
    assert len(said) == (left is not None)
    if left is not None:
        assert said[0].startswith(f"deadline_miss<=0.9, which the bundle promises, was not judged: {left}")
        assert report.verdict == "measured (ort, cpu)"


def test_each_promise_that_is_left_out_is_said(small_bundle, small_data, tmp_path):
    """But for accuracy, which `validate` judges."""
    budget = "sqnr_db>=1,p50_ms<=60000,deadline_miss<=0.9,cold_start_s<=60"
    bundle = promising(small_bundle, tmp_path / "bundle", budget)
    report = bench(bundle, tmp_path / "report.json", asked(small_data))
    said = [line.partition(",")[0] for line in report.warnings if "was not judged" in line]
    assert said == ["deadline_miss<=0.9", "cold_start_s<=60"]
    assert [finding.limit.key for finding in report.findings] == ["p50_ms"]


def test_validate_leaves_out_what_only_bench_measures(small_bundle, small_onnx, small_data, tmp_path):
    """Of the bundle's promises, not of a budget that somebody asks for."""
    bundle = promising(small_bundle, tmp_path / "bundle", "sqnr_db>=30,cold_start_s<=1e-9")
    report = judged(bundle, small_onnx, small_data)
    assert [finding.limit.key for finding in report.findings] == ["sqnr_db"]
    assert report.exit_code == 0
    assert report.warnings[0].startswith("cold_start_s<=1e-09, which the bundle promises, was not judged: ")
    assert not any("promises" in line for line in judged(bundle, small_onnx, small_data, budget="sqnr_db>=30").warnings)
    with pytest.raises(UsageError, match="expected what validate measures, found cold_start_s"):
        judged(bundle, small_onnx, small_data, budget="cold_start_s<=60")


def test_loadgen_has_no_scenario_for_a_rate(small_bundle, small_data, tmp_path):
    """`--judge loadgen` alone goes on to be a closed loop."""
    pytest.importorskip("mlperf_loadgen")
    bundle = promising(small_bundle, tmp_path / "bundle", "deadline_miss<=0.9", 30.0)
    report = bench(bundle, tmp_path / "report.json", asked(small_data, judge="loadgen"))
    assert report.mode == "closed"
    assert any("deadline_miss<=0.9, which the bundle promises, was not judged" in line for line in report.warnings)


@pytest.mark.parametrize("fps", [1e-9, 1e12])
def test_a_rate_that_nobody_can_ask_for_is_refused(small_bundle, small_data, tmp_path, fps):
    bundle = promising(small_bundle, tmp_path / "bundle", "deadline_miss<=0.9", fps)
    with pytest.raises(IntegrityError, match=r"requests a second, found 1e"):
        bench(bundle, tmp_path / "report.json", asked(small_data))


def judged(bundle: Path, small_onnx: Path, small_data: Path, **more: Any) -> Any:
    config = ValidateConfig(small_onnx, str(small_data), allow=CALM, requests=60, **more)
    return validate(bundle, bundle.with_name("report.json"), config)


def test_validate_judges_at_that_rate_too(small_bundle, small_onnx, small_data, tmp_path):
    bundle = promising(small_bundle, tmp_path / "bundle", "sqnr_db>=30,deadline_miss<=0.9", 200.0)
    report = judged(bundle, small_onnx, small_data)
    assert (report.latency.mode, report.latency.fps, report.latency.deadline_ms) == ("fixed-rate", 200.0, 5.0)
    assert [finding.limit.key for finding in report.findings] == ["sqnr_db", "deadline_miss"]
    assert judged(bundle, small_onnx, small_data, fps=400.0).latency.fps == 400.0
    assert judged(bundle, small_onnx, small_data, budget="p50_ms<=60000").latency.mode == "closed"


def test_a_rate_without_a_promise_about_time_measures_nothing(small_bundle, small_onnx, small_data, tmp_path):
    bundle = promising(small_bundle, tmp_path / "bundle", "sqnr_db>=30", 200.0)
    config = ValidateConfig(small_onnx, str(small_data))
    assert validate(bundle, tmp_path / "report.json", config).latency is None
    assert bench(bundle, tmp_path / "report.json", asked(small_data)).mode == "closed"


def test_validate_without_a_rate_says_what_it_needs(small_bundle, small_onnx, small_data, tmp_path):
    bundle = promising(small_bundle, tmp_path / "bundle", "deadline_miss<=0.9")
    with pytest.raises(UsageError, match="expected a frame rate to judge deadline_miss by, found none"):
        judged(bundle, small_onnx, small_data)


def test_a_sigterm_leaves_no_model_and_no_process(small_bundle, small_onnx, small_data, tmp_path):
    """While two models run beside it, an ONNX and an archive."""
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    work.mkdir()
    temporary.mkdir()
    archive(small_bundle, tmp_path / "b.ekb")
    words = ["bench", tmp_path / "b.ekb", "--data", small_data, "--mode", "soak", "--fps", "20", "--duration", "100"]
    more = ["--cold-starts", "0", "--beside", small_onnx, "--beside", tmp_path / "b.ekb", "--out", "report.json"]
    with subprocess.Popen(
        [sys.executable, "-m", "edgekit", *words, *more],
        cwd=work,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: len(children(process.pid)) == 2 and len(list(temporary.glob("edgekit-*"))) == 2, process)
        begun = children(process.pid)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert list(temporary.glob("edgekit-*")) == list(work.iterdir()) == []
    # One whose very start the signal broke into cannot be killed: it ends by itself, since its input is closed.
    wait_until(lambda: not any(lives(pid) for pid in begun))


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def lives(pid: str) -> bool:
    """And is not just dead without a parent that asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    def held() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        return holds()

    wait_until(held)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
