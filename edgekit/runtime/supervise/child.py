"""The main function of a worker process."""

from __future__ import annotations

import contextlib
import faulthandler
import pickle
import signal
import socket
import sys
import traceback
from multiprocessing import spawn
from typing import Any

from edgekit.errors import DataError, EdgekitError, IntegrityError, UsageError, first_line
from edgekit.runtime.sources.frame import SourceLost
from edgekit.runtime.supervise import importing, wire
from edgekit.runtime.supervise.lifeline import Lifeline
from edgekit.runtime.supervise.payload import Payload
from edgekit.runtime.supervise.worker import Worker

# A new process would meet them again. A TargetError is none of these: a camera that was reset may not be back yet.
_FINAL = (UsageError, IntegrityError)


def main() -> None:
    """`python -c … FD NAME PATH…`: see `payload.command`. Calls the task, and says how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)  # what the task starts must not keep it open
    data = line.recv(4 * wire.MOST_BYTES)
    if not data:
        return
    payload: Payload = pickle.loads(data)
    worker = Worker(payload.name, line, payload.restarts, payload.start_ns)
    try:
        _listen(worker)
        Lifeline(line, worker.tick, payload.restarts.grace_s).start()
        wire.say(line, {"state": "starting"})
        _called(payload, worker)
        end = worker.end()
    except SystemExit as error:
        end = _exited(error, worker)
    except EdgekitError as error:
        end = (
            worker.end()
            if worker.told_early
            else {"why": str(error), "final": _is_final(error, worker), "code": error.exit_code}
        )
    except BaseException as error:
        if worker.told_early:
            end = worker.end()
        else:
            traceback.print_exc()
            end = {"why": f"{type(error).__name__}: {first_line(error)}"}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending
    wire.say(line, {"end": end}, payload.restarts.grace_s)
    sys.exit(0 if end.get("good") else end.get("code", 1))


def _listen(worker: Worker) -> None:
    """SIGTERM ends the task; SIGQUIT, which the supervisor sends to what hangs, writes where all threads are."""
    signal.signal(signal.SIGTERM, worker.terminate)
    with contextlib.suppress(RuntimeError, ValueError, OSError):  # no stderr
        faulthandler.enable()
        faulthandler.register(signal.SIGQUIT)


def _called(payload: Payload, worker: Worker) -> None:
    importing.begin()
    spawn.prepare(payload.app)
    function = pickle.loads(payload.function)
    importing.end()
    function(worker)


def _is_final(error: EdgekitError, worker: Worker) -> bool:
    """The root itself is raised for a path that is wrong, such as a bundle's or a key's; DataError at first for a
    source's, and later for what came of it."""
    wrong_source = worker.starting and isinstance(error, DataError) and not isinstance(error, SourceLost)
    return wrong_source or isinstance(error, _FINAL) or type(error) is EdgekitError


def _exited(error: SystemExit, worker: Worker) -> dict[str, Any]:
    if error.code in (None, 0):
        return worker.end()
    if isinstance(error.code, int):
        return {"why": f"exit code {error.code}", "code": error.code}
    return {"why": first_line(error)}
