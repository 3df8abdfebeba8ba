"""A supervised app as a process: signals, Ctrl-C for a whole group, and the death of the supervisor itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.runtime.supervise.tasks import WAIT_S, accounted, alive, wait_until_gone

ROOT = Path(__file__).parents[3]
APP = """
import json, subprocess, sys, time
from edgekit.runtime.loop import Policy, StreamLoop
from edgekit.runtime.supervise import Restarts, supervise
from tests.runtime.loop.cameras import Camera, number_of
from tests.runtime.supervise.tasks import beats, sleep_with_the_lock


def see(worker):
    report = worker.run(StreamLoop(Camera(100, 10**6), number_of))
    open(sys.argv[1] + ".ended", "w").write(report.ended)


def hang(frames):
    if frames[0].number > 5:
        time.sleep(1000)
    return [0]


def hang_with_the_lock(frames):
    if frames[0].number > 100:  # once the supervisor has seen it run
        open(sys.argv[1] + ".hangs", "w").close()
        sleep_with_the_lock()
    return [0]


def hangs(worker):
    child = subprocess.Popen(["sleep", "1000"])  # as a decoder that holds the camera
    open(sys.argv[1] + ".child", "w").write(str(child.pid))
    worker.run(StreamLoop(Camera(100, 10**6), hang, policy=Policy(watchdog_ms=100)))


def hangs_with_the_lock(worker):
    worker.run(StreamLoop(Camera(100, 10**6), hang_with_the_lock, policy=Policy(watchdog_ms=100)))


if __name__ == "__main__":
    tasks = {name: globals()[name] for name in sys.argv[2].split(",")}
    report = supervise(tasks, Restarts(**json.loads(sys.argv[3])), state=sys.argv[1])
    print(json.dumps(report.to_json()))
    sys.exit(report.code)
