"""Answers of a loop in words, and as lines of JSON in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgekit.errors import OutputError
from edgekit.postprocess import lines
from edgekit.reports import plain
from edgekit.runtime.loop.placed import placed
from edgekit.runtime.loop.report import Processed
from edgekit.specs import Postprocess, Preprocess, described

_FEW = 4  # so many numbers of an array are said in words
_BEGINS = b'{"source": '
_BLOCK = 1 << 16


def brief(spec: Postprocess | None, answer: Any) -> tuple[str, ...]:
    """An answer in short lines: of the windows that a chunk completed the last, of arrays a few values or the shape."""
    if isinstance(answer, list) and spec is None:
        return brief(spec, answer[-1]) if answer else ("no window yet",)
    if answer is None:
        return ("no answer yet",)
    if isinstance(answer, Mapping):
        return tuple(f"{name} {_value(value)}" for name, value in answer.items())
    return lines(spec, answer) if spec is not None else (str(answer),)


class AnswersFile:
    """A sink that writes each answer as one line of JSON, as it comes, behind those that a file of answers has already.

    The file has whole lines alone. One that does not fit any more, as on a full disk, is taken back and raised as
    OutputError, and the next is tried again; half of one that a run left which was killed is taken away. Boxes are in
    pixels of the frame where `preprocessing` is that of the session, else as the answer has them. Raises OutputError
    where it cannot write, and for a file that holds anything else.
    """

    def __init__(self, path: str | Path, preprocessing: Preprocess | None = None) -> None:
        self._path, self._preprocessing = path, preprocessing
        try:
            # Without a buffer: it would keep what did not fit, and write it between other lines.
            self._file = Path(path).open("ab+", buffering=0)  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise OutputError(
                f"expected to write answers to {path}, found: {error.strerror}", "another name"
            ) from error
        if self._file.seekable():
            try:
                self._begin()
            except BaseException:
                self._file.close()
                raise

    def write(self, done: Processed) -> None:
        """`source`, `number`, `captured_ns` (of this machine's monotonic clock), `age_ms`, `held` and the `answer`."""
        frame = done.frame
        line = {
            "source": frame.source,
            "number": frame.number,
            "captured_ns": frame.captured_ns,
            "age_ms": round(done.age_ms, 3),
            "held": done.held,
            "answer": _json(placed(done.answer, self._preprocessing, frame.data)),
        }
        self._append((json.dumps(line, ensure_ascii=False) + "\n").encode())

    def __enter__(self) -> AnswersFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _begin(self) -> None:
        """See that it is a file of answers, and that its last line is whole."""
        self._file.seek(0)
        begins = self._file.read(len(_BEGINS))
        if begins != _BEGINS[: len(begins)]:
            raise OutputError(f"expected a file of answers or none at {self._path}, found another", "another name")
        half = self._half()
        if not half:
            return
        try:
            json.loads(half)
        except ValueError:
            self._file.truncate(self._file.seek(0, 2) - len(half))
        else:
            self._append(b"\n")  # whole, as an editor left it

    def _half(self) -> bytes:
        """What stands behind the last end of a line."""
        size = left = self._file.seek(0, 2)
        while left:
            left = max(0, left - _BLOCK)
            self._file.seek(left)
            tail = self._file.read(size - left)
            if b"\n" in tail:
                return tail[tail.rindex(b"\n") + 1 :]
        return b"" if not size else tail

    def _append(self, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError as error:
            if self._file.seekable():
                end = self._file.tell()
                if os.fstat(self._file.fileno()).st_size == end:  # nobody else's line is behind it
                    self._file.truncate(end - written)
            raise OutputError(
                f"expected to write an answer to {self._path}, found: {error.strerror}", "another disk"
            ) from error


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size <= _FEW:
        return " ".join(f"{item:.4g}" for item in value.reshape(-1).tolist())
    return described(value) if isinstance(value, np.ndarray) else str(value)


def _json(answer: Any) -> Any:
    if isinstance(answer, np.ndarray):
        return plain(answer.tolist())
    if isinstance(answer, np.generic):
        return plain(answer.item())
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        return _json(answer._asdict())
    if isinstance(answer, Mapping):
        return {str(name): _json(value) for name, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [_json(item) for item in answer]
    return plain(answer)
