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
from pathlib import Path

from edgekit.errors import ModelError

_KINDS = {b"vtrt": ("TensorRT-RTX engine", "tensorrt_rtx"), b"ptrt": ("TensorRT engine", "tensorrt")}
_KINDS[b"ftrt"] = _KINDS[b"ptrt"]
# Bits 0 to 5 were seen alone. An engine with no capability named has bits 1 to 6, and nothing names the last.
_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
_VERIFIED = "1.7."
_FIXED = struct.Struct("<4sIQQ4B4sQ")
_SECTIONS_AT, _SECTION = 64, struct.Struct("<8sQQ")
_MOST_SECTIONS = 16
_END = bytes(byte ^ 0xFF for byte in b"ftrt")


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


def read_header(path: Path) -> EngineHeader:
    """The header of an engine; raises ModelError for one that is cut short or has grown."""
    found = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_SECTIONS_AT + _MOST_SECTIONS * _SECTION.size)
        file.seek(-min(found, len(_END)), 2)
        end = file.read()
    kind, flavour = _KINDS[start[:4]]
    if start[:4] == b"ptrt":
        return EngineHeader(kind, flavour)
    if len(start) < _FIXED.size:
        raise _damaged(path, f"at least {_FIXED.size} bytes of an engine's header", f"{found} bytes")
    _, layout, sections, total, *version, _, capabilities = _FIXED.unpack_from(start)
    if layout != 0:
        return EngineHeader(kind, flavour)
    told = ".".join(map(str, version))
    if flavour != "tensorrt_rtx" or not told.startswith(_VERIFIED):
        return EngineHeader(kind, flavour, told)
    if total != found:
        raise _damaged(path, f"{total:,} bytes, as its header says", f"{found:,}")
    if end != _END:
        raise _damaged(path, "the mark of its end", f"the bytes {end.hex(' ')}")
    return EngineHeader(
        kind,
        flavour,
        told,
        tuple(name for bit, name in enumerate(_CAPABILITIES) if capabilities >> bit & 1),
        capabilities >> len(_CAPABILITIES) > 0,
        _weights(path, start, sections, total),
    )


def _weights(path: Path, start: bytes, sections: int, total: int) -> int | None:
    """The bytes of the section of weights; every section has to lie within the file."""
    weights = None
    for index in range(min(sections, _MOST_SECTIONS)):
        place = _SECTIONS_AT + index * _SECTION.size
        if place + _SECTION.size > len(start):
            raise _damaged(path, f"{sections} sections", f"{len(start)} bytes")
        name, offset, length = _SECTION.unpack_from(start, place)
        if offset + length > total:
            raise _damaged(path, f"sections within {total:,} bytes", f"one that ends at {offset + length:,}")
        if name.rstrip(b"\0") == b"THGW":
            weights = length
    return weights


def _damaged(path: Path, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{path} is damaged: expected {expected}, found {found}", "copy it again, or edgekit build-engine"
    )
