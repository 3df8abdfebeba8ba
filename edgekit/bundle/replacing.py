"""What in a folder is no bundle that another one may take the place of."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.bundle.bounded import read_bounded
from edgekit.bundle.manifest import LARGEST_MANIFEST, MANIFEST
from edgekit.bundle.signature import SIGNATURES
from edgekit.bundle.strict_json import parse_json
from edgekit.errors import IntegrityError

# How `edgekit.install`, which stands above this room, calls what it has installed.
_INSTALLED = re.compile(r"[0-9a-f]{16}(-[0-9]+)?")


def root_of(folder: Path) -> Path | None:
    """The root into which this bundle was installed, by a name that tells who had signed it; None where it was not."""
    root = folder.parent.parent
    named = folder.parent.name == "versions" and _INSTALLED.fullmatch(folder.name)
    return root if named and (root / ".lock").exists() else None


def foreign(folder: Path) -> str:
    """What else there is than a bundle, of any schema, whole or damaged; empty for nothing else.

    Others have a manifest.json, too: what an application or a browser's extension has is not ours to replace.
    """
    if root_of(folder) is not None:
        return "a bundle that was installed"
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()]
    known = _files(folder) if found else set()
    # What a killed `sign` left is ours, too.
    others = sorted(name for name in found if name not in known and not name.startswith(f".{SIGNATURES}."))
    return others[0] if others else ""


def _files(folder: Path) -> set[str]:
    """The names of a bundle's files; none where the manifest is not one of ours."""
    try:
        data = read_bounded(folder / MANIFEST, LARGEST_MANIFEST)
        table = None if data is None else parse_json(data, MANIFEST)
    except (IntegrityError, OSError):
        return set()
    if not isinstance(table, dict) or not {"schema", "manifest_sha256"} <= table.keys():
        return set()
    files = table.get("files")
    return {MANIFEST, SIGNATURES, *files} if isinstance(files, dict) else set()
