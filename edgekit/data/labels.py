"""What each sample really is: labels beside the data, as an array or as a table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.data.arrays import read_array
from edgekit.data.samples import Data, Indices, Labels
from edgekit.errors import DataError, nearest

# Of a model that names none: no date and no time stamp is below it.
_MOST_CLASSES = 1_000_000

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Groups:
    """What a column of the table says of each sample: sample i is of `names[index[i]]`; `index` is int64 [count]."""

    names: tuple[str, ...]
    index: Indices


def read_labels(source: Path, data: Data, classes: tuple[str, ...]) -> Labels:
    """Labels of all samples of `data`: int64 [count] for classes, [count,S] for sequences.

    `source` is an .npy, an .npz with one array, or a CSV with the columns `sample,label` and maybe others: a sample is
    a picture's path inside its folder, its file name where only one has it, or a number from 0; a label is a class's
    number or one of the names in `classes`. Raises DataError for what does not fit.
    """
    if not source.exists():
        raise DataError(f"expected labels at {source}, found nothing there", "--labels")
    if source.suffix == ".csv":
        return _from_table(source, data, classes)
    labels = read_array(source)
    if labels.dtype.kind not in "iu" or labels.ndim == 0:
        raise DataError(f"{source}: expected labels as int64 [N], found {labels.dtype}{list(labels.shape)}")
    if labels.dtype.kind == "u" and labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{source}: expected labels that int64 holds, found {labels.max()}")
    if data.count is not None and len(labels) != data.count:
        raise DataError(f"{source}: expected a label for each of {data.what}, found {len(labels)}")
    return labels.astype(np.int64)


def read_groups(source: Path, data: Data, column: str) -> Groups:
    """What the CSV of labels says in `column` of every sample of `data`: its camera, its light, its place.

    Samples are named as `read_labels` has it; empty cells are a group of their own, `(empty)`. Raises
    DataError for a file that is no CSV, a column that is not there, and a sample without a row.
    """
    rows = _table(source)
    if column not in rows[0]:
        raise DataError(f"{source}: no column {column!r}; {nearest(column, list(rows[0]))}", "--slices")
    values = [cell or "(empty)" for cell in _cells(source, rows, data, column)]
    names = tuple(sorted(set(values)))
    number = {name: index for index, name in enumerate(names)}
    return Groups(names, np.array([number[value] for value in values], np.int64))


def folder_labels(names: tuple[str, ...], classes: tuple[str, ...]) -> Labels | None:
    """The class of each `folder/…/picture` by its folder's name or number.

    None unless every picture lies in a folder that is a class: folders such as `night/` or `2026-05-01/` sort a set
    without labelling it.
    """
    number_of = _class_numbers(classes)
    found = [number_of(name.split("/")[-2]) if "/" in name else None for name in names]
    known = [number for number in found if number is not None]
    return np.array(known, np.int64) if known and len(known) == len(names) else None


def pick_labels(labels: Labels, index: Indices) -> Labels:
    """The labels of some samples; DataError when there are fewer labels than samples."""
    if len(index) and int(index.max()) >= len(labels):
        raise DataError(f"expected a label for sample {index.max()}, found {len(labels)} labels", "--labels")
    return labels[index]


def _from_table(source: Path, data: Data, classes: tuple[str, ...]) -> Labels:
    number_of = _class_numbers(classes)
    labels = []
    for cell in _cells(source, _table(source), data, "label"):
        number = number_of(cell)
        if number is None:
            raise DataError(f"{source}: expected a class of the model, found {cell!r}; {_classes(cell, classes)}")
        labels.append(number)
    return np.array(labels, np.int64)


def _table(source: Path) -> Rows:
    """The rows of a CSV of labels, one or more; blanks around a cell, and cells beyond the header, are left out."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.DictReader(file, strict=True, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"expected a CSV of labels at {source}, found: {error}") from error
    if not table or not {"sample", "label"} <= set(table[0]):
        columns = ", ".join(map(str, table[0])) if table else "no rows"
        raise DataError(f"{source}: expected the columns sample and label, found {columns}")
    # What a row has beyond the header stands under None.
    return [{name: cell.strip() for name, cell in row.items() if name is not None} for row in table]


def _cells(source: Path, rows: Rows, data: Data, column: str) -> Iterator[str]:
    """What `column` says of each sample of `data`, in their order."""
    by_sample = {row["sample"]: row[column] for row in rows}
    for row in rows:
        name, cell, other = row["sample"], row[column], by_sample[row["sample"]]
        if cell != other:
            raise DataError(f"{source}: expected one {column} for sample {name}, found {cell!r} and {other!r}")
    for spellings in _sample_names(data, len(rows)):
        given = next((by_sample[name] for name in spellings if name in by_sample), None)
        if given is None:
            raise DataError(f"{source}: expected a {column} for sample {spellings[0]}, found none")
        yield given


def _sample_names(data: Data, rows: int) -> list[tuple[str, ...]]:
    """How a table may call each sample."""
    if not data.names:
        return [(str(number),) for number in range(data.count if data.count is not None else rows)]
    files = [name.rsplit("/", 1)[-1] for name in data.names]
    count = Counter(files)
    return [(name, file) if count[file] == 1 else (name,) for name, file in zip(data.names, files, strict=True)]


def _class_numbers(classes: tuple[str, ...]) -> Callable[[str], int | None]:
    """A function from a class's name or number to its number; None for what is no class of the model."""
    known = {name: number for number, name in reversed(list(enumerate(classes)))}
    most = len(classes) or _MOST_CLASSES

    def number_of(text: str) -> int | None:
        number = int(text) if text.isdecimal() and len(text) < 19 else most
        return known.get(text, number if number < most else None)

    return number_of


def _classes(name: str, classes: tuple[str, ...]) -> str:
    return nearest(name, classes)[:200] if classes else "the model names none, so a label is a number from 0"
