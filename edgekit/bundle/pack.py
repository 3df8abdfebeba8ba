"""Put the outputs of the stages into one folder with a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from edgekit.bundle.entries import FileEntry
from edgekit.bundle.manifest import MANIFEST, Manifest
from edgekit.bundle.replacing import foreign
from edgekit.errors import IntegrityError
from edgekit.files import folder_written_aside, sha256_of


@dataclass(frozen=True)
class Contents:
    """What goes in: `copies` maps a name in the bundle to a file, `made` maps a name to bytes."""

    copies: dict[str, Path] = field(default_factory=dict)
    made: dict[str, bytes] = field(default_factory=dict)


def pack(
    out: Path, manifest: Manifest, contents: Contents, known: Mapping[str, FileEntry] = MappingProxyType({})
) -> Manifest:
    """Write the bundle to the folder `out`, whole or not at all; return the manifest with the digests filled in.

    Raises IntegrityError for a manifest that would not be read again, such as one of files that are not there, and for
    a file that is another than its entry in `known` says.
    """
    import shutil  # the runtime imports this room and packs nothing

    with folder_written_aside(out, MANIFEST, foreign) as partial:
        for name, source in contents.copies.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial / name)
        for name, data in contents.made.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)
        names = sorted([*contents.copies, *contents.made])
        files = {name: FileEntry((partial / name).stat().st_size, sha256_of(partial / name)) for name in names}
        for name, entry in known.items():
            if files.get(name) != entry:
                raise IntegrityError(f"expected {name} as it was a moment ago, found another", "the same again")
        complete = replace(manifest, files=files)
        data = complete.dump()
        Manifest.parse(data)  # names and tensors that no device would open are not written either
        (partial / MANIFEST).write_bytes(data)
    return complete
