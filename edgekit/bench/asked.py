"""What a command line asks for, checked before anything runs."""

from __future__ import annotations

from dataclasses import replace

from edgekit.bench.judging import check_judge
from edgekit.budget import OF_A_PROCESS, Limit, parse_budget
from edgekit.configs import BenchConfig
from edgekit.errors import UsageError
from edgekit.latency.arrivals import CLOSED, FIXED_RATE, OFFLINE, SOAK
from edgekit.latency.doubts import check_allowed
from edgekit.validate.subject import Subject

_WITHOUT_RATE = (CLOSED, OFFLINE)
_STARTS = 5  # fewer cannot show where a median is


def mode_of(config: BenchConfig) -> str:
    """The mode, which a rate decides where none is given.

    UsageError for one that does not go with the rate or the judge, TargetError for a judge that is not installed.
    """
    mode = config.mode or (FIXED_RATE if config.fps else CLOSED)
    if mode in _WITHOUT_RATE and config.fps:
        raise UsageError(f"expected no rate for --mode {mode}, found --fps {config.fps:g}", f"--mode {FIXED_RATE}")
    if mode not in _WITHOUT_RATE and not config.fps:
        raise UsageError(f"expected a rate for --mode {mode}, found none", "--fps N")
    if mode == SOAK and config.requests:
        raise UsageError("expected a soak to last for its --duration, found --requests", f"--mode {FIXED_RATE}")
    check_allowed(config.allow)
    check_judge(config, mode)
    return mode


def at_its_rate(config: BenchConfig, subject: Subject) -> BenchConfig:
    """The `config`, where it says nothing of a rate with the one that the bundle's promises were made at.

    LoadGen has no scenario for such a rate: who asks for it gets what it asks for.
    """
    if config.fps or config.mode or config.judge or config.budget is not None:
        return config
    return replace(config, fps=subject.rate_of(subject.promises))


def limits_of(config: BenchConfig, mode: str, promises: tuple[Limit, ...] = ()) -> tuple[Limit, ...]:
    """The promises of the budget, else those of the bundle that can be judged here.

    UsageError for one of the budget that cannot be judged in this mode, or not by timing.
    """
    if config.budget is None:
        return tuple(limit for limit in promises if not _obstacle(limit, config, mode))
    limits = parse_budget(config.budget)
    for limit in limits:
        obstacle = _obstacle(limit, config, mode)
        if obstacle:
            raise UsageError(*obstacle)
    return limits


def left_out(config: BenchConfig, mode: str, promises: tuple[Limit, ...]) -> list[str]:
    """Why a promise of the bundle about time or memory is not judged, a line for each; accuracy is validate's."""
    timed = promises if config.budget is None else ()
    found = ((limit, _obstacle(limit, config, mode)) for limit in timed if limit.gate == "latency")
    return [
        f"{limit}, which the bundle promises, was not judged: {why[0]}; next: {why[1]}" for limit, why in found if why
    ]


def _obstacle(limit: Limit, config: BenchConfig, mode: str) -> tuple[str, str] | None:
    """Why a promise cannot be judged, and what to do about it."""
    if limit.gate != "latency":
        return f"expected promises about time or memory, found {limit}", "edgekit validate"
    if limit.key in OF_A_PROCESS:
        if config.cold_starts == 0:
            return f"expected cold starts to judge {limit} by, found none", f"--cold-starts {_STARTS}"
    elif mode == OFFLINE:
        known = "of requests that come one by one"
        return f"expected a mode to judge {limit} by, {known}, found {mode}", f"--mode {CLOSED}"
    elif limit.key == "deadline_miss" and not config.fps:
        return "expected a frame rate to judge deadline_miss by, found none", "--fps, whose period it is"
    return None


def starts_of(config: BenchConfig, limits: tuple[Limit, ...]) -> int:
    """How many processes to start."""
    if config.cold_starts is not None:
        return config.cold_starts
    return _STARTS if any(limit.key in OF_A_PROCESS for limit in limits) else 1
