"""manifest.json: what a bundle holds, for whom, and the SHA-256 of every byte of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.budget import parse_budget
from edgekit.bundle.bounded import read_bounded
from edgekit.bundle.entries import EngineEntry, FileEntry, ModelEntry, QuantizationEntry
from edgekit.bundle.names import check_names
from edgekit.bundle.signature import SIGNATURES
from edgekit.bundle.strict_json import LARGEST_JSON, parse_json
from edgekit.errors import EdgekitError, IntegrityError
from edgekit.files import json_bytes
from edgekit.specs import TensorSpec, from_table, to_table

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"  # an input with its answer, as edgekit.runtime.loop.Golden has it, where a bundle holds one
# docs/manifest.schema.json says it for other programs. Another number for any change: a reader takes all or nothing.
SCHEMA = 3
# A manifest of a thousand files is below this; a larger one is not parsed.
LARGEST_MANIFEST = 1 << 20
_TEXTS = ("edgekit", "verdict", "preprocess", "postprocess", "stream", "budget")
# NumPy's names of numbers, and those of ml_dtypes; an array of objects would be one of pointers.
_NUMBERS = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", "bfloat16", "int2", "uint2", "int4", "uint4"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn"),
}
_LARGEST_AXIS, _MOST_ELEMENTS = (1 << 31) - 1, 1 << 32
_MOST_ENGINES, _LARGEST_ASSET = 64, 1 << 28


@dataclass(frozen=True)
class Manifest:
    """The parsed manifest. `ranges` maps a dimension's name to (min, opt, max); a Session opens at opt.

    `preprocess`, `postprocess` and `stream` are files of specs, empty where there is none; `assets` are the files that
    those name, such as a tokenizer. `budget` is what was promised and kept when the bundle was made, and `fps` the rate
    that its deadlines come from, 0 for none. `tools` are the versions of the packages that made it, by name, and
    `reports` the files of what the stages measured.
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
    quantization: QuantizationEntry = QuantizationEntry()
    budget: str = ""
    fps: float = 0.0
    reports: tuple[str, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)

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
            schema = table.pop("schema", None) if isinstance(table, dict) else None
            if type(schema) is not int or schema != SCHEMA:
                found = f"schema {schema}" if type(schema) is int else "another or none"
                raise IntegrityError(
                    f"expected a bundle manifest of schema {SCHEMA}, found {found}",
                    "edgekit deploy with this edgekit, or the edgekit that made it",
                )
            table.pop("manifest_sha256", None)  # compared below, with every other byte
            manifest = cls(
                model=from_table(ModelEntry, table.pop("model"), "model"),
                inputs=tuple(from_table(TensorSpec, item, "inputs") for item in table.pop("inputs")),
                outputs=tuple(from_table(TensorSpec, item, "outputs") for item in table.pop("outputs")),
                ranges={name: tuple(item) for name, item in table.pop("ranges").items()},
                engines=tuple(from_table(EngineEntry, item, "engines") for item in table.pop("engines")),
                quantization=from_table(QuantizationEntry, table.pop("quantization"), "quantization"),
                assets=_texts(table.pop("assets")),
                reports=_texts(table.pop("reports")),
                fps=float(table.pop("fps")),
                tools={str(name): str(version) for name, version in table.pop("tools").items()},
                files={name: from_table(FileEntry, item, name) for name, item in table.pop("files").items()},
                **{name: str(table.pop(name)) for name in _TEXTS},
            )
            if table:
                raise IntegrityError(f"expected no other keys in {MANIFEST}, found {', '.join(table)}")
            manifest._check()
        except IntegrityError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(f"expected {MANIFEST} as edgekit writes it, found {_kind(error)}") from error
        except EdgekitError as error:
            raise IntegrityError(f"expected {MANIFEST} as edgekit writes it, found: {error.problem}") from error
        if manifest.dump() != text:
            raise IntegrityError(f"expected {MANIFEST} to match its own SHA-256, found that it was changed")
        return manifest

    def _check(self) -> None:
        check_names(self.files, (MANIFEST, SIGNATURES))
        for name, entry in self.files.items():
            entry.check(name)
        if max(len(self.engines), self.budget.count(",")) >= _MOST_ENGINES:
            raise IntegrityError(f"expected fewer than {_MOST_ENGINES} engines and promises in {MANIFEST}, found more")
        specs = [name for name in (self.preprocess, self.postprocess, self.stream) if name]
        plugins = [engine.plugins for engine in self.engines if engine.plugins]
        needed = (self.model.file, *specs, *plugins, *self.assets, *self.reports, *(item.file for item in self.engines))
        for name in needed:
            if name not in self.files:
                raise IntegrityError(f"expected {name or 'a name'} among the files of {MANIFEST}, found none")
        # These are read whole: an engine has no bound of its own, and a protobuf has no more than 2 GiB.
        read_whole = {self.model.file: 1 << 31, GOLDEN: _LARGEST_ASSET, **dict.fromkeys(self.assets, _LARGEST_ASSET)}
        for name, most in {**read_whole, **dict.fromkeys(specs, LARGEST_JSON)}.items():
            if name in self.files and self.files[name].size > most:
                raise IntegrityError(f"expected {name} below {most:,} bytes, found {self.files[name].size:,}")
        for name, sizes in self.ranges.items():
            # `type` keeps true, 1.5 and "1" out, which JSON may hold; a Session opens at the second.
            three = [type(size) for size in sizes] == [int, int, int]
            if not three or not 0 <= sizes[0] <= sizes[1] <= sizes[2] <= _LARGEST_AXIS or sizes[1] == 0:
                raise IntegrityError(f"expected {MANIFEST} as edgekit writes it, found ranges: {name} is {sizes}")
        self.model.check()
        self.quantization.check()
        for engine in self.engines:
            engine.check()
        if self.budget:
            parse_budget(self.budget)
        if not 0 <= self.fps < math.inf:
            raise IntegrityError(f"expected a rate a second in {MANIFEST}, found {self.fps}")
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


def manifest_bytes(bundle: Path) -> bytes:
    """The bytes of a bundle's manifest, not parsed; IntegrityError when there is none or it is too large."""
    path = bundle / MANIFEST
    if not bundle.is_dir():
        found = "neither" if bundle.exists() else "none"
        raise EdgekitError(
            f"expected a bundle, a folder or an .ekb, at {bundle}, found {found}", "edgekit deploy MODEL OUT --target T"
        )
    data = read_bounded(path, LARGEST_MANIFEST) if path.is_file() and not path.is_symlink() else None
    if data is None:
        installed = bundle / "current"  # as `edgekit bundle install` makes it
        raise IntegrityError(
            f"expected a bundle with {MANIFEST} in {bundle}, found none",
            str(installed) if (installed / MANIFEST).is_file() else "",
        )
    return data


def _texts(items: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in items)


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
