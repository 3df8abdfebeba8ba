"""Arrays in .npz files: the golden input of a bundle, and the samples that a model is judged on."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np

from edgekit.data.arrays import open_npz
from edgekit.runtime.loop.golden import Golden
from edgekit.specs import TensorSpec
from tests.fuzz.target import a_file, scratch

_INPUTS = (TensorSpec("x", "float32", ("batch", 2)),)
_ROWS = 8


def golden(data: bytes) -> None:
    """Arrays are arrays, and the same after they were saved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of headers that Python 2 wrote
        found = Golden.load(a_file(data, "golden.npz"))
        for arrays in (found.inputs, found.outputs):
            assert all(isinstance(array, np.ndarray) for array in arrays.values()), arrays
        found.save(scratch() / "again.npz")
        again = Golden.load(scratch() / "again.npz")
    for one, other in ((found.inputs, again.inputs), (found.outputs, again.outputs)):
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert (array.dtype, array.shape) == (other[name].dtype, other[name].shape)
            assert array.tobytes() == other[name].tobytes()


def samples(data: bytes) -> None:
    """The rows that are read are those that NumPy reads."""
    path = a_file(data, "samples.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = open_npz(path, _INPUTS)
        chunks = list(opened.chunks(3, _ROWS))
        index = np.concatenate([chunk.index for chunk in chunks])
        rows = np.concatenate([chunk.inputs["x"] for chunk in chunks])
        assert (rows.dtype, rows.shape) == (np.float32, (min(opened.count, _ROWS), 2))
        wanted = _by_numpy(path, index)
    assert wanted is None or rows.tobytes() == wanted.tobytes()


def _by_numpy(path: Path, index: np.ndarray) -> np.ndarray | None:
    """The same rows; None where NumPy refuses the whole, such as for a row that is not asked for."""
    with contextlib.suppress(Exception), np.load(path) as archive:
        return archive["x"][index]
    return None
