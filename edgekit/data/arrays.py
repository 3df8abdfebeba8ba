"""Samples in .npz and .npy files, read a few at a time: a set larger than memory is as good as any."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgekit.data.samples import (
    Batch,
    Indices,
    Labels,
    Samples,
    batch_axes,
    check_fits,
    check_names,
    sample_first,
    spread,
)
from edgekit.errors import DataError, first_line
from edgekit.specs import TensorSpec

_LENGTH = struct.Struct("<Q")
# A few kB of an archive can say and unpack to any size: what is read at once is bounded, a set as a whole is not.
LARGEST_SAMPLE = 1 << 30  # bytes; a frame of a 60-megapixel camera has 720 MB in float32
LARGEST_WHOLE = 1 << 32  # bytes


@dataclass(frozen=True)
class Column:
    """One stored array, of which rows can be read; `open` gives its bytes from the magic number on."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    fortran: bool
    open: Callable[[], contextlib.AbstractContextManager[IO[bytes]]]


class ArrayData:
    """Arrays by input name, samples along axis 0: the entries of an .npz, or .npy files named after the inputs."""

    def __init__(self, where: Path, columns: dict[str, Column], inputs: tuple[TensorSpec, ...]) -> None:
        check_names(str(where), list(columns), inputs)
        axes = batch_axes(inputs)
        for spec in inputs:
            column = columns[spec.name]
            check_fits(str(where), sample_first(spec, axes), str(column.dtype), column.shape)
        counts = {name: column.shape[0] for name, column in columns.items()}
        if len(set(counts.values())) != 1 or not all(counts.values()):
            raise DataError(
                f"{where}: expected the same number of samples for every input, and at least one, found {counts}"
            )
        self.count: int = next(iter(counts.values()))
        self.what = f"{self.count} samples of {where.name}"
        self.labels: Labels | None = None
        self.names: tuple[str, ...] = ()
        self._where, self._columns = where, columns

    def chunks(self, size: int, limit: int) -> Iterator[Samples]:
        """Read forward only, so that a compressed entry is unpacked once."""
        whole = f"expected whole arrays in {self._where}"
        with contextlib.ExitStack() as stack:
            with _blaming(whole):
                readers = {name: _reader(column, stack) for name, column in self._columns.items()}
            picks = spread(self.count, limit)
            for start in range(0, len(picks), size):
                index = picks[start : start + size]
                with _blaming(whole):
                    inputs: Batch = {name: _rows(read, index) for name, read in readers.items()}
                yield Samples(index, inputs)


class FolderData:
    """Several array files one after the other; each holds samples of one shape, such as one recording."""

    def __init__(self, where: Path, parts: list[ArrayData]) -> None:
        self.count: int = sum(part.count for part in parts)
        self.what = f"{self.count} samples of {len(parts)} files in {where}"
        self.labels: Labels | None = None
        self.names: tuple[str, ...] = ()
        self._parts = parts

    def chunks(self, size: int, limit: int) -> Iterator[Samples]:
        """Each file gives its share of `limit`."""
        picks, first = spread(self.count, limit), 0
        for part in self._parts:
            share = int(np.count_nonzero((picks >= first) & (picks < first + part.count)))
            for chunk in part.chunks(size, share) if share else ():
                yield Samples(chunk.index + first, chunk.inputs)
            first += part.count


def open_npz(path: Path, inputs: tuple[TensorSpec, ...]) -> ArrayData:
    """An .npz whose keys are the input names; only the headers are read now."""
    with _blaming(f"expected an .npz of plain arrays at {path}"), zipfile.ZipFile(path) as archive:
        columns = {
            info.filename.removesuffix(".npy"): _column(_entry(path, info.filename)) for info in archive.infolist()
        }
    return ArrayData(path, columns, inputs)


def open_array_folder(folder: Path, files: list[Path], inputs: tuple[TensorSpec, ...]) -> ArrayData | FolderData:
    """.npz files of the inputs; or .npy files that are named after the inputs, or are samples of the only input."""
    if len({file.suffix for file in files}) > 1:
        raise DataError(f"expected either .npz or .npy files in {folder}, found both")
    if files[0].suffix == ".npz":
        return FolderData(folder, [open_npz(file, inputs) for file in files])
    if len(inputs) == 1:
        parts = [_samples_file(file, inputs[0]) for file in files]
        return parts[0] if len(parts) == 1 else FolderData(folder, parts)
    names = sorted(spec.name for spec in inputs)
    if sorted(file.stem for file in files) != names:
        raise DataError(
            f"expected one .npy for each input in {folder}, {', '.join(names)}, found {files[0].name} and "
            f"{len(files) - 1} others",
            "one .npy an input, or .npz files with an array an input",
        )
    return ArrayData(folder, {file.stem: _npy(file) for file in files}, inputs)


