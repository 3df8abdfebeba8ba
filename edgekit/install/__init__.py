"""A bundle becomes the one that a device runs: copied, checked on the device, and only then `current`.

    ROOT/current  -> versions/9f86d081884c7d65     what an app opens: Session.open("ROOT/current")
    ROOT/previous -> versions/60303ae22b998861     what `rollback` comes back to
    ROOT/versions/<digest of the manifest and of who signed it>/
    ROOT/trusted-keys.json                         whose bundles it takes: `pin`

At any instant `current` leads to a whole bundle that was verified, whatever is killed or fails. What goes wrong only
once the app runs is the app's to tell: it calls `rollback`, as its supervisor may.

Whose signatures are believed is remembered: without trusted keys, the next bundle needs one by one of the same.

An app that runs may go on with its bundle whatever is installed since: it has it in memory, and holds the ONNX open
that `on_failure="ort"` falls back to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from edgekit.bundle import MANIFEST, Trust, trust_in, verify
from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, OutputError, TargetError
from edgekit.install.copying import check_space, copy
from edgekit.install.fit import check_fit
from edgekit.install.health import Health, check_golden, check_health
from edgekit.install.pin import disbelieved, keys_to_keep, keys_to_pin, other_schema, pinning, remembered
from edgekit.install.report import InstallReport, report_on
from edgekit.install.root import CURRENT, PREVIOUS, Root
from edgekit.install.source import Source, read_source, reading
from edgekit.reports import Progress, Stopwatch, no_progress
from edgekit.runtime.fit import EngineFit

__all__ = ["Health", "InstallReport", "check_health", "install", "rollback"]

# Opens a folder as an app would and has it answer; raises EdgekitError for a bundle that must not become current.
Check = Callable[[Path, InstallConfig], Health]


def install(
    bundle: Path,
    root: Path,
    config: InstallConfig = InstallConfig(),
    progress: Progress = no_progress,
    check: Check = check_health,
) -> InstallReport:
    """Copy the bundle, a folder or an .ekb, into `root`, check the copy, and set `current` to it.

    What was current becomes `previous`; other versions go. Until all is well `current` stays as it is, and a copy that
    is not goes away again. Raises IntegrityError for a damaged bundle and for a signature that is missing, also where
    only an earlier install asks for it (`remembered`), TargetError where this device cannot run it, SessionError where
    it answers wrongly, OutputError where `root` cannot be written, is too small, or another install is under way there,
    EdgekitError where the bundle cannot be read.
    """
    watch = Stopwatch()
    trust = trust_in(config.trusted_keys or None, config.require_signature)
    source = read_source(bundle, trust)
    check_golden(config)
    fits = _fitting(source, config, trust)
    place = Root(root)
    place.check_apart(source.path)
    place.make()
    with place.locked(config.wait):
        before = place.version_at(CURRENT)
        source, trust = remembered(place, source, trust)
        with _cleared_on_error(place):
            with contextlib.suppress(OutputError):  # what cannot be removed is told of at the end
                place.clear(place.linked() | set(place.versions_of(source.digest)))
            name = _whole(place, source, trust)
            if name:
                source.check(trust)  # it will not be copied, and is asked about all the same
            else:
                name = place.free_name(source.digest)
                check_space(source, place.versions, place.path / PREVIOUS)
                copy(source, place.staging(name), trust, progress)
                place.settle(name)
            progress("opening and checking", 0, 0)
            health = check(place.versions / name, config)
            links = [*_kept(place, before, source), (CURRENT, name)] if name != before else []
            _switch(place, links, keys_to_pin(place, name, source, trust), trust)
        report = report_on(place, source, fits, health, watch)
        removed, warnings = _swept(place)
        return replace(report, replaced=before, removed=removed, warnings=(*report.warnings, *_told(place), *warnings))


def rollback(
    root: Path,
    config: InstallConfig = InstallConfig(),
    progress: Progress = no_progress,
    check: Check = check_health,
) -> InstallReport:
    """Set `current` to `previous` after the same checks, and `previous` to what was current.

    Whoever signed what is current: `previous` was believed when it was installed, and is needed when the newer one
    fails. The next bundle still needs a signature by whom was believed until now. Raises EdgekitError where there is no
    other version to come back to, or one that only another edgekit reads, and else as `install` does.
    """
    watch = Stopwatch()
    trust = trust_in(config.trusted_keys or None, config.require_signature)
    place = Root(root)
    place.check_made()
    with place.locked(config.wait):
        now, back = place.version_at(CURRENT), place.version_at(PREVIOUS)
        if not back or back == now:
            raise EdgekitError(
                f"expected another version at {place.path / PREVIOUS} to come back to, found none",
                "edgekit bundle install BUNDLE --to ROOT",
            )
        if other := other_schema(place, back, trust):
            raise EdgekitError(
                f"expected a version to come back to at {place.path / PREVIOUS}, found {other}",
                f"edgekit bundle install BUNDLE --to {place.path}, or the edgekit that installed it",
            )
        source = read_source(place.versions / back, trust)
        fits = _fitting(source, config, trust)
        progress("opening and checking", 0, 0)
        health = check(source.path, config)
        links = [(CURRENT, back)] + [(PREVIOUS, now)] * bool(now)
        keys = keys_to_keep(place, back, trust)
        _switch(place, links, keys, trust)
        report = report_on(place, source, fits, health, watch)
        return replace(report, replaced=now, warnings=(*report.warnings, *disbelieved(source, keys)))


def _fitting(source: Source, config: InstallConfig, trust: Trust) -> tuple[EngineFit, ...]:
    try:
        return check_fit(source.manifest, config)
    except TargetError:
        source.check(trust)  # that a bundle was changed is worse than that it does not fit
        raise


def _kept(place: Root, before: str, source: Source) -> list[tuple[str, str]]:
    """`previous`, set to what was current; not to what is gone, or so damaged that it was just copied anew."""
    damaged = before in place.versions_of(source.digest) or not (place.versions / before / MANIFEST).is_file()
    return [] if not before or damaged else [(PREVIOUS, before)]


def _whole(place: Root, source: Source, trust: Trust) -> str:
    """The version that has the very bytes of this bundle already; empty where there is none, or a damaged one."""
    for name in place.versions_of(source.digest):
        with contextlib.suppress(EdgekitError, OSError):
            found = verify(place.versions / name, trust=trust)
            if (found.manifest, found.signers) == (source.manifest, source.signers):
                return name
    return ""


def _switch(place: Root, links: list[tuple[str, str]], keys: frozenset[bytes], trust: Trust) -> None:
    """Pin the keys, set the links one after the other, and verify what `current` leads to; put all back where that
    fails."""
    before = {link: place.version_at(link) for link, _ in links}
    with pinning(place, keys):
        try:
            for link, name in links:
                place.point(link, name)
            if links:
                with reading(place.path / CURRENT):
                    verify(place.path / CURRENT, trust=trust)
        except BaseException:
            for link, _ in reversed(links):
                with contextlib.suppress(OutputError):
                    place.point(link, before[link])
            raise


@contextlib.contextmanager
def _cleared_on_error(place: Root) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(EdgekitError):  # the first error is the one to tell
            place.clear(place.linked())
        raise


def _told(place: Root) -> tuple[str, ...]:
    """A warning where `rollback` does not come back to `previous`."""
    name = place.version_at(PREVIOUS)
    other = other_schema(place, name) if name else ""
    return (f"rollback does not come back to {place.path / PREVIOUS}: it is {other}",) if other else ()


def _swept(place: Root) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what no link names any more; the names, and a warning: the install is done, whatever stays."""
    try:
        return place.clear(place.linked()), ()
    except OutputError as error:
        return (), (f"an older version stays: {error.problem}",)
