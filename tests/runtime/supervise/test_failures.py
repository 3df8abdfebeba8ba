"""A task that dies, raises or loses its camera is started again, and says why; the others go on."""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from edgekit.errors import SessionError
from edgekit.runtime.sources import Backoff
from edgekit.runtime.supervise import Restarts, Supervisor
from tests.runtime.supervise.tasks import (
    HASTY,
    PATIENT,
    SOON,
    accounted,
    breaks_once,
    dies_when_told,
    fails,
    fails_once,
    imports_for_long,
    lingers,
    look,
    loses_camera_once,
    opens,
    running,
    runs_twice,
    see_five,
    starts_a_child,
    wait_until_gone,
)

WORDS = {
    "exits": "exit code 3",
    "exits with words": "no lens cap",
    "leaves": "exit code 4",
    "leaves with 0": "exit code 0",
    "killed": "killed by SIGKILL",
    "segfault": "killed by SIGSEGV",
    "ValueError": "ValueError: expected a lens, found",
    "DataError": "expected a lens, found none",
    "TargetError": "expected a lens, found none",
}


@pytest.mark.parametrize("how", ["exits", "segfault", "TargetError"])
def test_what_fails_is_started_again_and_says_why(how, tmp_path):
    with running({"see": partial(fails_once, how, tmp_path)}) as run:
        first = run.event("started")
        assert run.event("failed").message.startswith(f"{WORDS[how]}; again in 0.0")
        second = run.event("started")
        assert first.message != second.message
        run.event("running")
        state = run.until(lambda state: state["tasks"]["see"]["numbers"].get("processed", 0) > 0)
        assert state["tasks"]["see"]["why"] == WORDS[how]
        assert state["tasks"]["see"]["restarts"] == 1
        report = run.stopped()
    assert (report.ended, report.code) == ("stopped", 0)
    task = report.tasks["see"]
    assert (task.state, task.restarts, task.why) == ("ended", 1, WORDS[how])
    assert task.loop["ended"] == "SIGTERM"
    assert accounted(task.loop)


def test_each_way_to_fail_has_its_words(tmp_path, capfd):
    tasks = {}
    for how in WORDS:
        (tmp_path / how).mkdir()
        tasks[how] = partial(fails_once, how, tmp_path / how)
    with running(tasks, Restarts(most=0, on_give_up="continue", grace_s=30, silent_s=30)) as run:
        report = run.report()
    end = "; after 0 restarts within 300 s"
    assert {how: task.why for how, task in report.tasks.items()} == {how: words + end for how, words in WORDS.items()}
    err = capfd.readouterr().err
    assert "Fatal Python error: Segmentation fault" in err
    assert err.count("Traceback") == 1, "that of the ValueError, which nobody expected"


@pytest.mark.parametrize("error", ["UsageError", "IntegrityError", "DataError"])
def test_what_a_new_process_would_meet_again_is_given_up_at_once(error):
    with running({"see": partial(fails, error)}) as run:
        report = run.report()
    assert (report.ended, report.code) == ("given up", 1)
    task = report.tasks["see"]
    assert (task.state, task.restarts, task.why) == ("given up", 0, "expected a lens, found none")


def test_a_lost_camera_is_a_failure(tmp_path):
    with running({"see": partial(loses_camera_once, tmp_path)}) as run:
        assert run.event("failed").message.startswith("its loop ended with source lost: the cable is out; again in")
        run.event("running")
        assert run.stopped().code == 0


def test_an_error_that_only_a_new_process_is_free_of_is_a_failure(tmp_path):
    restarts = Restarts(degraded_s=0.2, grace_s=30, silent_s=30, backoff=SOON)
    with running({"see": partial(breaks_once, tmp_path)}, restarts) as run:
        said = "10 bad answers in a row: cuStreamSynchronize failed: an illegal memory access was encountered"
        assert run.event("degraded").message == said
        assert run.event("failed").message.startswith(f"degraded for 0.2 s: {said}; again in")
        run.event("running")
        state = run.until(lambda state: state["tasks"]["see"]["numbers"].get("processed", 0) > 20)
        assert state["tasks"]["see"]["state"] == "running"


