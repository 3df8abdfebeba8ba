"""manifest.json: what a bundle holds, for whom, and the SHA-256 of every byte of it."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.bounded import read_bounded
from edgekit.bundle.names import check_names
from edgekit.bundle.signature import SIGNATURES
from edgekit.bundle.strict_json import parse_json
from edgekit.errors import EdgekitError, IntegrityError
from edgekit.files import json_bytes
from edgekit.specs import TensorSpec, from_table, to_table

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"  # an input with its answer, as edgekit.runtime.loop.Golden has it, where a bundle holds one
SCHEMA = 2
OPTIMIZATIONS = ("disable_all", "all")
# A manifest of a thousand files is below this; a larger one is not parsed.
LARGEST_MANIFEST = 1 << 20
_TEXTS = ("edgekit", "verdict", "preprocess", "postprocess", "stream")
# NumPy's names of numbers, and those of ml_dtypes; an array of objects would be one of pointers.
_NUMBERS = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", "bfloat16", "int2", "uint2", "int4", "uint4"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"),
}
_LARGEST_AXIS, _MOST_ELEMENTS = (1 << 31) - 1, 1 << 32
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """One file: `size` in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True)
class EngineEntry:
    """One engine: the flavour and exact version of TensorRT that made it, and the GPUs that it is for.

    `plugins` is the file of the plugin library that it needs, empty where it needs none.
    """

    file: str
    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    plugins: str = ""


@dataclass(frozen=True)
class ModelEntry:
    """The portable ONNX, and the level of onnxruntime's optimisation at which it was judged."""

    file: str
    architecture: str
    task: str
    precision: str
    optimization: str


@dataclass(frozen=True)
class Manifest:
    """The parsed manifest. `ranges` maps a dimension's name to (min, opt, max); a Session opens at opt.

    `preprocess`, `postprocess` and `stream` are files of specs, empty where there is none; `assets` are the files that
    those name, such as a tokenizer.
    """

    edgekit: str
    verdict: str
    model: ModelEntry
    preprocess: str
    postprocess: str
    stream: str
    assets: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ranges: dict[str, tuple[int, ...]]
    engines: tuple[EngineEntry, ...]
    files: dict[str, FileEntry]

    def dump(self) -> bytes:
        """The manifest as canonical JSON with a digest of itself: the same bundle gives the same bytes."""
        table = {"schema": SCHEMA, **to_table(self)}
        return json_bytes({**table, "manifest_sha256": hashlib.sha256(json_bytes(table)).hexdigest()})

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Read what `dump` wrote, byte for byte; IntegrityError for anything else.

        The digest of itself finds damage. Against someone who writes a new one there are only signatures.
        """
        try:
            table = parse_json(text, MANIFEST)
            if not isinstance(table, dict) or table.pop("schema", None) != SCHEMA:
                raise IntegrityError(f"expected a bundle manifest of schema {SCHEMA}, found another or none")
            table.pop("manifest_sha256", None)  # compared below, with every other byte
            manifest = cls(
                model=from_table(ModelEntry, table.pop("model"), "model"),
                inputs=tuple(from_table(TensorSpec, item, "inputs") for item in table.pop("inputs")),
                outputs=tuple(from_table(TensorSpec, item, "outputs") for item in table.pop("outputs")),
                ranges={name: tuple(item) for name, item in table.pop("ranges").items()},
                engines=tuple(from_table(EngineEntry, item, "engines") for item in table.pop("engines")),
                assets=tuple(str(item) for item in table.pop("assets")),
                files={name: from_table(FileEntry, item, name) for name, item in table.pop("files").items()},
                **{name: str(table.pop(name)) for name in _TEXTS},
            )
            if table:
                raise IntegrityError(f"expected no other keys in {MANIFEST}, found {', '.join(table)}")
        except IntegrityError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"expected {MANIFEST} as edgekit writes it, found {_kind(error)}") from error
        except EdgekitError as error:
            raise IntegrityError(f"expected {MANIFEST} as edgekit writes it, found: {error.problem}") from error
        manifest._check()
        if manifest.dump() != text:
            raise IntegrityError(f"expected {MANIFEST} to match its own SHA-256, found that it was changed")
        return manifest

    def _check(self) -> None:
        check_names(self.files, (MANIFEST, SIGNATURES))
        for name, entry in self.files.items():
            if not _DIGEST.fullmatch(entry.sha256) or entry.size < 0:
                raise IntegrityError(f"expected a size and a SHA-256 for {name}, found {entry}")
        engines = (name for engine in self.engines for name in (engine.file, engine.plugins))
        specs = (self.preprocess, self.postprocess, self.stream, *self.assets)
        for name in filter(None, (self.model.file, *specs, *engines)):
            if name not in self.files:
                raise IntegrityError(f"expected {name} among the files of {MANIFEST}, found none")
        for name, sizes in self.ranges.items():
            # `type` keeps true, 1.5 and "1" out, which JSON may hold; a Session opens at the second.
            three = [type(size) for size in sizes] == [int, int, int]
            if not three or not 0 <= sizes[0] <= sizes[1] <= sizes[2] <= _LARGEST_AXIS or sizes[1] == 0:
                raise IntegrityError(f"expected {MANIFEST} as edgekit writes it, found ranges: {name} is {sizes}")
        if self.model.optimization not in OPTIMIZATIONS:
            raise IntegrityError(f"expected optimization {OPTIMIZATIONS}, found {self.model.optimization!r}")
        self._check_tensors()

    def _check_tensors(self) -> None:
        """Buffers are made by these: of numbers, and of a size that a machine may have."""
        elements = 0
        for specs in (self.inputs, self.outputs):
            if len({spec.name for spec in specs}) < len(specs):
                raise IntegrityError(f"expected tensors of different names in {MANIFEST}, found one twice")
            for spec in specs:
                static = [axis for axis in spec.shape if isinstance(axis, int)]
                if spec.dtype not in _NUMBERS or not all(0 <= axis <= _LARGEST_AXIS for axis in static):
                    raise IntegrityError(f"expected tensors of numbers in {MANIFEST}, found {spec.name}: {spec}")
                opt = [self.ranges[axis][1] for axis in spec.shape if isinstance(axis, str) and axis in self.ranges]
                elements += math.prod((*static, *opt))
        if elements > _MOST_ELEMENTS:
            raise IntegrityError(f"expected at most {_MOST_ELEMENTS} elements in all tensors, found {elements}")


def read_manifest(bundle: Path) -> Manifest:
    """Read a bundle's manifest; IntegrityError when there is none or it is malformed."""
    return Manifest.parse(manifest_bytes(bundle))


def manifest_bytes(bundle: Path) -> bytes:
    """The bytes of a bundle's manifest, not parsed; IntegrityError when there is none or it is too large."""
    path = bundle / MANIFEST
    if bundle.is_file():
        raise EdgekitError(f"expected a bundle folder, found the file {bundle}", "edgekit bundle unpack IN.ekb DIR")
    if not bundle.is_dir():
        raise EdgekitError(f"expected a bundle folder at {bundle}, found none", "edgekit deploy MODEL OUT --target T")
    data = read_bounded(path, LARGEST_MANIFEST) if path.is_file() and not path.is_symlink() else None
    if data is None:
        raise IntegrityError(f"expected a bundle with {MANIFEST} in {bundle}, found none")
    return data


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
