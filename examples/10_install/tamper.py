"""What an attacker does to a bundle on its way: change one byte of the model, and, with --hide, every digest of it too.

python examples/10_install/tamper.py BUNDLE OUT [--hide]
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path


def tamper(bundle: Path, out: Path, hide: bool) -> None:
    """Copy `bundle` to `out` with a byte of model.onnx changed; `hide` writes a manifest that agrees with it."""
    shutil.copytree(bundle, out)
    model, manifest = out / "model.onnx", out / "manifest.json"
    data = bytearray(model.read_bytes())
    before = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    if hide:
        from edgekit.bundle import FileEntry, read_manifest

        found = read_manifest(out)
        assert found.files["model.onnx"].sha256 == before
        found.files["model.onnx"] = FileEntry(len(data), hashlib.sha256(data).hexdigest())
        manifest.write_bytes(found.dump())


if __name__ == "__main__":
    asked = [word for word in sys.argv[1:] if word != "--hide"]
    tamper(Path(asked[0]), Path(asked[1]), "--hide" in sys.argv)
