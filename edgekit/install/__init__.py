"""A bundle becomes the one that a device runs: copied, checked on the device, and only then `current`.

    ROOT/current  -> versions/9f86d081884c7d65     what an app opens: Session.open("ROOT/current")
    ROOT/previous -> versions/60303ae22b998861     what `rollback` comes back to
    ROOT/versions/<digest of the manifest and of who signed it>/

At any instant `current` leads to a whole bundle that was verified, whatever is killed or fails. What goes wrong only
once the app runs is the app's to tell: it calls `rollback`, as its supervisor may.

Who signed what is current is remembered: without trusted keys, the next bundle needs a signature by one of the same.

An app that runs may go on with its bundle whatever is installed since: it has it in memory, and holds the ONNX open
that `on_failure="ort"` falls back to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from edgekit.bundle import MANIFEST, Trust, key_id, read_signed, trust_in, verify
from edgekit.bundle.signature import read_signatures
from edgekit.configs import InstallConfig
from edgekit.errors import EdgekitError, IntegrityError, OutputError
from edgekit.install.copying import check_space, copy
from edgekit.install.fit import check_fit
from edgekit.install.health import Health, check_golden, check_health
from edgekit.install.report import InstallReport, report_on
from edgekit.install.root import CURRENT, PREVIOUS, Root
from edgekit.install.source import Source, read_source, reading
from edgekit.reports import Progress, Stopwatch, no_progress

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
    only what is current asks for it (`_remembered`), TargetError where this device cannot run it, SessionError where it
    answers wrongly, OutputError where `root` cannot be written, is too small, or another install is under way there,
    EdgekitError where the bundle cannot be read.
    """
    watch = Stopwatch()
    trust = trust_in(config.trusted_keys or None, config.require_signature)
    source = read_source(bundle, trust)
    check_golden(config)
    fits = check_fit(source.manifest, config)
    place = Root(root)
    place.check_apart(source.path)
    place.make()
    with place.locked(config.wait):
        before = place.version_at(CURRENT)
        source, trust = _remembered(place, source, trust)
        with _cleared_on_error(place):
            place.clear(place.linked() | set(place.versions_of(source.digest)))
            name = _whole(place, source, trust)
            if name:
                source.check(trust)  # it will not be copied, and is asked about all the same
            else:
                name = place.free_name(source.digest)
                check_space(source, place.versions)
                copy(source, place.staging(name), trust, progress)
                place.settle(name)
            progress("opening and checking", 0, 0)
            health = check(place.versions / name, config)
            if name != before:
                _switch(place, [*_kept(place, before, source), (CURRENT, name)], trust)
        report = report_on(place, source, fits, health, watch)
        removed, warnings = _swept(place)
        return replace(report, replaced=before, removed=removed, warnings=report.warnings + warnings)


def rollback(
    root: Path,
    config: InstallConfig = InstallConfig(),
    progress: Progress = no_progress,
    check: Check = check_health,
) -> InstallReport:
    """Set `current` to `previous` after the same checks, and `previous` to what was current.

    Whoever signed what is current: `previous` was believed when it was installed, and is needed when the newer one
    fails. Raises EdgekitError where there is no other version to come back to, and else as `install` does.
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
        source = read_source(place.versions / back, trust)
        fits = check_fit(source.manifest, config)
        progress("opening and checking", 0, 0)
        health = check(source.path, config)
        _switch(place, [(CURRENT, back)] + [(PREVIOUS, now)] * bool(now), trust)
        return replace(report_on(place, source, fits, health, watch), replaced=now)


def _remembered(place: Root, source: Source, trust: Trust) -> tuple[Source, Trust]:
    """Where `trust` has no keys, it gets those that signed what is current: one of them must have signed `source` too.

    Else one forgotten --trusted-keys would let a stranger's bundle in. Raises IntegrityError, and TargetError where
    the package cryptography, which would tell, is not here.
    """
    keys = frozenset() if trust.keys else _keys_of_current(place)
    if not keys:
        return source, trust
    wanted, found = sorted(map(key_id, keys)), [signer.key for signer in source.signers]
    if not set(wanted) & set(found):
        raise IntegrityError(
            f"expected a signature by {' or '.join(wanted)}, which signed what is current at {place.path}, "
            f"found {' and '.join(found) or 'none'}",
            "--trusted-keys PUB",
        )
    trust = Trust(keys, required=True)
    return read_source(source.path, trust), trust  # by the whole keys, of which those were short names


def _keys_of_current(place: Root) -> frozenset[bytes]:
    """The raw public keys that signed what is current; none where it is unsigned, and where it is not there.

    Raises IntegrityError where that cannot be told: its name, which is made of the manifest and the signers, is
    another than what is found there. A signed bundle that lost its signatures is not taken for an unsigned one.
    """
    name = place.version_at(CURRENT)
    folder = place.versions / name
    if not name or not folder.is_dir():
        return frozenset()
    try:
        read = Source(folder, *read_signed(folder, Trust()), is_archive=False)
        keys = frozenset(bytes.fromhex(item.public_key) for item in read_signatures(folder))
        problem = "" if name in place.versions_of(read.digest) else "other signatures than were installed"
    except EdgekitError as error:
        problem = error.problem
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        raise IntegrityError(
            f"expected to learn who signed what is current at {place.path}, found it damaged: {problem}",
            f"--trusted-keys PUB, edgekit bundle rollback {place.path}, or another ROOT",
        )
    return keys


def _kept(place: Root, before: str, source: Source) -> list[tuple[str, str]]:
    """`previous`, set to what was current; not to what is gone, or so damaged that it was just copied anew."""
    damaged = before in place.versions_of(source.digest) or not (place.versions / before / MANIFEST).is_file()
    return [] if not before or damaged else [(PREVIOUS, before)]


def _whole(place: Root, source: Source, trust: Trust) -> str:
    """The version that has the very bytes of this bundle already; empty where there is none, or a damaged one."""
    for name in place.versions_of(source.digest):
        with contextlib.suppress(EdgekitError, OSError):
            if verify(place.versions / name, trust=trust).manifest == source.manifest:
                return name
    return ""


def _switch(place: Root, links: list[tuple[str, str]], trust: Trust) -> None:
    """Set the links one after the other, and verify what `current` leads to; put them back where that fails."""
    before = {link: place.version_at(link) for link, _ in links}
    try:
        for link, name in links:
            place.point(link, name)
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


def _swept(place: Root) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what no link names any more; the names, and a warning: the install is done, whatever stays."""
    try:
        return place.clear(place.linked()), ()
    except OutputError as error:
        return (), (f"an older version stays: {error.problem}",)
