"""Many restarts leave nothing behind, and the supervisor costs next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.supervise.tasks import WAIT_S

ROOT = Path(__file__).parents[3]
MEASURED = """
import gc, json, os, resource, sys, threading, time
from functools import partial
from edgekit.reports import resident_mib
from edgekit.runtime.sources import Backoff
from edgekit.runtime.supervise import Restarts, Supervisor
from tests.runtime.supervise.tasks import {task}

seen = []

def look_at(event):
    if event.kind == "{kind}":
        gc.collect()
        seen.append((len(os.listdir("/proc/self/fd")), threading.active_count(), resident_mib()))

start_s = time.monotonic()
supervisor = Supervisor({tasks}, Restarts(most={most}, within_s=1000, backoff=Backoff(0.001, 0.002)), on_event=look_at)
if {seconds}:
    threading.Timer({seconds}, supervisor.stop).start()
report = supervisor.run()
used = resource.getrusage(resource.RUSAGE_SELF)
children = open(f"/proc/self/task/{{os.getpid()}}/children").read()
print(json.dumps([seen, report.to_json(), used.ru_utime + used.ru_stime, children]))
"""


def measured(**parts) -> list:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = MEASURED.format(**parts)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=4 * WAIT_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow  # thirty Pythons are started, one after the other
def test_thirty_restarts_leave_no_zombie_no_descriptor_no_thread_and_no_memory():
    tasks = "{'see': partial(fails, 'TargetError')}"
    seen, report, _, children = measured(task="fails", tasks=tasks, kind="failed", most=30, seconds=0)
    assert report["tasks"]["see"]["restarts"] == 30 == len(seen)
    fds, threads, rss = zip(*seen, strict=True)
    assert len(set(fds[1:])) == 1
    assert set(threads) == {1}
    assert rss[-1] - rss[4] < 1
    assert children == ""


@pytest.mark.slow  # looks on for ten seconds
def test_looking_after_two_loops_costs_little():
    seen, report, cpu_s, _ = measured(
        task="look", tasks="{'see': look, 'plan': look}", kind="running", most=0, seconds=10
    )
    assert report["code"] == 0
    print(f"{cpu_s:.2f} s of CPU, {seen[-1][2]} MiB")
    assert cpu_s < 3, "of which one second is for the imports"
    assert seen[-1][2] < 80
