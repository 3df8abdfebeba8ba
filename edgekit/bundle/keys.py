"""Keys that sign bundles, and keys that are trusted: ed25519, in PEM files that openssl writes and reads too."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edgekit.errors import EdgekitError, OutputError, TargetError
from edgekit.files import beside, put_in_place, sync

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INSTALL = "pip install 'edgekit[sign]'"
WEAK = "of small order, by which anybody can sign"
_PUBLIC = ".pub"
_THEIRS = "copy the KEY.pub of the bundle's maker there"
# A PEM of ed25519 has 120 bytes; a larger file is not parsed.
_LARGEST_KEY = 1 << 14
# The field of ed25519, and the y of the eight points whose order divides eight (RFC 8032, 5.1; of the last two
# d*y**4 + 2*y**2 = 1): by such a "key" anybody makes signatures, of any message, and OpenSSL takes them.
_P = (1 << 255) - 19
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


@dataclass(frozen=True)
class Trust:
    """Whose signature a bundle needs: of one of `keys`, raw public keys of 32 bytes; without any, where `required`, of
    anyone. `Trust()` asks for none."""

    keys: frozenset[bytes] = frozenset()
    required: bool = False

    @property
    def asks(self) -> bool:
        """Whether an unsigned bundle is refused."""
        return self.required or bool(self.keys)


def trust_in(keys: str | Path | Iterable[str | Path] | None, required: bool = False) -> Trust:
    """Read the trusted public keys: files, or folders of *.pub. None asks for none; `keys` imply a signature.

    Raises EdgekitError for a file that holds no ed25519 public key, and where there is no key at all; TargetError
    without the package cryptography.
    """
    if keys is None:
        if required:
            with needed():
                import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
        return Trust(required=required)
    given = [keys] if isinstance(keys, (str, Path)) else list(keys)
    if not given or "" in given:  # a variable that was not set must trust nobody, and "" would be this folder
        raise EdgekitError("expected the files of trusted public keys, found an empty list or name", "KEY.pub")
    files = [file for item in given for file in _public_files(Path(item))]
    return Trust(frozenset(map(read_public, files)), required=True)


def key_id(public: bytes) -> str:
    """What a key is called: the first 16 hexadecimal digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def of_small_order(public: bytes) -> bool:
    """Whether a raw public key is one of those that belong to nobody, in whichever of its encodings."""
    return (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _P in _SMALL_ORDER


def make_keys(path: Path) -> str:
    """Write a new private key, for its owner alone to read, to `path`, its public key to `path`.pub; return the id.

    Neither may exist: a lost private key cannot be made again. There is no passphrase. Both are written without a name,
    and appear whole, the public one first: of a run that is killed that one may be left, and is to be removed before
    another. Where the file system has no files without names (O_TMPFILE) they are written aside, under hidden names,
    which a killed run leaves and the next one of this name removes. Raises OutputError.
    """
    with needed():
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    if path.suffix == _PUBLIC:
        raise OutputError(f"expected a name for the private key, found {path}: .pub is the public one", "another KEY")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    public_path = Path(f"{path}{_PUBLIC}")
    for taken in (path, public_path):
        if os.path.lexists(taken):
            raise _taken(path, taken)
    with (
        _written(path, private, 0o600) as name_private,
        _written(public_path, public, 0o644) as name_public,
        _appearing(path, public_path, name_public),
        _appearing(path, path, name_private),
    ):
        pass
    with contextlib.suppress(OSError):  # they are there; not every file system can say whether they stay
        sync(path.parent)
    for left in _left_by_killed_runs(path):
        left.unlink(missing_ok=True)
    return key_id(key.public_key().public_bytes_raw())


def exposed(key: Path) -> tuple[str, ...]:
    """A warning where others than its owner may read a private key; nothing of its contents is looked at."""
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError:
        return ()
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ()
    return (
        f"expected {key} to be for its owner alone, found mode {mode:04o}: who reads it signs as you; chmod 600 it",
    )


def read_private(path: Path) -> Ed25519PrivateKey:
    """The private key of a PEM file (PKCS8, no passphrase); EdgekitError for anything else."""
    with needed():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    data = _pem(path, "private")
    if b"PUBLIC KEY" in data:
        _refuse(path, "private", "a public key: the private one has no .pub")
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        _refuse(path, "private", "one with a passphrase, which edgekit does not ask for")
    except (ValueError, UnsupportedAlgorithm):
        _refuse(path, "private", "none")
    return key if isinstance(key, Ed25519PrivateKey) else _refuse(path, "private", _kind(key))


def read_public(path: Path) -> bytes:
    """The 32 bytes of the public key in a PEM file (SubjectPublicKeyInfo); EdgekitError for anything else."""
    with needed():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    data = _pem(path, "public")
    if b"PRIVATE KEY" in data:
        _refuse(path, "public", "a private key, which stays with the one who signs: KEY.pub is for all others")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        _refuse(path, "public", "none")
    if not isinstance(key, Ed25519PublicKey):
        _refuse(path, "public", _kind(key))
    public = key.public_bytes_raw()
    return public if not of_small_order(public) else _refuse(path, "public", f"one {WEAK}")


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Around imports of the package cryptography: TargetError, which names the extra, where it is not there."""
    try:
        yield
    except ImportError as error:
        raise TargetError("expected the package cryptography for signatures, found none", INSTALL) from error


def _public_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(path.glob(f"*{_PUBLIC}"))
    if not found:
        raise EdgekitError(f"expected public keys, *{_PUBLIC}, in {path}, found none", _THEIRS)
    return found


def _pem(path: Path, kind: str) -> bytes:
    if not path.is_file():
        _refuse(path, kind, "no such file")
    with path.open("rb") as file:
        data = file.read(_LARGEST_KEY + 1)
    if len(data) > _LARGEST_KEY:
        _refuse(path, kind, f"more than {_LARGEST_KEY} bytes")
    if data.count(b"-----BEGIN ") > 1:
        # Only the first would be read.
        _refuse(path, kind, "several keys: one a file")
    return data


def _kind(key: object) -> str:
    return f"a key of another kind, {type(key).__name__.lstrip('_')}"


def _refuse(path: Path, kind: str, found: str) -> NoReturn:
    next_step = _THEIRS if kind == "public" else "edgekit bundle keygen KEY"
    raise EdgekitError(f"expected an ed25519 {kind} key as PEM in {path}, found {found}", next_step)


@contextlib.contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Callable[[], None]]:
    """Write a file of this mode, from its first byte on, where `path` will be, and wait until it is on the disk.

    Yields what gives it that name; FileExistsError where there is anything of it.
    """
    partial = beside(path)
    try:
        with contextlib.ExitStack() as opened:
            with _blaming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                nameless = _nameless(path.parent, mode)
                file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) if nameless is None else nameless
                opened.callback(os.close, file)  # with which a file without a name is gone
                with os.fdopen(file, "wb", closefd=False) as writer:
                    writer.write(data)
                os.fsync(file)
            yield lambda: put_in_place(partial, path) if nameless is None else _link(nameless, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _nameless(folder: Path, mode: int) -> int | None:
    """A new file that has no name yet; None where the system or the file system has no such files."""
    try:
        file = os.open(folder, os.O_WRONLY | os.O_TMPFILE, mode)
    except (AttributeError, OSError):  # what else is amiss with the folder, a file with a name will tell
        return None
    if _shown(file).exists():
        return file
    os.close(file)
    return None


def _shown(file: int) -> Path:
    """Where the system shows an open file, so that it can be given a name."""
    return Path(f"/proc/self/fd/{file}")


def _link(file: int, path: Path) -> None:
    # A link(2) would link the link of /proc; Python calls linkat(2), which can follow it, where there is a folder.
    os.link(_shown(file), path, src_dir_fd=file, follow_symlinks=True)


@contextlib.contextmanager
def _appearing(key: Path, path: Path, give_name: Callable[[], None]) -> Iterator[None]:
    """Give a file its name, where nothing has it; take it away again where what follows fails."""
    try:
        with _blaming(path):
            give_name()
    except OutputError as error:
        if os.path.lexists(path):
            raise _taken(key, path) from error
        raise
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _taken(key: Path, path: Path) -> OutputError:
    """What is there stays; of a public key without its private one only a person knows whose it is."""
    lone = path != key and not os.path.lexists(key)
    step = f"remove {path} if a keygen that was killed has left it, or another KEY" if lone else "another KEY"
    return OutputError(f"expected no file at {path}, found one, which stays as it is", step)


def _left_by_killed_runs(path: Path) -> list[Path]:
    """What was written aside for this key: it exists now, and nobody makes it any more."""
    name = re.compile(rf"\.{re.escape(path.name)}({re.escape(_PUBLIC)})?\.[0-9]+-[0-9]+\.part")  # as `beside` makes it
    return [item for item in path.parent.iterdir() if name.fullmatch(item.name)]


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"expected to be able to write {path}, found: {error.strerror}", "another KEY") from error
