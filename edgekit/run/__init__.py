"""A bundle on real input: samples one after the other, or a camera, video or microphone as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.configs import RunConfig
from edgekit.errors import UsageError
from edgekit.reports import StageReport, Stopwatch, called, peak_rss_mib, plain
from edgekit.run.live import Answered, check_options, is_live, run_live
from edgekit.run.samples import Frame, frames
from edgekit.runtime import Session

__all__ = ["Answered", "Frame", "RunReport", "run"]

Show = Callable[["Frame | Answered | str"], None]


@dataclass(frozen=True)
class RunReport(StageReport):
    """`path` is the bundle; nothing is written. `frames` are the samples; a loop has its own report instead."""

    backend: str
    device: str
    reason: str
    frames: tuple[Frame, ...]
    loop: dict[str, Any] | None
    failed: str

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"stage": "run", **plain(self)}


def run(bundle: Path, config: RunConfig, show: Show = lambda shown: None) -> RunReport:
    """Run the bundle on `config.source`; `show` hears of each answer, and of what happens besides, in words.

    A loop ends with its source, in time, or with the first SIGINT or SIGTERM, and `failed` says so where it had to end.
    Raises DataError for a source that does not fit, IntegrityError and TargetError as `Session.open` does.
    """
    watch = Stopwatch()
    if not config.source:
        raise UsageError("expected something to run on, found no source", "--source FILE_OR_FOLDER")
    trusted, required = config.trusted_keys or None, config.require_signature
    if config.answers is not None and config.answers.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(f"expected answers outside of the bundle, found {config.answers}", "another place")
    with Session.open(bundle, config.backend, trusted_keys=trusted, require_signature=required) as session:
        samples: list[Frame] = []
        live = is_live(session, config)
        check_options(config, live=live)
        loop = run_live(session, config, show, name=called(bundle)) if live else None
        if loop is None:
            for frame in frames(session, config):
                show(frame)
                samples.append(frame)
        health = loop.health if loop is not None else session.health()
    return RunReport(
        path=bundle,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=(),
        backend=str(health["backend"]),
        device=str(health["device"]),
        reason=str(health["reason"]),
        frames=tuple(samples),
        loop=loop.to_json() if loop is not None else None,
        failed=": ".join(filter(None, (loop.failed, loop.last_trouble))) if loop is not None and loop.failed else "",
    )
