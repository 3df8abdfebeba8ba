"""A task that hangs, in its loop, at its start or its end, with Python's lock or without, is started again."""

from __future__ import annotations

from functools import partial

import pytest

from edgekit.runtime.supervise import Restarts
from tests.runtime.supervise.tasks import (
    HASTY,
    SOON,
    beats,
    beats_no_more_once,
    hangs_at_start_once,
    hangs_once,
    look,
    running,
    stays,
)

HOW = ("without the lock", "with the lock")


@pytest.mark.parametrize("how", HOW)
def test_a_hang_is_ended_shown_on_stderr_and_the_other_task_goes_on(how, tmp_path, capfd):
    with_lock = how == "with the lock"
    restarts = Restarts(grace_s=0.3, silent_s=3, hung_s=0.1, backoff=SOON) if with_lock else HASTY
    with running({"see": partial(hangs_once, how, tmp_path), "plan": look}, restarts) as run:
        plan = run.until(lambda state: state["tasks"]["plan"]["numbers"])["tasks"]["plan"]
        if not with_lock:
            assert run.event("hung").message.startswith("expected an inference within 100 ms, running for 1")
        ending = run.event("ending")
        killed = run.event("killed")
        assert killed.message == "0.3 s after SIGTERM"
        assert killed.at_s >= ending.at_s + 0.3, "it is said when it is seen"
        why = "said nothing for 3 s" if with_lock else "hung for 0.1 s: expected an inference within 100 ms"
        assert ending.message.startswith(why)
        assert run.event("failed").message.startswith(why)
        run.event("running", "see")
        count = plan["numbers"]["processed"]
        after = run.until(lambda state: state["tasks"]["plan"]["numbers"]["processed"] > count + 20)["tasks"]["plan"]
        assert (after["pid"], after["restarts"]) == (plan["pid"], 0)
    assert ", in work\n" in capfd.readouterr().err.replace(" in work", ", in work"), "the line that hangs"


@pytest.mark.parametrize("how", HOW)
def test_a_hang_at_the_start_is_ended(how, tmp_path):
    restarts = Restarts(start_s=4, grace_s=0.3, silent_s=30, backoff=SOON)
    with running({"see": partial(hangs_at_start_once, how, tmp_path)}, restarts) as run:
        assert run.event("failed").message.startswith("did not run within 4 s")
        run.event("running")


def test_a_task_that_does_not_end_after_its_loop_is_ended():
    restarts = Restarts(start_s=4, grace_s=30, silent_s=0.5, most=0)
    with running({"see": stays}, restarts) as run:
        assert run.event("stopping")
        assert run.report().tasks["see"].why.startswith("its loop ended, but the task did not within 4 s")


def test_a_task_that_beats_no_more_is_ended(tmp_path):
    restarts = Restarts(silent_s=1, grace_s=0.3, backoff=SOON)
    with running({"act": partial(beats_no_more_once, tmp_path)}, restarts) as run:
        assert run.event("failed").message.startswith("said nothing for 1 s")
        run.until(lambda state: state["tasks"]["act"]["numbers"].get("turn", 0) > 10)


def test_a_task_that_beats_is_interrupted_at_a_beat():
    with running({"act": beats}) as run:
        state = run.until(lambda state: state["tasks"]["act"]["numbers"].get("turn", 0) > 10)
        assert state["tasks"]["act"]["state"] == "running"
        report = run.stopped()
    assert (report.code, report.tasks["act"].state, report.tasks["act"].why) == (0, "ended", "")


def test_what_does_not_end_when_told_to_is_killed_and_the_code_says_so(tmp_path):
    with running({"see": partial(hangs_once, "without the lock", tmp_path)}, Restarts(grace_s=0.3, hung_s=1000)) as run:
        run.event("hung")
        report = run.stopped()
    assert (report.ended, report.code) == ("stopped", 1)
    assert (report.tasks["see"].state, report.tasks["see"].why) == ("ended", "killed by SIGKILL")
    assert report.tasks["see"].loop == {}
