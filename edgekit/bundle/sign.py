"""Sign a bundle with a private key, beside the signatures that it has."""

from __future__ import annotations

import contextlib
import glob
import os
from pathlib import Path

from edgekit.bundle.keys import Trust, read_private
from edgekit.bundle.link import following
from edgekit.bundle.replacing import root_of
from edgekit.bundle.signature import (
    DOMAIN,
    SIGNATURES,
    Signature,
    Signer,
    check_signatures,
    dump_signatures,
    parse_signatures,
    read_signatures,
)
from edgekit.bundle.verify import verify_folder
from edgekit.errors import EdgekitError
from edgekit.files import beside, written_aside


def sign(bundle: Path, key: Path) -> Signer:
    """Verify the bundle, then write or renew this key's signature of it; return whose it is.

    The same key gives the same bytes. The bundle is whole at every moment. Raises IntegrityError for a bundle that is
    damaged or has a signature that does not verify, EdgekitError for a file that is no private key, and for a bundle
    that was installed: its name tells who had signed it.
    """
    private = read_private(key)
    real = Path(os.path.realpath(bundle))
    folder = bundle if real == bundle.absolute() else real
    _check_not_installed(real)
    for left in _left_by_killed_runs(real):
        left.unlink(missing_ok=True)
    manifest = following(folder, verify_folder).manifest.dump()  # its one form, hence the file's bytes
    public = private.public_key().public_bytes_raw()
    made = Signature(public.hex(), private.sign(DOMAIN + manifest).hex())
    others = [item for item in read_signatures(folder) if item.public_key != made.public_key]
    data = dump_signatures([*others, made])
    signers = check_signatures(parse_signatures(data), manifest, Trust(frozenset({public})))
    _put(real, data)
    return next(signer for signer in signers if signer.state == "trusted")


def _check_not_installed(folder: Path) -> None:
    root = root_of(folder)
    if root is not None:
        raise EdgekitError(
            f"expected a bundle that is not installed yet, found {folder}, which is by the signatures that it has",
            f"sign the bundle that was installed, and edgekit bundle install BUNDLE --to {root}",
        )


def _put(folder: Path, data: bytes) -> None:
    """Write the signatures aside beside the folder, in which one file more would be one too many."""
    partial = beside(_aside(folder))
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / SIGNATURES)
    except OSError:  # not our folder, or another file system: there is only the inside, and who tells what is amiss
        with written_aside(folder / SIGNATURES) as inside:
            inside.write_bytes(data)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{SIGNATURES}")


def _left_by_killed_runs(folder: Path) -> list[Path]:
    """Beside the bundle, and in it, where one had to write there: by that it would not verify."""
    aside = glob.escape(_aside(folder).name)
    return [*folder.parent.glob(f".{aside}.*.part"), *folder.glob(f".{SIGNATURES}.*.part")]