def read_array(path: Path) -> npt.NDArray[Any]:
    """One plain array from an .npy, or from an .npz with a single entry; DataError for anything else, and for an .npz
    that unpacks to more than LARGEST_WHOLE bytes."""
    # Opened here: NumPy leaves the file of a broken archive open.
    with _blaming(f"expected one plain array in {path}"), path.open("rb") as file:
        check_unpacked(file)
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        if len(found.files) != 1:
            raise ValueError(f"{len(found.files)} arrays")
        array: npt.NDArray[Any] = found[found.files[0]]
        return array


def check_unpacked(file: IO[bytes]) -> None:
    """Raise ValueError for an .npz that unpacks to more than LARGEST_WHOLE bytes; other files pass."""
    if zipfile.is_zipfile(file):
        # No reader of a zip unpacks more of an entry than its directory says.
        with zipfile.ZipFile(file) as archive:
            _check_size("an archive", sum(info.file_size for info in archive.infolist()), LARGEST_WHOLE)
    file.seek(0)


def read_npz(file: IO[bytes]) -> Batch:
    """All arrays of an .npz, by name."""
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def write_npz(out: Path | IO[bytes], arrays: Batch) -> None:
    """Write arrays under any names: `np.savez` keeps `file` and `allow_pickle` for itself, and a model may not."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def _check_size(what: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"{what} of {size:,} bytes, more than {most:,}")


def _samples_file(file: Path, spec: TensorSpec) -> ArrayData:
    """Samples along axis 0, or a single sample without that axis."""
    column = _npy(file)
    if len(column.shape) == len(spec.shape) - 1:
        column = replace(column, shape=(1, *column.shape))
    return ArrayData(file, {spec.name: column}, (spec,))


@contextlib.contextmanager
def _blaming(problem: str) -> Iterator[None]:
    """One line of ours: zipfile, its unpackers, NumPy and the disk each have errors of their own for a damaged file."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{problem}, found: {first_line(error)}", "a file of np.save or np.savez") from error


def _npy(path: Path) -> Column:
    with _blaming(f"expected a plain array in {path}"):
        return _column(lambda: path.open("rb"))


def _entry(path: Path, name: str) -> Callable[[], contextlib.AbstractContextManager[IO[bytes]]]:
    @contextlib.contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            yield file

    return opened


def _column(open_file: Callable[[], contextlib.AbstractContextManager[IO[bytes]]]) -> Column:
    with open_file() as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject or not shape:
            raise ValueError("Python objects" if dtype.hasobject else "a number without axes")
        _check_size("a sample", dtype.itemsize * math.prod(shape[1:]), LARGEST_SAMPLE)
        return Column(dtype, shape, file.tell(), fortran and len(shape) > 1, open_file)


def _reader(column: Column, stack: contextlib.ExitStack) -> Callable[[int, int], npt.NDArray[Any]]:
    """A function that reads rows start..stop."""
    file = stack.enter_context(column.open())
    file.read(column.offset)  # no seek: it would turn off the checksum of a stored entry
    row_shape = column.shape[1:]
    if column.fortran:  # its rows do not lie together: only whole
        size = column.dtype.itemsize * math.prod(column.shape)
        _check_size("an array with its columns first", size, LARGEST_WHOLE)
        whole = np.frombuffer(file.read(size), column.dtype).reshape(column.shape, order="F")
        return lambda start, stop: np.ascontiguousarray(whole[start:stop])
    row_bytes = column.dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))

    def read(start: int, stop: int) -> npt.NDArray[Any]:
        file.seek(column.offset + start * row_bytes)
        found = file.read((stop - start) * row_bytes)
        return np.frombuffer(found, column.dtype).reshape(stop - start, *row_shape)

    return read


def _rows(read: Callable[[int, int], npt.NDArray[Any]], index: Indices) -> npt.NDArray[Any]:
    """Rows that lie together are one read."""
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == len(index):
        return read(first, last + 1)
    return np.concatenate([read(row, row + 1) for row in index.tolist()])


def put_batch(stream: IO[bytes], arrays: Batch) -> None:
    """Write arrays by name, for `take_batch` to read: through a pipe, or from a file that holds many."""
    buffer = io.BytesIO()
    write_npz(buffer, arrays)
    stream.write(_LENGTH.pack(buffer.tell()))
    stream.write(buffer.getbuffer())
    stream.flush()


def take_batch(stream: IO[bytes]) -> Batch | None:
    """The next arrays; None when there are no more."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return read_npz(io.BytesIO(message)) if len(message) == length else None
