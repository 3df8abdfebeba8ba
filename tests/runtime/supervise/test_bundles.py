"""Real bundles in supervised loops, at two rates; and one that is damaged."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgekit.runtime import Session
from edgekit.runtime.loop import Policy, StreamLoop, realtime
from tests.runtime.loop.cameras import Camera
from tests.runtime.supervise.tasks import accounted, look, running

PICTURE = np.ones((3, 8, 8), np.float32)


def at(rate: float, bundle: Path, worker) -> None:
    with Session.open(bundle) as session, realtime():
        camera = Camera(rate, 10**6, data=PICTURE)
        worker.run(StreamLoop(camera, session, policy=Policy(deadline_ms=1000 / rate, watchdog_ms=5000)))


def test_two_models_at_two_rates(small_bundle):
    tasks = {"see": partial(at, 30, small_bundle), "plan": partial(at, 10, small_bundle)}
    with running(tasks) as run:
        enough = {"see": 30, "plan": 10}
        state = run.until(
            lambda state: all(
                state["tasks"][name]["numbers"].get("processed", 0) >= count for name, count in enough.items()
            )
        )
        report = run.stopped()
    assert len({os.getpid(), *(task["pid"] for task in state["tasks"].values())}) == 3
    assert state["tasks"]["see"]["session"]["backend"] == "ort"
    assert report.code == 0
    for task in report.tasks.values():
        assert accounted(task.loop)
        assert (task.restarts, task.loop["bad"], task.loop["health"]["state"]) == (0, 0, "ready")


def with_keys(keys: Path, bundle: Path, worker) -> None:
    Session.open(bundle, trusted_keys=keys).close()


@pytest.mark.parametrize("wrong", ["bundle", "keys"])
def test_a_path_that_is_wrong_is_given_up_at_once(wrong, small_bundle, tmp_path):
    """It does not appear by itself, and who starts the robot wants to hear of it at once."""
    tasks = {
        "bundle": partial(at, 30, tmp_path / "bandle"),
        "keys": partial(with_keys, tmp_path / "no", small_bundle),
    }
    with running({"see": tasks[wrong], "plan": look}) as run:
        report = run.report()
    seen = report.tasks["see"]
    assert (report.ended, report.code, seen.state, seen.restarts) == ("given up", 1, "given up", 0)
    found = {
        "bundle": f"a bundle, a folder or an .ekb, at {tmp_path}/bandle, found none",
        "keys": f"{tmp_path}/no, found no such file",
    }
    assert found[wrong] in seen.why
    assert "; next: " in seen.why


def test_a_damaged_bundle_is_given_up_at_once(small_bundle, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle, bundle)
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with running({"see": partial(at, 30, bundle)}) as run:
        report = run.report()
    task = report.tasks["see"]
    assert (report.code, task.state, task.restarts) == (1, "given up", 0)
    assert task.why.startswith("expected SHA-256 ")
    assert "it was changed; next: get the bundle again" in task.why
