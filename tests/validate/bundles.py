"""Bundles that another one was made of, each of which verifies: another manifest, another model."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.bundle import read_manifest


def edited(bundle: Path, out: Path, model: bytes | None = None, **changes: Any) -> Path:
    """A copy whose manifest says `changes`, with another `model` where there is one."""
    shutil.copytree(bundle, out)
    manifest = replace(read_manifest(bundle), **changes)
    if model is not None:
        name = manifest.model.file
        (out / name).write_bytes(model)
        entry = replace(manifest.files[name], size=len(model), sha256=hashlib.sha256(model).hexdigest())
        manifest = replace(manifest, files=manifest.files | {name: entry})
    (out / "manifest.json").write_bytes(manifest.dump())
    return out


def noisy(model: Path) -> bytes:
    """The network with noise in its weights, a file of the same size: its SQNR against the first is some 20 dB."""
    onnx = pytest.importorskip("onnx")
    found = onnx.load(model)
    random = np.random.default_rng(5)
    for tensor in found.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        noise = 0.1 * array.std() * random.normal(size=array.shape)
        tensor.CopyFrom(onnx.numpy_helper.from_array((array + noise).astype(np.float32), tensor.name))
    made: bytes = found.SerializeToString()
    assert len(made) == model.stat().st_size
    return made
