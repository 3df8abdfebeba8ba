"""What an install came to."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.bundle import Signer, signed_by
from edgekit.install.health import Health
from edgekit.install.root import CURRENT, Root
from edgekit.install.source import Source
from edgekit.reports import StageReport, Stopwatch, peak_rss_mib
from edgekit.runtime.fit import REBUILD, EngineFit, mismatch


@dataclass(frozen=True)
class InstallReport(StageReport):
    """`path` is ROOT/current, `version` the folder that it leads to.

    `replaced` is what it led to before: the same where that was current already, empty where there was none. `engines`
    are beside this device; `health` is what the check found. `removed` are versions that no link names any more.
    """

    version: str
    replaced: str
    removed: tuple[str, ...]
    verdict: str
    signers: tuple[Signer, ...]
    engines: tuple[EngineFit, ...]
    health: Health

    @property
    def signed(self) -> str:
        """The signers in one line."""
        return signed_by(self.signers)


def report_on(
    place: Root, source: Source, fits: tuple[EngineFit, ...], health: Health, watch: Stopwatch
) -> InstallReport:
    """The report on what is current now, as if nothing had been so before."""
    return InstallReport(
        path=place.path / CURRENT,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=_warnings(fits, health),
        version=place.version_at(CURRENT),
        replaced="",
        removed=(),
        verdict=source.manifest.verdict,
        signers=source.signers,
        engines=fits,
        health=health,
    )


def _warnings(fits: tuple[EngineFit, ...], health: Health) -> tuple[str, ...]:
    if not fits or health.engine:
        return ()
    told = mismatch(fits)
    why = "" if health.reason == told else f" ({health.reason})"
    return (f"no engine of the bundle runs here, onnxruntime does{why}: {told}; next: {REBUILD}",)
