"""The state: a file that can be read at every moment, and what is said to systemd."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from edgekit.errors import OutputError
from edgekit.runtime.loop import Policy, StreamLoop
from edgekit.runtime.loop.events import Events
from edgekit.runtime.supervise import Restarts
from edgekit.runtime.supervise.state_file import StateFile
from edgekit.runtime.supervise.systemd import Notifier
from tests.runtime.loop.cameras import Camera
from tests.runtime.supervise.tasks import PATIENT, SOON, fails, hangs_for_good, look, running, see_five


def nan(worker) -> None:
    worker.run(StreamLoop(Camera(100, 10**6), lambda frames: [float("nan")], policy=Policy(bad_limit=3)))


def test_the_file_says_how_each_task_is(tmp_path):
    file = tmp_path / "state.json"
    restarts = Restarts(grace_s=30, silent_s=30, degraded_s=None)
    with running({"see": look, "guess": nan}, restarts, state=file) as run:
        run.event("degraded", "guess")
        run.until(lambda _: json.loads(file.read_text())["tasks"]["see"]["numbers"].get("processed", 0) > 20)
        written = json.loads(file.read_text())
        now = run.supervisor.state()
        report = run.stopped()
    assert abs(written["written_unix_s"] - time.time()) < 30
    assert (written["pid"], written["state"]) == (os.getpid(), "running")
    see, guess = written["tasks"]["see"], written["tasks"]["guess"]
    assert (see["state"], see["restarts"], see["why"]) == ("running", 0, "")
    assert (see["pid"], guess["pid"]) == (now["tasks"]["see"]["pid"], now["tasks"]["guess"]["pid"])
    assert 0 < see["age_ms"]["now"] < 30_000, "a frame a hundredth of a second"
    assert 0 < see["age_ms"]["p50"] <= see["age_ms"]["p99"] <= see["age_ms"]["max"]
    assert guess["age_ms"]["now"] is None, "it had no good answer"
    numbers = see["numbers"]
    assert numbers["captured"] == numbers["processed"] + numbers["under_way"] + numbers["dropped"] + numbers["waiting"]
    assert numbers["processed"] > 20
    assert numbers["sources"]["front"]["captured"] == numbers["captured"]
    assert 0 < see["seconds"] <= written["seconds"]
    assert (guess["state"], [event["kind"] for event in guess["events"]]) == ("degraded", ["bad", "degraded"])
    clock = [
        *(event["at_s"] for event in written["events"] if (event["kind"], event["source"]) == ("started", "guess")),
        *(event["at_s"] for event in guess["events"]),
        *(event["at_s"] for event in written["events"] if (event["kind"], event["source"]) == ("degraded", "guess")),
    ]
    assert clock == sorted(clock)
    assert len(clock) == 4, "one clock for the supervisor and the loops"
    assert {event["task"] for event in guess["events"]} == {"guess"}
    assert {"started", "running", "degraded"} <= {event["kind"] for event in written["events"]}
    last = json.loads(file.read_text())
    assert (last["state"], last["tasks"]["see"]["state"]) == ("ended", "ended")
    assert last["tasks"]["see"]["numbers"]["processed"] == report.tasks["see"].loop["processed"]


def test_the_age_of_an_answer_grows_while_its_process_says_nothing(tmp_path):
    """It holds Python's lock, so that nothing of it can say how old the answer is: the file does all the same."""
    with running({"see": hangs_for_good}, PATIENT, state=tmp_path / "state.json") as run:
        run.until(lambda state: (state["tasks"]["see"]["age_ms"].get("now") or 0) > 3000)
        ages = json.loads((tmp_path / "state.json").read_text())["tasks"]["see"]["age_ms"]
    assert ages["now"] > 1500, "the file is a second behind at most"
    assert ages["max"] < ages["now"]


def test_the_file_can_be_read_at_every_moment(tmp_path):
    file, stop, read = tmp_path / "state.json", threading.Event(), []

    def reader():
        while not stop.wait(0.0005):
            read.append(json.loads(file.read_text())["tasks"]["see"]["state"])

    restarts = Restarts(most=4, backoff=SOON, grace_s=30)
    with running({"see": partial(fails, "ValueError")}, restarts, state=file) as run:
        thread = threading.Thread(target=reader)
        thread.start()
        run.report()
        stop.set()
        thread.join()
    assert {"starting", "waiting"} <= set(read)
    assert len(read) > 100
    assert json.loads(file.read_text())["tasks"]["see"]["state"] == "given up"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_file_that_cannot_be_written_is_refused_at_first_and_an_event_later(tmp_path):
    with pytest.raises(OutputError, match="expected to be able to write"), running({"see": look}, state="/proc/no"):
        pass
    file = tmp_path / "folder/state.json"
    with running({"see": look}, state=file) as run:
        run.event("running")
        while not file.is_dir():  # it may be written anew in between
            file.unlink()
            with contextlib.suppress(FileExistsError):
                file.mkdir()
        assert f" {file}, " in run.event("state not written").message
        time.sleep(1.5)
        report = run.stopped()
    assert report.code == 0
    assert report.event_counts["state not written"] == 1


def messages(line: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found += line.recv(4096, socket.MSG_DONTWAIT).decode().splitlines()
        except BlockingIOError:
            return found


@pytest.mark.parametrize("address", ["{}/notify", pytest.param("@{}", marks=pytest.mark.slow)])
def test_systemd_hears_that_it_is_ready_alive_and_stopping(tmp_path, monkeypatch, address):
    name = address.format(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        with running({"see": look, "plan": see_five}, PATIENT) as run:
            run.until(lambda state: [task["state"] for task in state["tasks"].values()] == ["running", "ended"])
            start_s = time.monotonic()
            later = messages(line)
            alive = 0
            # Of the first a busy machine may lose some: the queue is short, and nobody read it.
            while alive < 5 or "STATUS=see running, plan ended" not in later:
                assert time.monotonic() < start_s + 60
                time.sleep(0.05)
                found = messages(line)
                alive += found.count("WATCHDOG=1")
                later += found
            took_s = time.monotonic() - start_s
            run.stopped()
        last = messages(line)
    assert "starting" not in later[later.index("READY=1") + 1], "the status that came with it"
    assert alive <= took_s / 0.2 + 2, "as often as it is asked for, and no more"
    assert "READY=1" in later
    assert "STATUS=see running, plan ended" in later
    assert "STOPPING=1" in last
    assert all(re.fullmatch(r"READY=1|WATCHDOG=1|STOPPING=1|STATUS=[a-z ,]+", line) for line in (*later, *last))


def test_without_systemd_nothing_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    assert Notifier().every_s is None
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    monkeypatch.setenv("WATCHDOG_PID", "1")
    notifier = Notifier()
    notifier.say("READY=1")
    assert notifier.every_s is None, "the watchdog is another process's"


def test_a_disk_that_breaks_while_it_is_written_is_an_event(tmp_path, monkeypatch):
    events = Events()
    state = StateFile(tmp_path / "state.json", {}, events)

    def broken(path, data):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", broken)
        state.write({"tasks": {}})
        state.write({"tasks": {}})
    state.write({"tasks": {"see": {}}})
    assert [(event.kind, "Input/output error" in event.message) for event in events.last()] == [
        ("state not written", True)
    ]
    assert json.loads((tmp_path / "state.json").read_text())["tasks"] == {"see": {}}
