"""What a loop does when frames come too fast, answers are wrong, or an inference does not end."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UsageError, nearest

BUFFERS = ("latest", "fifo", "every")
ON_BAD = ("hold", "pass", "stop")


@dataclass(frozen=True)
class Policy:
    """Every choice of a loop.

    buffer            "latest": the newest frame, what it replaced is dropped; "fifo": each, as long as `capacity` lasts
                      "every": none is dropped, the source waits, as only a recording can
    capacity          how many frames wait at most in a "fifo", where then the oldest is dropped, or in an "every"
    deadline_ms       an answer that is older than this, from its capture on, missed its deadline
    watchdog_ms       an inference, or what sinks do with it, that takes longer is reported as hung; None for never
    wait_ms           how long several cameras wait for the slowest of them; one without a frame by then is left out,
                      and heard of again with its next frame
    on_bad            NaN, infinity, a failed inference: "hold" the last good answer, "pass" on what there is; "stop"
                      holds up to `bad_limit`
    bad_limit         after so many bad answers in a row the loop is degraded, or stops
    top               how many labels of a classifier an answer has
    reset_on_gap      a network with states begins anew where a frame is missing; "fifo" loses fewer
    sink_error_limit  after so many errors of one sink in a row the loop stops
    silent_ms         a source without a frame for so long is reported, and the loop is blind; None for never
    """

    buffer: str = "latest"
    capacity: int = 8
    deadline_ms: float | None = None
    watchdog_ms: float | None = 1000.0
    wait_ms: float = 5.0
    on_bad: str = "hold"
    bad_limit: int = 10
    top: int = 1
    reset_on_gap: bool = True
    sink_error_limit: int = 10
    silent_ms: float | None = 5000.0

    def __post_init__(self) -> None:
        for field, known in (("buffer", BUFFERS), ("on_bad", ON_BAD)):
            if getattr(self, field) not in known:
                value = str(getattr(self, field))
                raise UsageError(f"{field}: expected {', '.join(known)}, found {value!r}; {nearest(value, known)}")
        for field in ("capacity", "bad_limit", "sink_error_limit", "top"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 1:
                raise UsageError(f"{field}: expected a whole number from 1 on, found {getattr(self, field)!r}")
        for field in ("deadline_ms", "watchdog_ms", "silent_ms"):
            limit = getattr(self, field)
            if limit is not None and not limit > 0:
                raise UsageError(f"{field}: expected milliseconds above 0, or None, found {limit:g}")
        if not self.wait_ms >= 0:
            raise UsageError(f"wait_ms: expected milliseconds from 0 on, found {self.wait_ms:g}")
