"""Outputs appear whole or not at all: written aside in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import OutputError

# What only a write can meet: the disk is full, the user's share of it is, the file may not grow.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Flags of Linux's renameat2 (fs.h), the current folder (fcntl.h), and what a file system says that has no such rename:
# overlayfs says EXDEV of a folder that is in a layer below.
_NO_REPLACE, _EXCHANGE, _AT_CWD = 1, 2, -100
_NO_SUCH_RENAME = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EXDEV)


@contextlib.contextmanager
def written_aside(out: Path) -> Iterator[Path]:
    """Yield a temporary path beside `out`; on success it becomes `out`, on any failure it is removed.

    Open it before long work, so that an unwritable folder is found out first. A `.part` file next to the final name
    is on the same file system, which is what makes the rename atomic.
    """
    with _blame_on(out):
        out = out.resolve()  # through a link: what it points to is written, the link stays
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not out.is_file():
            # A rename would put our file in the place of a folder, a device or a pipe.
            raise OutputError(f"expected the name of a file to write, found {out}, which is none", "another OUT")
    partial = beside(out)
    try:
        with _blame_on(out):
            partial.touch(exist_ok=False)
        with _room_for(out):
            yield partial
        with _blame_on(out):
            partial.replace(out)
    finally:
        # A disk that became read-only refuses this as well: the error that is on its way says so.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_written_aside(out: Path, marker: str, foreign: Callable[[Path], str] | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `out`; on success it replaces `out`, on any failure it is removed.

    `out` is whole at every moment, also where the process is killed: the two change places at once. Where the system or
    the file system has no such rename, a kill between two of them leaves the earlier one as a `.old.part` beside `out`.
    An `out` that has something in it, but no file `marker`, is not ours to replace; nor one in which `foreign` names
    what is not.
    """
    import shutil  # the runtime, which reads only, need not load it

    with _blame_on(out):
        out = out.resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not out.is_dir():
            raise OutputError(f"expected a folder to write to, found the file {out}")
        if out.exists() and any(out.iterdir()) and not (out / marker).is_file():
            raise OutputError(f"expected {out} to be empty or to hold {marker}, found other files", "another OUT")
        if foreign is not None and out.exists() and (found := foreign(out)):
            raise OutputError(f"expected {out} to hold what edgekit wrote there alone, found {found}", "another OUT")
    partial = beside(out)
    previous = partial.with_suffix(".old.part")
    try:
        with _blame_on(out):
            partial.mkdir()
        with _room_for(out):
            yield partial
        with _blame_on(out):
            if not out.exists():
                partial.rename(out)
            elif not _renamed(partial, out, _EXCHANGE):
                out.rename(previous)
                partial.rename(out)
    finally:
        if previous.exists() and not out.exists():
            previous.rename(out)
        shutil.rmtree(previous, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(partial: Path, out: Path) -> None:
    """Give a file its last name; FileExistsError where there is anything of that name, also a link to nothing."""
    if not _renamed(partial, out, _NO_REPLACE):
        os.link(partial, out)
        partial.unlink()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def check_apart(source: Path, out: Path) -> None:
    """Raise OutputError where a stage would replace its own source."""
    if source.resolve() == out.resolve():
        raise OutputError(f"expected OUT to be another file than {source}, found the same", "another OUT")


@contextlib.contextmanager
def all_written_aside(
    source: Path, outs: Sequence[Path], others: Iterable[Path | str | None] = ()
) -> Iterator[list[Path]]:
    """`written_aside` of several: nothing appears where one of them fails.

    Raises OutputError where two of them are one file, where one is the `source` or stands in it, or is one of the
    `others` that are read.
    """
    read = [source, *(Path(name) for name in others if name)]
    for first, second in (*itertools.combinations(outs, 2), *itertools.product(read, outs)):
        check_apart(first, second)
    for out in outs:
        if source.resolve() in out.resolve().parents:
            raise OutputError(f"expected OUT outside of {source}, found {out}", "another OUT")
    with contextlib.ExitStack() as files:
        yield [files.enter_context(written_aside(out)) for out in outs]


def _renamed(source: Path, target: Path, flags: int) -> bool:
    """Rename by Linux's renameat2; False, and nothing was done, where the system or the file system does not have it.

    Raises OSError as `os.rename` does.
    """
    import ctypes  # the runtime, which reads only, need not load it

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    if call(_AT_CWD, os.fsencode(source), _AT_CWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_SUCH_RENAME:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))


def beside(out: Path) -> Path:
    """A name for `out` until it is whole, that no other process or thread uses.

    Made by hand, since `tempfile` costs the runtime 10 ms to import.
    """
    return out.with_name(f".{out.name}.{os.getpid()}-{time.monotonic_ns()}.part")


@contextlib.contextmanager
def _blame_on(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"expected to be able to write {out}, found: {error.strerror}", "another OUT") from error


@contextlib.contextmanager
def _room_for(out: Path) -> Iterator[None]:
    """A disk that fills up while `out` is made is an OutputError; what else the work raises is not ours to explain.

    The system does not say which file had no room: it may be another that is made at the same time.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise OutputError(
            f"expected room for {out} and what is written with it, found: {error.strerror}",
            "free space there and in the folder of temporary files, or another OUT",
        ) from error


def write_json(out: Path, value: Any) -> None:
    """Write sorted, indented JSON, atomically."""
    with written_aside(out) as partial:
        partial.write_bytes(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Sorted, indented JSON: the same value gives the same bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # a file's name need not be UTF-8


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as hexadecimal digits, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
