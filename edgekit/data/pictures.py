"""Picture files, decoded and preprocessed when they are read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from edgekit.data.labels import folder_labels
from edgekit.data.samples import Indices, Labels, Samples, spread
from edgekit.errors import DataError, first_line
from edgekit.preprocess.image import apply
from edgekit.specs import ImagePreprocess, TensorSpec

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class PictureData:
    """Pictures of one folder; a sub-folder's name labels what is in it, where `classes` knows that name."""

    def __init__(
        self,
        where: Path,
        files: tuple[Path, ...],
        preprocess: ImagePreprocess,
        inputs: tuple[TensorSpec, ...],
        classes: tuple[str, ...],
    ) -> None:
        if len(inputs) != 1 or inputs[0].name != preprocess.input:
            names = ", ".join(spec.name for spec in inputs)
            raise DataError(f"expected a model with the one input {preprocess.input!r} for pictures, found {names}")
        self.files, self._preprocess = files, preprocess
        root = where if where.is_dir() else where.parent
        self.names: tuple[str, ...] = tuple(file.relative_to(root).as_posix() for file in self.files)
        self.count = len(self.files)
        self.what = f"{self.count} pictures of {where}"
        self.labels: Labels | None = folder_labels(self.names, classes)

    def chunks(self, size: int, limit: int) -> Iterator[Samples]:
        """float32 [N,C,crop,crop], or channels last."""
        picks = spread(self.count, limit)
        for start in range(0, len(picks), size):
            index = picks[start : start + size]
            yield Samples(index, {self._preprocess.input: self._read(index)})

    def _read(self, index: Indices) -> npt.NDArray[Any]:
        crop, channels = self._preprocess.crop, len(self._preprocess.mean)
        frame = (channels, crop, crop) if self._preprocess.layout == "NCHW" else (crop, crop, channels)
        batch = np.empty((len(index), *frame), np.float32)
        for row, sample in enumerate(index.tolist()):
            apply(self._preprocess, read_picture(self.files[sample]), batch[row])
        return batch


def pictures(path: Path) -> tuple[Path, ...]:
    """The picture files at `path`, a file or a folder with sub-folders, sorted; hidden ones are some tool's own."""
    if path.is_file():
        return (path,) if path.suffix.lower() in PICTURES else ()
    files = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in PICTURES and file.is_file()]
    return tuple(file for file in files if not file.name.startswith("."))


def read_picture(file: Path) -> npt.NDArray[np.uint8]:
    """Decode a picture to uint8 [H,W,3] RGB, turned upright as its EXIF says.

    Raises DataError for what is none, and for more pixels than Pillow takes for a decompression bomb (89 million).
    """
    try:
        with _opened(file) as image:
            if image.mode[0] in "IF":  # Pillow would clip these to 0..255
                raise ValueError(f"more than 8 bits a channel, mode {image.mode}")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Pillow's decoders raise what they like on a damaged file
        raise DataError(f"expected a picture at {file}, found: {first_line(error)}", "another file") from error


def _opened(file: Path) -> Image.Image:
    """Pillow only warns of a bomb up to twice its own limit, and decodes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file)
