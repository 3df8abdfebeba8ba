"""Numbers in the place of inputs, where there are no real ones: whoever uses them has to say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.specs import TensorSpec


def made_up(specs: tuple[TensorSpec, ...], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
    """Seeded normal numbers for floats, and zeros for all else: an index or a token of zero is in range anywhere.

    Raises DataError for a dtype that NumPy does not have, such as bfloat16.
    """
    random = np.random.default_rng(0)
    return {spec.name: _filled(random, spec, shapes[spec.name]) for spec in specs}


def _filled(random: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    try:
        kind = np.dtype(spec.dtype)
    except TypeError as error:
        raise DataError(f"{spec.name}: expected real inputs for {spec}, found none", "--data D") from error
    return random.normal(size=shape).astype(kind) if kind.kind == "f" else np.zeros(shape, kind)