"""


class App:
    """The script above, in a group of its own as a shell's job is; `state` is what its file says."""

    def __init__(self, folder: Path, tasks: str, **restarts):
        (folder / "app.py").write_text(APP)
        self.file = folder / "state.json"
        self.process = subprocess.Popen(
            [sys.executable, folder / "app.py", self.file, tasks, json.dumps(restarts)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pids: list[int] = []

    def until(self, condition) -> dict:
        end_s = time.monotonic() + WAIT_S
        while True:
            state = json.loads(self.file.read_text()) if self.file.exists() else None
            if state and all(condition(task) for task in state["tasks"].values()):
                self.pids = [task["pid"] for task in state["tasks"].values()]
                return state
            assert time.monotonic() < end_s, state
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def end(self) -> dict:
        out, self.err = self.process.communicate(timeout=WAIT_S)
        wait_until_gone(*self.pids)
        return json.loads(out) if out else {}


@pytest.fixture
def app(tmp_path):
    made = []

    def make(tasks: str, **restarts) -> App:
        made.append(App(tmp_path, tasks, **restarts))
        return made[-1]

    yield make
    for each in made:
        for pid in (each.process.pid, *each.pids):
            if pid is not None and alive(pid):
                os.kill(pid, signal.SIGKILL)
        each.process.communicate()


def runs(task: dict) -> bool:
    return task["state"] == "running" and bool(task["numbers"])


@pytest.mark.parametrize(
    ("number", "whole_group"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGINT, True)]
)
def test_a_signal_ends_all_tasks_in_order_with_reports_and_code_0(app, number, whole_group):
    running = app("see,beats", grace_s=30)
    running.until(runs)
    (os.killpg if whole_group else os.kill)(running.process.pid, number)
    report = running.end()
    assert (running.process.returncode, running.err) == (0, "")
    assert (report["ended"], report["code"]) == (number.name, 0)
    assert [task["state"] for task in report["tasks"].values()] == ["ended", "ended"]
    assert report["tasks"]["see"]["loop"]["ended"] == "SIGTERM"
    assert accounted(report["tasks"]["see"]["loop"])
    assert json.loads(running.file.read_text())["state"] == "ended"


def test_a_signal_to_every_process_at_once_as_systemd_sends_it_ends_them_in_order(app):
    running = app("see,beats", grace_s=30)
    for pid in running.until(runs) and running.pids:
        os.kill(pid, signal.SIGINT)  # that one is the supervisor's
    running.until(lambda task: task["seconds"] > 2)
    for pid in (*running.pids, running.process.pid, *running.pids):
        os.kill(pid, signal.SIGTERM)
    report = running.end()
    assert (running.process.returncode, running.err) == (0, "")
    assert [(task["state"], task["restarts"]) for task in report["tasks"].values()] == [("ended", 0)] * 2
    assert accounted(report["tasks"]["see"]["loop"])


def test_a_signal_while_workers_start_ends_them_in_order(app):
    running = app("see,beats", grace_s=30)
    running.until(lambda task: task["state"] == "starting")
    os.killpg(running.process.pid, signal.SIGINT)
    report = running.end()
    assert (running.process.returncode, running.err) == (0, "")
    assert report["ended"] == "SIGINT"


def test_a_second_signal_kills_at_once(app):
    running = app("see,hangs", grace_s=1000, hung_s=1000)
    running.until(lambda task: task["state"] in ("running", "hung") and task["numbers"].get("processed", 0) > 5)
    running.process.send_signal(signal.SIGINT)
    running.until(lambda task: task["state"] in ("stopping", "ended"))
    time.sleep(1)  # sooner it would be an echo of the first
    running.process.send_signal(signal.SIGINT)
    report = running.end()
    assert (running.process.returncode, running.err) == (130, "")
    assert report["tasks"]["hangs"]["why"] == "killed by SIGKILL"


@pytest.mark.parametrize("gap_s", [0, 0.002, 0.02])
def test_a_pair_of_signals_as_a_launcher_sends_it_ends_all_tasks_in_order(app, gap_s):
    running = app("see,beats", grace_s=30)
    running.until(runs)
    for _ in range(2):
        running.process.send_signal(signal.SIGINT)
        time.sleep(gap_s)
    report = running.end()
    assert (running.process.returncode, running.err) == (0, "")
    assert (report["ended"], report["tasks"]["see"]["loop"]["ended"]) == ("SIGINT", "SIGTERM")
    assert accounted(report["tasks"]["see"]["loop"])


@pytest.mark.parametrize(
    "tasks",
    ["see,beats", "hangs", pytest.param("hangs_with_the_lock", marks=pytest.mark.slow)],  # waits for the alarm
)
def test_no_worker_outlives_a_supervisor_that_is_killed(app, tasks):
    running = app(tasks, grace_s=30 if tasks == "see,beats" else 1, silent_s=5, hung_s=1000)
    running.until(lambda task: task["state"] in ("running", "hung") and task["numbers"])
    if tasks == "hangs":
        running.until(lambda task: task["state"] == "hung")
        running.pids.append(int((running.file.with_name("state.json.child")).read_text()))
    elif tasks == "hangs_with_the_lock":
        running.until(lambda task: running.file.with_name("state.json.hangs").exists())
    assert all(map(alive, running.pids))
    running.process.kill()
    start_s = time.monotonic()
    running.end()
    assert "Traceback" not in running.err
    if tasks == "see,beats":
        assert running.file.with_name("state.json.ended").read_text() == "SIGTERM", "in order"
    # The kernel's alarm was set for silent_s, grace_s and two seconds more at the last tick before the hang.
    assert tasks != "hangs_with_the_lock" or time.monotonic() - start_s < 30


def test_a_script_without_a_main_guard_is_told_so_once(tmp_path):
    script = tmp_path / "app.py"
    script.write_text(
        textwrap.dedent("""
            from edgekit.runtime.supervise import supervise
            def see(worker): pass
            report = supervise({"see": see})
            print(report.tasks["see"].restarts, report.tasks["see"].why)
        """)
    )
    command = [sys.executable, script]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == (
        "0 expected the supervisor to be started by the script alone, found it started by a worker's import; "
        'next: supervise(…) below if __name__ == "__main__":\n'
    )


def test_what_the_script_fails_to_import_in_a_worker_is_said(tmp_path):
    (tmp_path / "lens.py").write_text(
        "import sys\nif sys.argv[0] != '-c': import no_such_lens\ndef see(worker): pass\n"
    )
    code = "import sys, lens; sys.argv = ['app']\n"
    code += "from edgekit.runtime.supervise import Restarts, supervise\n"
    code += "print(supervise({'see': lens.see}, Restarts(most=0)).tasks['see'].why)"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.startswith("ModuleNotFoundError: No module named 'no_such_lens'")


def test_an_error_of_the_parent_itself_leaves_no_worker(tmp_path):
    code = """
import signal, sys
from edgekit.runtime.supervise import Supervisor
from tests.runtime.supervise.tasks import look

def interrupt(event):
    if event.kind == "running":
        print(supervisor.state()["tasks"]["see"]["pid"], flush=True)
        raise KeyboardInterrupt

supervisor = Supervisor({"see": look}, on_event=interrupt)
supervisor.run()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=WAIT_S)
    assert done.stderr.endswith("KeyboardInterrupt\n")
    wait_until_gone(int(done.stdout))
