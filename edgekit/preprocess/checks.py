"""What is asked of every sample that comes in and of every buffer that is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, IntegrityError, ShapeError
from edgekit.specs import described


def check_array(what: str, item: Any, hint: str) -> None:
    """Raise DataError for what is no array, such as a path or a list."""
    if not isinstance(item, np.ndarray):
        raise DataError(f"expected {what} as an array, found {type(item).__name__} {str(item)[:40]!r}", hint)


def check_finite(what: str, values: NDArray[Any]) -> None:
    """Raise DataError for a NaN or an infinite value.

    Their sum shows them without an array of flags beside them; only a sum that is not finite is looked into.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(values.sum(dtype=np.float64))
    if not math.isfinite(total) and (wrong := int(np.count_nonzero(~np.isfinite(values)))):
        raise DataError(f"expected {what} of finite values, found {wrong} NaN or infinite of {values.size}")


def check_sound(sound: NDArray[Any]) -> None:
    """Raise DataError unless it is mono, floating point and finite."""
    check_array("a sound float32[S]", sound, "np.asarray(sound, np.float32)")
    if sound.dtype.kind in "iu":
        hint = f"sound.astype(np.float32) / {2 ** (8 * sound.dtype.itemsize - 1)}"
        raise DataError(f"expected a sound float32[S] of -1 .. 1, found {described(sound)}", hint)
    if sound.ndim != 1 or sound.dtype.kind != "f":
        hint = "sound.mean(axis=1)" if sound.ndim == 2 else ""
        raise DataError(f"expected a mono sound float32[S], found {described(sound)}", hint)
    check_finite("a sound", sound)


def check_buffer(name: str, view: NDArray[Any], shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
    """Raise ShapeError unless a bound view takes what is to be written."""
    if view.shape != shape or view.dtype not in dtypes or not view.flags.writeable:
        mode = "" if view.flags.writeable else "read-only "
        wanted = ", ".join(map(str, shape))
        raise ShapeError(
            f"{name}: expected a writable {' or '.join(dtypes)} view [{wanted}], found {mode}{described(view)}"
        )


def batch_position(name: str, buffer: NDArray[Any], slot: int) -> NDArray[Any]:
    """The view of batch position `slot`; ShapeError where there is none."""
    if buffer.ndim == 0 or not 0 <= slot < len(buffer):
        raise ShapeError(f"{name}: expected a batch position below its batch, found {slot} of {described(buffer)}")
    view: NDArray[Any] = buffer[slot]
    return view


def only_channel(name: str, buffer: NDArray[Any]) -> NDArray[Any]:
    """A view [N, ...] of a buffer [N, 1, ...]; ShapeError for one of another number of channels."""
    if buffer.ndim < 2 or buffer.shape[1] != 1:
        raise ShapeError(f"{name}: expected an axis of one channel behind the batch, found {described(buffer)}")
    return buffer[:, 0]


def asset(assets: Mapping[str, bytes], name: str) -> bytes:
    """The bytes of a file of the bundle; IntegrityError where it has none of that name."""
    try:
        return bytes(assets[name])
    except KeyError:
        raise IntegrityError(f"expected the bundle to hold {name}, which its preprocessing names, found none") from None
