"""`edgekit doctor --gpu`: what only a GPU can show, tried here, or listed as not run with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.budget import FAKE_DEVICE
from edgekit.device import find_gpus
from edgekit.errors import EdgekitError, TargetError
from edgekit.reports import Progress, no_progress
from edgekit.selftest.checks import NotRun, driver, engine, graph, kernels, state

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"

_CHECKS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("driver", "a CUDA context opens, and what goes to the device comes back the same", driver),
    ("graph", "a CUDA graph is captured and replayed", graph),
    ("engine", "TensorRT builds an engine for this GPU, and it says what onnxruntime says, at three batches", engine),
    ("state", "a state that stays on the GPU says what onnxruntime says, after 50 steps", state),
    ("kernels", "edgekit's own kernels compute what they are defined to", kernels),
)


@dataclass(frozen=True)
class Check:
    """One thing that was tried: `outcome` is passed, failed or not run, `detail` says what was found, or why not."""

    name: str
    what: str
    outcome: str
    detail: str

    def __str__(self) -> str:
        return f"{self.outcome:<8} {self.name}: {self.what}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True)
class SelfTest:
    """All checks in their order. `exit_code` is 1 where one failed, 6 where nothing could run, else 0."""

    checks: tuple[Check, ...]
    exit_code: int


def selftest(progress: Progress = no_progress) -> SelfTest:
    """Try each check on the first GPU; without one, list them."""
    gpus = find_gpus().gpus
    missing = "" if gpus else "no GPU here"
    fake = bool(gpus) and FAKE_DEVICE in (gpus[0].name or "")
    done = []
    for number, (name, what, check) in enumerate(_CHECKS):
        progress(name, number, len(_CHECKS))
        tried = Check(name, what, NOT_RUN, missing) if missing else _tried(name, what, check)
        if fake and tried.outcome == PASSED:
            tried = Check(name, what, NOT_RUN, f"tried on a {FAKE_DEVICE} alone: {tried.detail}")
        done.append(tried)
    outcomes = {check.outcome for check in done}
    return SelfTest(tuple(done), 1 if FAILED in outcomes else 0 if PASSED in outcomes else TargetError.exit_code)


def _tried(name: str, what: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, what, PASSED, check())
    except NotRun as reason:
        return Check(name, what, NOT_RUN, str(reason))
    except EdgekitError as error:
        return Check(name, what, FAILED, str(error))