def test_tasks_that_come_to_their_end_are_not_started_again():
    with running({"see": see_five, "hear": runs_twice}) as run:
        report = run.report()
    assert (report.ended, report.code) == ("tasks ended", 0)
    for task in report.tasks.values():
        assert (task.state, task.restarts, task.why) == ("ended", 0, "")
        assert task.loop["ended"] == "frames"
        assert accounted(task.loop)
    assert report.event_counts == {"started": 2, "running": 3, "stopping": 3, "ended": 2}


def test_another_task_goes_on_while_one_is_given_up(tmp_path):
    restarts = Restarts(most=2, backoff=SOON, on_give_up="continue", grace_s=30, silent_s=30)
    with running({"plan": look, "see": partial(fails, "ValueError")}, restarts) as run:
        before = run.until(lambda state: state["tasks"]["plan"]["numbers"])["tasks"]["plan"]
        given_up = run.event("given up", "see")
        assert given_up.message == "ValueError: expected a lens, found; after 2 restarts within 300 s"
        count = before["numbers"]["processed"]
        after = run.until(lambda state: state["tasks"]["plan"]["numbers"]["processed"] > count + 50)["tasks"]["plan"]
        assert (after["pid"], after["state"], after["restarts"]) == (before["pid"], "running", 0)
        report = run.stopped()
    assert (report.ended, report.code) == ("stopped", 1)
    assert report.tasks["plan"].why == ""
    assert report.tasks["see"].restarts == 2
    counts = [event.kind for event in report.events if event.source == "see"]
    assert counts == ["started", "failed", "started", "failed", "started", "given up"]


def test_where_one_is_given_up_the_others_are_stopped_in_order():
    with running({"plan": look, "see": partial(fails, "UsageError")}) as run:
        report = run.report()
    assert (report.ended, report.code) == ("given up", 1)
    assert (report.tasks["plan"].state, report.tasks["plan"].why) == ("ended", "")


def test_each_task_has_its_own_restarts():
    """One is given up at its first failure and leaves the others, one at its third, and one has what all have."""
    own = {
        "once": Restarts(most=0, on_give_up="continue", grace_s=30, silent_s=30),
        "twice": Restarts(most=2, backoff=SOON, grace_s=30, silent_s=30),
    }
    with running(
        {"once": partial(fails, "ValueError"), "twice": partial(fails, "TargetError"), "see": look}, own
    ) as run:
        assert run.event("given up", "once").message.endswith("; after 0 restarts within 300 s")
        assert run.event("given up", "twice").message.endswith("; after 2 restarts within 300 s")
        report = run.report()
    assert (report.ended, report.code) == ("given up", 1), "the second stops all"
    assert {name: task.restarts for name, task in report.tasks.items()} == {"once": 0, "twice": 2, "see": 0}
    assert report.tasks["see"].state == "ended"


def test_a_slow_task_may_take_longer_than_the_others(tmp_path):
    own = {
        "slow": PATIENT,
        "quick": Restarts(start_s=0.05, most=0, on_give_up="continue", grace_s=30, silent_s=30),
    }
    with running({"slow": look, "quick": look}, own) as run:
        assert run.event("given up", "quick").message.startswith("did not run within 0.05 s")
        run.event("running", "slow")
        assert run.stopped().tasks["slow"].why == ""


def test_a_camera_whose_name_is_wrong_is_given_up_at_once(tmp_path):
    with running({"see": partial(opens, str(tmp_path / "clap.mp4"))}) as run:
        report = run.report()
    task = report.tasks["see"]
    assert (report.ended, task.state, task.restarts) == ("given up", "given up", 0)
    found = f"found nothing at {tmp_path}/clap.mp4; next: a video file"
    assert task.why.startswith(f"its loop ended with wrong source: expected a source of frames, {found}")


@pytest.mark.skipif(Path("/dev/video97").exists(), reason="there is a camera")
def test_a_camera_that_is_not_there_yet_is_waited_for_and_why_is_told():
    pytest.importorskip("av")
    with running({"see": partial(opens, "camera:97")}, Restarts(most=0, grace_s=30, silent_s=30)) as run:
        events = run.until(lambda state: state["tasks"]["see"]["events"])["tasks"]["see"]["events"]
        report = run.stopped()
    assert (events[0]["kind"], events[0]["source"]) == ("lost", "camera:97")
    assert re.match(r"not seen yet: expected a camera at /dev/video97, found: .*No such file", events[0]["message"])
    assert (report.code, report.tasks["see"].restarts) == (0, 0), "it was told to end, and did"
    why = report.tasks["see"].why
    assert why.startswith("it never had a frame: not seen yet: expected a camera at /dev/video97, found: ")
    assert [event.message for event in report.events if event.kind == "ended"] == [why]


