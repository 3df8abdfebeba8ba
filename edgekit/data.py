"""Calibration and evaluation data in the forms that people have it, as batches for the model."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from edgekit.errors import DataError, nearest
from edgekit.preprocess import apply
from edgekit.specs import Preprocess, TensorSpec

Batch = dict[str, npt.NDArray[Any]]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class Data(Protocol):
    """Samples that fit a model; `what` says in a few words what they are."""

    what: str

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Batch:
        """Samples start..stop as one batch, by input name."""


def open_data(source: str, inputs: tuple[TensorSpec, ...], preprocess: Preprocess | None) -> Data:
    """Open an .npz whose keys are the input names, one picture, or a folder of pictures.

    Raises DataError when it does not fit the model's inputs.
    """
    path = check_there(source)
    if path.suffix == ".npz":
        return ArrayData(path, inputs)
    files = pictures(path)
    if not files:
        raise DataError(f"expected an .npz or pictures ({', '.join(PICTURES)}) in {source}, found none")
    if preprocess is None:
        raise DataError(
            f"expected to know how pictures become the input, found no preprocessing for {source}",
            "--recipe with a [preprocess] table, or an .npz of ready inputs",
        )
    return PictureData(files, preprocess, inputs, str(path))


def check_there(source: str) -> Path:
    """The data's path; DataError when nothing is there. Cheap: asked before long work."""
    path = Path(source)
    if not path.exists():
        raise DataError(f"expected data at {source}, found nothing there")
    return path


def batching(data: Data, inputs: tuple[TensorSpec, ...], preferred: int, limit: int) -> tuple[int, int]:
    """The batch size and the number of samples: a model with a fixed batch takes whole batches only.

    Raises DataError when there are too few samples for one batch.
    """
    fixed = inputs[0].shape[0] if inputs[0].shape else 1
    size = fixed if isinstance(fixed, int) else preferred
    count = min(len(data), limit)
    if isinstance(fixed, int):
        count -= count % size
    if count == 0:
        raise DataError(f"expected at least {size} samples for a model with a batch of {size}, found {len(data)}")
    return size, count


def batches(data: Data, size: int, limit: int) -> Iterator[Batch]:
    """Whole batches of `size` and, where the model allows it, the rest; at most `limit` samples."""
    total = min(len(data), limit)
    for start in range(0, total, size):
        yield data.read(start, min(start + size, total))


def doubts(low: Mapping[str, float], high: Mapping[str, float], count: int) -> tuple[str, ...]:
    """What looks wrong about the data although it fits, one line each; `low` and `high` are the inputs' ranges."""
    found = [f"input {name!r} is {low[name]:g} in every sample" for name in low if low[name] == high[name]]
    if count == 1:
        found.append("one sample only: ranges need to have seen what the camera will see")
    found += [
        f"input {name!r} runs from {low[name]:g} to {high[name]:g}: pixels of 0..255 that no one has normalised?"
        for name in low
        if low[name] >= 0 and 200 < high[name] <= 255
    ]
    return tuple(found)


class ArrayData:
    """An .npz with samples along axis 0."""

    def __init__(self, path: Path, inputs: tuple[TensorSpec, ...]) -> None:
        try:
            # Opened here: NumPy leaves the file of a broken archive open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception as error:  # zipfile, numpy and OS errors, all for a file that is no .npz of plain arrays
            raise DataError(f"expected an .npz of plain arrays at {path}, found: {error}") from error
        for name in arrays:
            if name not in {spec.name for spec in inputs}:
                raise DataError(f"{path}: no input {name!r}; {nearest(name, [spec.name for spec in inputs])}")
        self._arrays = {spec.name: _fitting(path, spec, arrays) for spec in inputs}
        counts = {name: len(array) for name, array in self._arrays.items()}
        if len(set(counts.values())) != 1 or not all(counts.values()):
            raise DataError(f"{path}: expected the same number of samples for every input, found {counts}")
        self.what = f"{len(self)} samples of {path.name}"

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def read(self, start: int, stop: int) -> Batch:
        """Views, not copies."""
        return {name: array[start:stop] for name, array in self._arrays.items()}


class PictureData:
    """Picture files, decoded and preprocessed when they are read."""

    def __init__(
        self, files: tuple[Path, ...], preprocess: Preprocess, inputs: tuple[TensorSpec, ...], where: str
    ) -> None:
        self._spec = next((spec for spec in inputs if spec.name == preprocess.input), None)
        if self._spec is None or len(inputs) != 1:
            names = ", ".join(spec.name for spec in inputs)
            raise DataError(f"expected a model with the one input {preprocess.input!r} for pictures, found {names}")
        self._files, self._preprocess = files, preprocess
        self.what = f"{len(files)} pictures of {where}"

    def __len__(self) -> int:
        return len(self._files)

    def read(self, start: int, stop: int) -> Batch:
        """float32 [N,C,crop,crop], or channels last."""
        crop, channels = self._preprocess.crop, len(self._preprocess.mean)
        frame = (channels, crop, crop) if self._preprocess.layout == "NCHW" else (crop, crop, channels)
        batch = np.empty((stop - start, *frame), np.float32)
        for row, file in enumerate(self._files[start:stop]):
            apply(self._preprocess, read_picture(file), batch[row])
        return {self._preprocess.input: batch}


def write_npz(path: Path, arrays: Batch) -> None:
    """Write arrays under any names: `np.savez` keeps `file` and `allow_pickle` for itself, and a model may not."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def pictures(path: Path) -> tuple[Path, ...]:
    """The picture files at `path`, a file or a folder with sub-folders, sorted."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return tuple(file for file in files if file.suffix.lower() in PICTURES and file.is_file())


def read_picture(file: Path) -> npt.NDArray[np.uint8]:
    """Decode a picture to uint8 [H,W,3] RGB, turned upright as its EXIF says."""
    try:
        with Image.open(file) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Pillow's decoders raise what they like on a damaged file
        raise DataError(f"expected a picture at {file}, found: {error}") from error


def _fitting(path: Path, spec: TensorSpec, arrays: Batch) -> npt.NDArray[Any]:
    if spec.name not in arrays:
        raise DataError(f"{path}: expected an array {spec.name!r}, found {', '.join(arrays) or 'none'}")
    array = arrays[spec.name]
    # Samples stand along axis 0, however many the model takes at once.
    per_sample = TensorSpec(spec.name, spec.dtype, ("N", *spec.shape[1:]))
    try:
        per_sample.check(str(array.dtype), array.shape)
    except Exception as error:
        raise DataError(f"{path}: {error}") from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{path}: expected finite numbers in {spec.name!r}, found NaN or Inf")
    return array
