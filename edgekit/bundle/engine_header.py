"""What the first bytes of an engine tell, without a GPU and without TensorRT; no engine is ever deserialised here.

Read off engines of TensorRT-RTX 1.7.1.116, built to differ in one thing at a time (model, weights, precision, shapes,
each compute capability alone, some together, none named). All numbers are little-endian; of the rest nothing is known.
The section of weights has as many bytes as the builder's log calls "Total Weights Memory", in all nine that were read.

    0   4  "vtrt"
    4   4  0
    8   8  how many sections (2)
    16  8  bytes of the whole file
    24  4  TensorRT's version: major, minor, patch, build
    28  4  "vtrt"
    32  8  the compute capabilities, one bit each
    64 24  for each section its name (8 bytes: "NGNE", "THGW", that is ENGN and WGHT), where it starts and its bytes
    and at the end of the file the four bytes of "ftrt", inverted

Of TensorRT's own engines ("ftrt") NVIDIA's trtexec tells the version, from the same four bytes and as long as the
second word is 0: `printPlanVersion` in https://github.com/NVIDIA/TensorRT, samples/common/sampleEngines.cpp, the option
--getPlanVersionOnly. None was at hand to look at, so nothing more is read of them, and nothing at all of "ptrt".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgekit.bundle.entries import EngineEntry
from edgekit.bundle.window import Window
from edgekit.errors import IntegrityError, ModelError

_KINDS = {b"vtrt": ("TensorRT-RTX engine", "tensorrt_rtx"), b"ptrt": ("TensorRT engine", "tensorrt")}
_KINDS[b"ftrt"] = _KINDS[b"ptrt"]
# Bits 0 to 5 were seen alone. An engine with no capability named has bits 1 to 6, and nothing names the last.
_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
_VERIFIED = "1.7."
_FIXED = struct.Struct("<4sIQQ4B4sQ")
_SECTIONS_AT, _SECTION = 64, struct.Struct("<8sQQ")
_MOST_SECTIONS = 16
_END = bytes(byte ^ 0xFF for byte in b"ftrt")
# Of major.minor.patch.build the parts that TensorRT's Python package always tells.
_TOLD_PARTS = 3


@dataclass(frozen=True)
class EngineHeader:
    """`flavour` is tensorrt_rtx or tensorrt, `version` major.minor.patch.build; None is not known.

    `other_gpus` says whether the engine is also for GPUs that the header marks by a bit without a known meaning.
    """

    kind: str
    flavour: str
    version: str | None = None
    compute_capabilities: tuple[str, ...] | None = None
    other_gpus: bool = False
    weights_bytes: int | None = None


def is_engine(start: bytes) -> bool:
    """Whether a file that starts so is an engine of TensorRT or TensorRT-RTX."""
    return start[:4] in _KINDS


def check_engine(window: Window, entry: EngineEntry) -> None:
    """Raise IntegrityError unless the bytes begin as an engine of the flavour and version that the manifest says."""
    start = window.read(0, 4)
    if not is_engine(start):
        raise IntegrityError(f"expected an engine of {entry.flavour} in {entry.file}, found the bytes {start.hex(' ')}")
    try:
        header = parse_header(window, entry.file)
    except ModelError as error:
        raise IntegrityError(f"expected a whole engine, found that {error.problem}", "get the bundle again") from error
    if header.flavour != entry.flavour:
        raise IntegrityError(f"expected an engine of {entry.flavour} in {entry.file}, found one of {header.flavour}")
    if header.version is not None:
        pairs = zip(header.version.split(".")[:_TOLD_PARTS], entry.version.split("."), strict=False)
        if any(found != said for found, said in pairs):
            raise IntegrityError(
                f"expected an engine of {entry.flavour} {entry.version} in {entry.file}, found {header.version}"
            )


def parse_header(window: Window, where: str) -> EngineHeader:
    """The header of an engine; raises ModelError, which names `where`, for one that is cut short or has grown."""
    size = window.size
    start = window.read(0, _SECTIONS_AT + _MOST_SECTIONS * _SECTION.size)
    end = window.read(max(0, size - len(_END)), len(_END))
    kind, flavour = _KINDS[start[:4]]
    if start[:4] == b"ptrt":
        return EngineHeader(kind, flavour)
    if len(start) < _FIXED.size:
        raise _damaged(where, f"at least {_FIXED.size} bytes of an engine's header", f"{size} bytes")
    _, layout, sections, total, *version, _, capabilities = _FIXED.unpack_from(start)
    if layout != 0:
        return EngineHeader(kind, flavour)
    told = ".".join(map(str, version))
    if flavour != "tensorrt_rtx" or not told.startswith(_VERIFIED):
        return EngineHeader(kind, flavour, told)
    if total != size:
        raise _damaged(where, f"{total:,} bytes, as its header says", f"{size:,}")
    if end != _END:
        raise _damaged(where, "the mark of its end", f"the bytes {end.hex(' ')}")
    return EngineHeader(
        kind,
        flavour,
        told,
        tuple(name for bit, name in enumerate(_CAPABILITIES) if capabilities >> bit & 1),
        capabilities >> len(_CAPABILITIES) > 0,
        _weights(where, start, sections, total),
    )


def _weights(where: str, start: bytes, sections: int, total: int) -> int | None:
    """The bytes of the section of weights; every section has to lie within the file."""
    weights = None
    for index in range(min(sections, _MOST_SECTIONS)):
        place = _SECTIONS_AT + index * _SECTION.size
        if place + _SECTION.size > len(start):
            raise _damaged(where, f"{sections} sections", f"{len(start)} bytes")
        name, offset, length = _SECTION.unpack_from(start, place)
        if offset + length > total:
            raise _damaged(where, f"sections within {total:,} bytes", f"one that ends at {offset + length:,}")
        if name.rstrip(b"\0") == b"THGW":
            weights = length
    return weights


def _damaged(where: str, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{where} is damaged: expected {expected}, found {found}", "copy it again, or edgekit build-engine"
    )