def test_pauses_grow():
    restarts = Restarts(most=2, backoff=Backoff(0.4, 10, seed=1), grace_s=30)
    waits = [next_s for next_s, _ in zip(Backoff(0.4, 10, seed=1).waits(), range(2), strict=False)]
    with running({"see": partial(fails, "ValueError")}, restarts) as run:
        for wait_s in waits:
            failed = run.event("failed")
            assert failed.message.endswith(f"again in {wait_s:.1f} s")
            started = run.event("started")
            assert started.at_s - failed.at_s >= wait_s
        run.event("given up")


def test_a_task_that_waits_can_be_stopped():
    with running({"see": partial(fails, "ValueError")}, Restarts(backoff=Backoff(1000, 1000))) as run:
        run.event("failed")
        state = run.until(lambda state: state["tasks"]["see"]["state"] == "waiting")
        assert state["tasks"]["see"]["pid"] is None
        report = run.stopped()
    assert (report.code, report.tasks["see"].state) == (0, "ended")
    assert report.tasks["see"].why == "ValueError: expected a lens, found"


def test_a_task_that_dies_while_it_ends_is_not_started_again_and_the_code_says_so():
    with running({"see": dies_when_told}) as run:
        run.event("running")
        report = run.stopped()
    task = report.tasks["see"]
    assert (report.code, task.state, task.restarts, task.why) == (1, "ended", 0, "killed by SIGSEGV")
    assert accounted(task.loop)


def test_what_a_dead_worker_began_is_ended_with_it(tmp_path):
    with running({"see": partial(starts_a_child, tmp_path / "pid")}) as run:
        assert run.event("failed").message.startswith("killed by SIGKILL")
        wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_process_that_stays_after_its_task_returned_is_ended(capfd):
    with running({"see": lingers}, HASTY) as run:
        assert run.event("lingers").message == "returned, but did not end within 0.3 s"
        report = run.report()
    assert (report.code, report.tasks["see"].state, report.tasks["see"].restarts) == (0, "ended", 0)
    assert accounted(report.tasks["see"].loop)
    assert "Exception ignored" not in capfd.readouterr().err


def test_a_traceback_is_written_for_an_error_that_nobody_expected(capfd):
    with running({"see": partial(fails, "ValueError")}, Restarts(most=0)) as run:
        assert run.report().tasks["see"].restarts == 0
    err = capfd.readouterr().err
    assert re.search(r'File ".*tasks.py", line \d+, in raise_', err)


def test_a_supervisor_runs_once():
    supervisor = Supervisor({"see": see_five}, PATIENT)
    supervisor.run()
    with pytest.raises(SessionError, match="has not run yet"):
        supervisor.run()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_a_stranger_ends_is_started_again(number):
    with running({"see": look}) as run:
        first = run.event("started")
        run.event("running")
        os.kill(int(first.message.split()[1]), number)
        why = {signal.SIGTERM: "ended by a signal that was not its supervisor's", signal.SIGKILL: "killed by SIGKILL"}
        assert run.event("failed").message.startswith(why[number])
        run.event("running")
        report = run.stopped()
    task = report.tasks["see"]
    assert (report.code, task.state, task.restarts, task.why) == (0, "ended", 1, why[number])
    assert task.loop["ended"] == "SIGTERM"


def test_what_an_import_raises_when_it_is_interrupted_is_no_failure():
    """A library may turn the end that it is told into an error of its own."""
    with running({"see": imports_for_long}) as run:
        run.event("started")
        run.until(lambda state: state["tasks"]["see"]["pid"] is not None)
        time.sleep(1.0)  # until it has begun to import
        report = run.stopped()
    task = report.tasks["see"]
    assert (report.code, task.state, task.why) == (0, "ended", "")
