"""When a task is started again; and what is refused before any process is."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.runtime.sources import Backoff
from edgekit.runtime.supervise import Restarts, Supervisor, supervise
from edgekit.runtime.supervise.restarts import Ledger
from tests.runtime.supervise.tasks import look


def test_after_most_restarts_within_a_time_there_is_no_other():
    ledger = Ledger(Restarts(most=3, within_s=10))
    assert [ledger.failed(now, 0) is None for now in (0, 4, 8, 10)] == [False, False, False, True]
    assert ledger.count == 3


def test_restarts_that_are_long_ago_do_not_count():
    ledger = Ledger(Restarts(most=3, within_s=10))
    assert [ledger.failed(now, 0) is None for now in (0, 4, 8, 10.5, 14.5, 17)] == [False] * 5 + [True]


def test_pauses_grow_until_a_task_ran_well():
    backoff = Backoff(1, 100, seed=3)
    waits = [wait for wait, _ in zip(backoff.waits(), range(3), strict=False)]
    ledger = Ledger(Restarts(most=100, well_s=60, backoff=backoff))
    assert [ledger.failed(0, ran) for ran in (0, 59, 59, 60, 0)] == [*waits, *waits[:2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"most": -1}, "most: expected at least 0, found -1"),
        ({"silent_s": 0}, "silent_s: expected seconds above 0, found 0"),
        ({"grace_s": float("nan")}, "grace_s: expected seconds above 0, found nan"),
        ({"hung_s": -1}, "hung_s: expected seconds from 0 on, found -1"),
        ({"degraded_s": -1}, "degraded_s: expected seconds from 0 on, found -1"),
        ({"on_give_up": "stopp"}, "on_give_up: expected stop, continue, found 'stopp'; did you mean 'stop'?"),
    ],
)
def test_a_wrong_choice_is_refused(change, message):
    with pytest.raises(UsageError) as error:
        Restarts(**change)
    assert str(error.value) == message


def test_functions_that_no_other_process_can_import_are_refused():
    def here(worker):
        pass

    for function, name in ((lambda worker: None, "<lambda>"), (here, "here"), (functools.partial(here), "here")):
        with pytest.raises(UsageError, match=f"see: expected a function that another process can import.*{name}"):
            Supervisor({"see": look, "plan": look} | {"see": function})
    for wrong in ({"see": None}, {1: look}):
        with pytest.raises(UsageError, match="expected a name and a function of each task, found"):
            Supervisor(wrong)
    with pytest.raises(UsageError, match="at least one task"):
        Supervisor({})
    too_many = r"see: expected at most 65536 bytes of arguments, found [89]\d{4}; next: a file's name"
    with pytest.raises(UsageError, match=too_many):
        Supervisor({"see": functools.partial(look, np.zeros(10000))})


def test_a_function_that_was_typed_in_is_refused():
    code = "def see(worker): pass\nfrom edgekit.runtime.supervise import supervise\nsupervise({'see': see})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UsageError: see: expected a function of a module that can be imported, found see of __main" in done.stderr


def test_a_function_of_a_packages_main_is_refused(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__main__.py").write_text(
        "def see(worker): pass\nfrom edgekit.runtime.supervise import supervise\nsupervise({'see': see})"
    )
    env = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[3]}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-m", "app"], env=env, capture_output=True, text=True)
    assert "UsageError: see: expected a function of a module that can be imported, found see of __main" in done.stderr


@pytest.mark.parametrize(
    ("restarts", "message"),
    [
        ({"sea": Restarts()}, "restarts: expected the name of a task, found 'sea'; did you mean 'see'?"),
        ({"see": 3}, "see: expected Restarts, found 3; next: Restarts(start_s=300)"),
        (None, "see: expected Restarts, found None; next: Restarts(start_s=300)"),
    ],
)
def test_restarts_are_of_tasks_that_there_are(restarts, message):
    with pytest.raises(UsageError) as error:
        Supervisor({"see": look}, restarts)
    assert str(error.value) == message


def test_signals_are_the_main_threads():
    import threading

    found = []

    def elsewhere():
        with pytest.raises(UsageError, match="by the main thread"):
            supervise({"see": look})
        found.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found
