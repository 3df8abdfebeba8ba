"""What a manifest says of one file, one engine, the model and its quantization; docs/bundle.md has it for readers.

An empty text is unknown, or that there is none: a manifest of a model that was handed over as ONNX has no architecture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from edgekit.errors import IntegrityError

OPTIMIZATIONS = ("disable_all", "all")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_MOST_BYTES = 1 << 50  # a petabyte: what is more is no size of a file


@dataclass(frozen=True)
class FileEntry:
    """One file: `size` in bytes."""

    size: int
    sha256: str

    def check(self, name: str) -> None:
        """Raise IntegrityError for what is no size, or no digest; `name` is the file's."""
        if not _DIGEST.fullmatch(self.sha256) or not 0 <= self.size <= _MOST_BYTES:
            raise IntegrityError(f"expected a size and a SHA-256 for {name}, found {self}")


@dataclass(frozen=True)
class EngineEntry:
    """One engine: the flavour and exact version of TensorRT that made it, and the devices that it is for.

    `plugins` is the file of the plugin library that it needs, `plugin_creators` are those that it asks for there, each
    as "name version namespace". `os` and `architecture` are as Python's `platform` says them, in small letters
    (linux, x86_64). `minimum_cuda` is the CUDA version that the driver has to serve at least, such as 13.0.
    """

    file: str
    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    plugins: str = ""
    plugin_creators: tuple[str, ...] = ()
    os: str = ""
    architecture: str = ""
    minimum_cuda: str = ""

    @classmethod
    def of(cls, built: Any, file: str, plugins: str) -> EngineEntry:
        """What a build tells under the same names, of the engine in `file` with the library in `plugins`."""
        same = {item.name for item in fields(cls)} - {"file", "plugins"}
        return cls(file=file, plugins=plugins, **{name: getattr(built, name) for name in same})

    def check(self) -> None:
        """Raise IntegrityError for what contradicts itself."""
        if self.minimum_cuda and not _VERSION.fullmatch(self.minimum_cuda):
            raise IntegrityError(f"expected a version of CUDA such as 13.0 for {self.file}, found {self.minimum_cuda}")
        if self.plugin_creators and not self.plugins:
            raise IntegrityError(f"expected the library of the plugins of {self.file}, found only {self}")


@dataclass(frozen=True)
class ModelEntry:
    """The portable ONNX, and the level of onnxruntime's optimisation at which it was judged.

    `architecture`, `family` and `task` are edgekit's own names, of `edgekit export --list`. `source_sha256` is that of
    the ONNX in FP32 from which this one was made.
    """

    file: str
    architecture: str
    task: str
    precision: str
    optimization: str
    family: str = ""
    source_sha256: str = ""

    def check(self) -> None:
        """Raise IntegrityError for a level that onnxruntime has not, and for what is no digest."""
        if self.optimization not in OPTIMIZATIONS:
            raise IntegrityError(f"expected optimization {OPTIMIZATIONS}, found {self.optimization!r}")
        check_digests("model", self.source_sha256)


@dataclass(frozen=True)
class QuantizationEntry:
    """How the model got its precision, in words; empty where it stayed what it was.

    `scales_sha256` is over all scales and zero points (`edgekit.rewrite.scales`), `calibration_sha256` over the data
    that their ranges come from; `calibration_samples` is how many these were.
    """

    method: str = ""
    scales_sha256: str = ""
    calibration_sha256: str = ""
    calibration_samples: int = 0

    def check(self) -> None:
        """Raise IntegrityError for what is no digest, or no count."""
        check_digests("quantization", self.scales_sha256, self.calibration_sha256)
        if not 0 <= self.calibration_samples <= _MOST_BYTES:
            raise IntegrityError(f"expected a number of samples, found {self.calibration_samples}")


def check_digests(what: str, *digests: str) -> None:
    """Raise IntegrityError unless each is empty or a SHA-256 in small hexadecimal digits."""
    for digest in filter(None, digests):
        if not _DIGEST.fullmatch(digest):
            raise IntegrityError(f"expected a SHA-256 of {what}, found {digest[:80]}")
