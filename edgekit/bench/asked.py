"""What a command line asks for, checked before anything runs."""

from __future__ import annotations

from edgekit.budget import OF_A_PROCESS, Limit, parse_budget
from edgekit.configs import BenchConfig
from edgekit.errors import UsageError
from edgekit.latency.arrivals import CLOSED, FIXED_RATE, OFFLINE, SOAK
from edgekit.latency.doubts import check_allowed

_WITHOUT_RATE = (CLOSED, OFFLINE)
_STARTS = 5  # fewer cannot show where a median is


def mode_of(config: BenchConfig) -> str:
    """The mode, which a rate decides where none is given. UsageError for one that does not go with the rate."""
    mode = config.mode or (FIXED_RATE if config.fps else CLOSED)
    if mode in _WITHOUT_RATE and config.fps:
        raise UsageError(f"expected no rate for --mode {mode}, found --fps {config.fps:g}", f"--mode {FIXED_RATE}")
    if mode not in _WITHOUT_RATE and not config.fps:
        raise UsageError(f"expected a rate for --mode {mode}, found none", "--fps N")
    if mode == SOAK and config.requests:
        raise UsageError("expected a soak to last for its --duration, found --requests", f"--mode {FIXED_RATE}")
    return mode


def limits_of(config: BenchConfig, mode: str) -> tuple[Limit, ...]:
    """The promises of the budget, if any. UsageError for one that cannot be judged in this mode, or not by timing."""
    check_allowed(config.allow)
    limits = parse_budget(config.budget) if config.budget is not None else ()
    for limit in limits:
        if limit.gate != "latency":
            raise UsageError(f"expected promises about time or memory, found {limit}", "edgekit validate")
        if limit.key in OF_A_PROCESS:
            if config.cold_starts == 0:
                raise UsageError(f"expected cold starts to judge {limit} by, found none", f"--cold-starts {_STARTS}")
        elif mode == OFFLINE:
            known = "of requests that come one by one"
            raise UsageError(f"expected a mode to judge {limit} by, {known}, found {mode}", f"--mode {CLOSED}")
        elif limit.key == "deadline_miss" and not config.fps:
            raise UsageError("expected a frame rate to judge deadline_miss by, found none", "--fps, whose period it is")
    return limits


def starts_of(config: BenchConfig, limits: tuple[Limit, ...]) -> int:
    """How many processes to start."""
    if config.cold_starts is not None:
        return config.cold_starts
    return _STARTS if any(limit.key in OF_A_PROCESS for limit in limits) else 1
