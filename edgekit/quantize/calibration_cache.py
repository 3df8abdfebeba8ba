"""Ranges of activations <-> the text of a TensorRT INT8 calibration cache.

    TRT-100300-EntropyCalibration2
    input_1:0: 3c010a14
    conv1/convolution:0: 3d0b7086

The first line is `TRT-<version>-<algorithm>`. Then comes a line a tensor: its name, a colon and a space, and the bits
of its scale, a float32, as hexadecimal digits, the most significant first; scale = largest |x| / 127. It is what
implicit INT8 of TensorRT 5.1 to 10 reads, `trtexec --int8 --calib=F` and DLA included; TensorRT 11 has none.

Sources, and what they say where no specification does:
* NVIDIA's samples/sampleINT8/README.md (TensorRT 7): the form, `abs(max_dynamic_range) / 127.0f`, and that TensorRT
  calibrates anew where version or algorithm do not fit.
* NVIDIA's own writers for DLA and TAO (Deep-Learning-Accelerator-SW, tools/qdq-translator/utils.py): always
  EntropyCalibration2. NvInfer.h calls that calibrator "required for DLA", and trtexec's is one (sampleEngines.cpp).
* The version is NV_TENSORRT_VERSION, which trtexec prints first: 8.6.2 is 8602, 10.3.0 is 100300. TensorRT 10 refuses
  a cache of 8.6 with "Calibration table does not match calibrator algorithm type" and then asks for data that trtexec
  does not have (issue 26 of Deep-Learning-Accelerator-SW); 10.16.2 was seen to read one of 10.3.0 without a word.
* TensorRT's own caches hold names with colons (`input_1:0`) and with spaces (`(Unnamed Layer* 64) [Shuffle]_output`).
* A scale of 0 ends the build from TensorRT 8.5 on: "Assertion getter(i) != 0 failed" (TensorRT issues 4446 and 3020).

The tensors to give are all float activations under their ONNX names: the network's inputs and every layer's outputs. A
layer next to a tensor without a line stays in FP32 or FP16, with a warning ("Missing scale and zero-point").
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping

from edgekit.errors import QuantizeError
from edgekit.quantize.scales import LEVELS

ALGORITHM = "EntropyCalibration2"
JETPACK_6 = "10.3.0"
# Any scale is exact for a tensor that is always 0. That of the range -1..1 has an inverse and products with weights'
# scales that are finite and not 0, in FP16 too, and a later value that is not 0 still has levels to fall on.
SCALE_OF_ZEROS = 1 / LEVELS
_SMALLEST_NORMAL = 2.0**-126
_HEADER = re.compile(r"TRT-[0-9]+-[A-Za-z0-9]+")
_LINE = re.compile(r"(?P<name>.+): (?P<bits>[0-9a-fA-F]{1,8})")


def calibration_cache(largest: Mapping[str, float], version: str = JETPACK_6) -> str:
    """The cache for tensors of which |x| stays below `largest`, in their order; write it as UTF-8 with `\\n` alone.

    `version` is that of the TensorRT that will read it, `10.3.0` or `8.6.1.6`. A scale that float32 cannot hold as a
    normal number, so that of a tensor of zeros, becomes 1/127. Raises QuantizeError for a name that cannot be read
    back, for a range that is negative or not finite, and for a TensorRT that reads no caches.
    """
    if not largest:
        raise QuantizeError("expected the range of one tensor or more, found none")
    lines = [f"TRT-{version_number(version)}-{ALGORITHM}"]
    lines += [f"{_readable(name)}: {_bits(name, bound)}" for name, bound in largest.items()]
    return "\n".join(lines) + "\n"


def read_calibration_cache(text: str) -> dict[str, float]:
    """The scale of each tensor, 0 included: `largest` / 127. Also reads what TensorRT itself has written.

    Raises QuantizeError for a text of another form, a tensor that is named twice, and a scale that is negative or not
    finite.
    """
    header, *lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not _HEADER.fullmatch(header):
        raise QuantizeError(f"expected a calibration cache with TRT-<version>-<algorithm> first, found {header[:60]!r}")
    scales: dict[str, float] = {}
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise QuantizeError(f"expected `tensor: hexadecimal scale` in line {number}, found {line[:60]!r}")
        name = parts["name"]
        if name in scales:
            raise QuantizeError(f"expected each tensor once, found {name!r} again in line {number}")
        (scales[name],) = struct.unpack("!f", bytes.fromhex(parts["bits"].zfill(8)))
        if not 0 <= scales[name] < math.inf:
            raise QuantizeError(f"expected a finite scale of 0 or more, found {scales[name]} for {name!r}")
    return scales


def version_number(version: str) -> int:
    """The header's number for a TensorRT version: `8.6.1` -> 8601, `10.3.0` -> 100300; a build number is left out.

    NvInferRuntimeBase.h composes it: a thousand a major version up to TensorRT 9, ten thousand since 10.
    """
    parts = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2})(\.\d+)?", version, re.ASCII)
    if parts is None:
        raise QuantizeError(f"expected a TensorRT version such as {JETPACK_6}, found {version!r}")
    major, minor, patch = int(parts[1]), int(parts[2]), int(parts[3])
    if not 5 <= major <= 10:
        raise QuantizeError(
            f"expected a TensorRT that reads calibration caches, 5 to 10, found {version}", "give it the Q/DQ model"
        )
    return major * (10000 if major >= 10 else 1000) + minor * 100 + patch


def _readable(name: str) -> str:
    """The name as it stands; one that would be read back as another, or not at all, raises QuantizeError."""
    # TensorRT may look for the first ": " or for the last colon: both find the name where it holds no ": ".
    # A name ends at NUL, since TensorRT's names are C strings.
    if not name or ": " in name or any(sign in name for sign in "\n\r\0"):
        raise QuantizeError(
            f"expected tensor names that a calibration cache can hold, found {name!r}", "rename that tensor"
        )
    return name


def _bits(name: str, bound: float) -> str:
    """The scale of the range -bound..bound as eight hexadecimal digits."""
    if not 0 <= bound < math.inf:
        raise QuantizeError(f"expected a finite range of 0 or more, found {bound} for {name!r}")
    scale = float(bound) / LEVELS
    try:
        return struct.pack("!f", scale if scale >= _SMALLEST_NORMAL else SCALE_OF_ZEROS).hex()
    except OverflowError:
        raise QuantizeError(f"expected a range that float32 holds, found {bound} for {name!r}") from None
