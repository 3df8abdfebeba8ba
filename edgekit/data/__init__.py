"""Calibration and evaluation data in the forms that people have it, as batches for the model."""

from __future__ import annotations

from pathlib import Path

from edgekit.data.arrays import ArrayData, open_array_folder, open_npz, write_npz
from edgekit.data.generated import GeneratedData
from edgekit.data.labels import Groups, pick_labels, read_groups, read_labels
from edgekit.data.pictures import PICTURES, PictureData, pictures, read_picture
from edgekit.data.samples import Array, Batch, Data, Indices, Labels, Samples, batch_axes, batches, fixed_batch, told
from edgekit.data.watching import Watched
from edgekit.errors import DataError
from edgekit.specs import ImagePreprocess, TensorSpec

__all__ = [
    "PICTURES",
    "Array",
    "ArrayData",
    "Batch",
    "Data",
    "Groups",
    "Indices",
    "Labels",
    "PictureData",
    "Samples",
    "Watched",
    "batch_axes",
    "batches",
    "check_there",
    "fixed_batch",
    "open_data",
    "pick_labels",
    "pictures",
    "read_groups",
    "read_labels",
    "read_picture",
    "told",
    "write_npz",
]

_FORMS = f"an .npz, a folder of .npz, .npy or pictures ({', '.join(PICTURES)}), or module:callable"


def open_data(
    source: str, inputs: tuple[TensorSpec, ...], preprocess: ImagePreprocess | None, classes: tuple[str, ...] = ()
) -> Data:
    """Open data for a model with these inputs.

    `source` is an .npz whose keys are the input names, a folder of .npz or .npy files, one picture, a folder of
    pictures, or `module:callable` that yields batches; samples stand along axis 0. Pictures need `preprocess`;
    `classes` are the names by which sub-folders label them. Raises DataError when it does not fit the model's inputs.
    """
    if _is_callable(source):
        return GeneratedData(source)
    path = check_there(source)
    if path.suffix == ".npz":
        return open_npz(path, inputs)
    files, arrays = pictures(path), _arrays(path)
    if files and arrays:
        raise DataError(f"expected pictures or arrays in {source}, found both: {files[0].name} and {arrays[0].name}")
    if arrays:
        return open_array_folder(path, arrays, inputs)
    if not files:
        raise DataError(f"expected {_FORMS} at {source}, found none")
    if preprocess is None:
        raise DataError(
            f"expected to know how pictures become the input, found no preprocessing for {source}",
            "--recipe with a [preprocess] table, or an .npz of ready inputs",
        )
    return PictureData(path, files, preprocess, inputs, classes)


def check_there(source: str) -> Path:
    """The data's path; DataError when nothing is there. Cheap: asked before long work."""
    path = Path(source)
    if not _is_callable(source) and not path.exists():
        raise DataError(f"expected data at {source}, found nothing there", _FORMS)
    return path


def _is_callable(source: str) -> bool:
    """`module:callable`, unless a file has that very name."""
    return ":" in source and not Path(source).exists()


def _arrays(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".npy" else []
    files = [file for file in sorted(path.rglob("*")) if file.suffix in (".npz", ".npy") and file.is_file()]
    return [file for file in files if not file.name.startswith(".")]
