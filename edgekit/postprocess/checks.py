"""What is asked of every output that becomes an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.specs import described


def refused(name: str, wanted: str, found: NDArray[Any]) -> DataError:
    """The error for an output of another shape."""
    return DataError(f"{name}: expected {wanted}, found {described(found)}")


def check_finite(name: str, output: NDArray[Any]) -> None:
    """Raise DataError for an output that is not real, or holds a NaN or an infinite value."""
    if output.dtype.kind not in "fiu":
        raise refused(name, "real numbers", output)
    good = np.isfinite(output)
    if not good.all():
        wrong = output.size - np.count_nonzero(good)
        raise DataError(f"{name}: expected finite values, found {wrong} NaN or infinite of {output.size}")
