"""Bundles too small to be networks, an oracle that tells whether one is whole, and checks that cost nothing."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from edgekit.bundle import Contents, Manifest, ModelEntry, pack
from edgekit.configs import InstallConfig
from edgekit.errors import SessionError
from edgekit.install import Health

# Tests that let a call of the system fail, by its name in `os`.
patched = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="pathlib of Python 3.10 calls the system by names of its own, not by those of os"
)
HEALTH = Health("fake", "no device", "", "a test", "nothing")


def onnx(mark: str, size: int) -> bytes:
    """The bytes of an ONNX model with an empty graph, whose doc_string begins with the mark (onnx.proto)."""
    text, length, rest = f"{mark} ".ljust(size, mark).encode(), b"", size
    while rest >= 128:  # as a varint
        length, rest = length + bytes([rest % 128 + 128]), rest // 128
    return b"\x32" + length + bytes([rest]) + text + b"\x08\x0a\x3a\x03\x12\x01g"


def tiny(folder: Path, mark: str, size: int = 3000) -> Path:
    """A bundle whose every file has its mark; `size` is that of the largest, in bytes."""
    files = {"a/b/deep.txt": f"{mark} deep".encode(), "labels.txt": f"{mark} labels".encode()}
    model = ModelEntry("model.onnx", "", "", "fp32", "all")
    manifest = Manifest("test", f"PASS {mark}", model, "", "", "", (), (), (), {}, (), {})
    pack(folder, manifest, Contents(made={**files, "model.onnx": onnx(mark, size)}))
    return folder


def mark_of(folder: Path) -> str:
    """The mark of a bundle that is whole, by json and hashlib alone; AssertionError for any other."""
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found - {"signatures.json"} == {*files, "manifest.json"}
    contents = {name: (folder / name).read_bytes() for name in files}
    for name, data in contents.items():
        assert files[name] == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}, name
    mark = contents["labels.txt"].split()[0].decode()
    assert json.loads((folder / "manifest.json").read_bytes())["verdict"] == f"PASS {mark}"
    return mark


def state(root: Path) -> dict[str, str]:
    """The marks of the bundles that the links lead to."""
    return {link: mark_of(root / link) for link in ("current", "previous") if os.path.lexists(root / link)}


def names(root: Path) -> list[str]:
    """All that lies in ROOT/versions."""
    return sorted(path.name for path in (root / "versions").iterdir())


def version(root: Path, link: str = "current") -> str:
    """The version that a link leads to."""
    return (root / link).readlink().name


def well(folder: Path, config: InstallConfig) -> Health:
    """A check that finds everything in order: what it is shown is whole."""
    mark_of(folder)
    return HEALTH


def ill(folder: Path, config: InstallConfig) -> Health:
    """A check that refuses."""
    raise SessionError("golden input: expected another answer")
