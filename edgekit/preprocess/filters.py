"""Filters of a spectrum: triangles on a mel scale, or a matrix from the bundle."""

from __future__ import annotations

import math
import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import IntegrityError
from edgekit.specs import AudioPreprocess

_MOST_BYTES = 64 * 2**20
# The header of numpy.lib.format, as np.save writes it for a matrix of floats.
_HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00..|\x02\x00....)"
    rb"\{'descr': '(?P<dtype>[<>]f(?P<bytes>[248]))', 'fortran_order': (?P<columns_first>True|False), "
    rb"'shape': \((?P<rows>\d{1,9}), (?P<columns>\d{1,9})\), \} *\n",
    re.DOTALL,
)

# Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, then 27 steps for each factor of 6.4.
_LINEAR_HZ, _BREAK_HZ, _STEP = 200 / 3, 1000.0, math.log(6.4) / 27


def mel_filters(spec: AudioPreprocess) -> NDArray[np.float32]:
    """[bins, bands]: triangles between neighbours of edges that lie evenly on the mel scale.

    The `slaney` norm divides each by half its width in Hz, so that all have the same area; `none` leaves peaks of one.
    As `librosa.filters.mel` and, with `htk` and `none`, torchaudio's `melscale_fbanks` make them.
    """
    low, high = (_mel(hz, spec.scale) for hz in (spec.low, spec.high or spec.rate / 2))
    edges = _hertz(np.linspace(low, high, spec.bands + 2), spec.scale)
    away = edges[None] - np.fft.rfftfreq(spec.fft or spec.window, 1 / spec.rate)[:, None]  # [bins, bands + 2]
    widths = np.diff(edges)
    triangles = np.maximum(0, np.minimum(-away[:, :-2] / widths[:-1], away[:, 2:] / widths[1:]))
    if spec.norm == "slaney":
        triangles *= 2 / (edges[2:] - edges[:-2])
    return np.ascontiguousarray(triangles, np.float32)


def _mel(hz: float, scale: str) -> float:
    if scale == "htk":  # O'Shaughnessy 1987, as in the HTK Book, eq. 5.13
        return 2595 * math.log10(1 + hz / 700)
    return hz / _LINEAR_HZ if hz < _BREAK_HZ else _BREAK_HZ / _LINEAR_HZ + math.log(hz / _BREAK_HZ) / _STEP


def _hertz(mel: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    corner = _BREAK_HZ / _LINEAR_HZ
    return np.where(mel < corner, mel * _LINEAR_HZ, _BREAK_HZ * np.exp((mel - corner) * _STEP))


def read_filters(data: bytes, name: str, bins: int) -> NDArray[np.float32]:
    """A matrix [bins, bands] out of the bytes of an .npy file; [bins - 1, bands] leaves out the last bin.

    The bytes may be anyone's: nothing is unpickled or evaluated, and the header is believed only where it fits the
    bytes behind it. Raises IntegrityError.
    """
    header = _HEADER.match(data) if len(data) <= _MOST_BYTES else None
    shape = (int(header["rows"]), int(header["columns"])) if header else (0, 0)
    if header is None or 0 in shape or len(data) - header.end() != math.prod(shape) * int(header["bytes"]):
        raise IntegrityError(f"{name}: expected filters as a matrix of floats, found none", "np.save(file, matrix)")
    order: Literal["F", "C"] = "F" if header["columns_first"] == b"True" else "C"
    matrix = np.frombuffer(data, header["dtype"].decode(), offset=header.end()).reshape(shape, order=order)
    if shape[0] not in (bins, bins - 1):
        raise IntegrityError(f"{name}: expected filters of {bins} or {bins - 1} bins, found {shape[0]}")
    with np.errstate(over="ignore"):
        filters = np.ascontiguousarray(matrix, np.float32)
    if not np.isfinite(filters).all():
        raise IntegrityError(f"{name}: expected finite filters, found NaN or infinite values")
    return filters
