"""The folder that bundles are installed into: one folder a version, and two links that each change by one rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterator, Set
from pathlib import Path

from edgekit.errors import EdgekitError, OutputError
from edgekit.files import sync

CURRENT, PREVIOUS = "current", "previous"
_VERSIONS, _LOCK, _PART = "versions", ".lock", ".part"
# A digest, and a number where a damaged version has the plain one. Other folders are not ours to remove.
_NAME = re.compile(r"([0-9a-f]{16})(-[0-9]+)?")
_POLL_S = 0.02


class Root:
    """All methods that change something are called under `locked`. They raise OutputError where the system refuses."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self.versions = self.path / _VERSIONS

    def check_apart(self, bundle: Path) -> None:
        """Raise OutputError for a root that lies in the bundle, which would be another bundle then."""
        if self.path.is_relative_to(os.path.realpath(bundle)):
            raise OutputError(f"expected ROOT outside of the bundle, found {self.path}", "another ROOT")

    def check_made(self) -> None:
        """Raise EdgekitError where nothing was installed."""
        if not self.versions.is_dir():
            raise EdgekitError(
                f"expected a folder of installed bundles at {self.path}, found none",
                "edgekit bundle install BUNDLE --to ROOT",
            )

    def make(self) -> None:
        """Make the folders, and wait until they are on the disk."""
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"expected a folder to install into, found the file {self.path}", "another ROOT")
        with writing(self.path):
            missing = [folder for folder in (self.versions, *self.versions.parents) if not folder.exists()]
            self.versions.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                sync(folder.parent)

    @contextlib.contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Keep other installers out; they are waited for `wait_s` seconds. The lock of a killed one is free."""
        with writing(self.path):
            file = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            self._lock(file, time.monotonic() + wait_s)
            yield
        finally:
            os.close(file)

    def _lock(self, file: int, until: float) -> None:
        while True:
            try:
                with writing(self.path):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OutputError as error:
                if not isinstance(error.__cause__, BlockingIOError):
                    raise
            else:
                return
            if time.monotonic() >= until:
                raise OutputError(f"expected no other install into {self.path}, found one under way", "--wait 60")
            time.sleep(_POLL_S)

    def version_at(self, link: str) -> str:
        """The version that a link names, empty for no link; OutputError for what no install has put there."""
        path = self.path / link
        if not os.path.lexists(path):
            return ""
        folder, _, name = str(path.readlink()).rpartition("/") if path.is_symlink() else ("", "", "")
        if folder != _VERSIONS or not _NAME.fullmatch(name):
            raise OutputError(
                f"expected {path} to be a link of an earlier install, found another thing", "another ROOT"
            )
        return name

    def linked(self) -> set[str]:
        """The versions that the links name."""
        return {self.version_at(CURRENT), self.version_at(PREVIOUS)} - {""}

    def versions_of(self, digest: str) -> tuple[str, ...]:
        """The installed versions of a digest."""
        names = (found for entry in self._folders() if (found := _NAME.fullmatch(entry)))
        return tuple(sorted(found.group() for found in names if found[1] == digest))

    def free_name(self, digest: str) -> str:
        """A name for another version of this digest, and for what it is copied to: also what is not ours has names."""
        taken = {path.name for path in self.versions.iterdir()}
        names = itertools.chain([digest], (f"{digest}-{count}" for count in itertools.count(2)))
        return next(name for name in names if not taken & {name, self._partial(name).name})

    def staging(self, name: str) -> Path:
        """Where a version is copied to before it has its name."""
        return self._partial(name) / "whole"

    def settle(self, name: str) -> None:
        """Give a version that is whole, and on the disk, its name."""
        with writing(self.path):
            self.staging(name).rename(self.versions / name)
            sync(self.versions)
            self._partial(name).rmdir()

    def point(self, link: str, name: str) -> None:
        """Set a link to a version by one rename; an empty name takes the link away."""
        aside = self.path / f".{link}{_PART}"
        with writing(self.path):
            if name:
                aside.unlink(missing_ok=True)
                aside.symlink_to(f"{_VERSIONS}/{name}")
                aside.replace(self.path / link)
            else:
                (self.path / link).unlink(missing_ok=True)
            sync(self.path)

    def put(self, name: str, data: bytes | None) -> None:
        """Write a small file beside the links by one rename; None takes it away."""
        aside, out = self.path / f".{name}{_PART}", self.path / name
        with writing(out):
            if data is not None:
                aside.unlink(missing_ok=True)
                with aside.open("xb") as file:
                    os.fchmod(file.fileno(), 0o644)  # whatever the umask: nobody else may change it, all may read it
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                aside.replace(out)
            else:
                out.unlink(missing_ok=True)
            sync(self.path)

    def clear(self, keep: Set[str]) -> tuple[str, ...]:
        """Remove other versions and what killed installers have left; return the names of those versions.

        Killed in the middle it leaves a version that does not verify, and so is none that an install comes back to.
        One that cannot be removed does not keep the others; OutputError tells of the first.
        """
        folders, failed = self._folders(), None
        gone = tuple(name for name in folders if _NAME.fullmatch(name) and name not in keep)
        parts = (name for name in folders if name.endswith(_PART) and _NAME.fullmatch(name[1 : -len(_PART)]))
        for name in (*gone, *parts):
            try:
                with writing(self.versions / name):
                    shutil.rmtree(self.versions / name)
            except OutputError as error:
                failed = failed or error
        if failed:
            raise failed
        return gone

    def _partial(self, name: str) -> Path:
        return self.versions / f".{name}{_PART}"

    def _folders(self) -> list[str]:
        """Files and links are nobody's version, whatever they are called."""
        return sorted(path.name for path in self.versions.iterdir() if path.is_dir() and not path.is_symlink())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """OutputError for what the system refuses within."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"expected to be able to write {path}, found: {error.strerror or error}",
            "free some space, or another ROOT" if full else "another ROOT",
        ) from error
