"""Answers of a loop in words, and as lines of JSON in a file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from edgekit.errors import OutputError
from edgekit.postprocess import lines
from edgekit.reports import plain
from edgekit.runtime.loop.placed import placed
from edgekit.runtime.loop.report import Processed
from edgekit.specs import Postprocess, Preprocess, described

_FEW = 4  # so many numbers of an array are said in words
_BEGINS = b'{"source": '


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

    Boxes are in pixels of the frame where `preprocessing` is that of the session, else as the answer has them. Raises
    OutputError where it cannot write, and for a file that holds anything else.
    """

    def __init__(self, path: str | Path, preprocessing: Preprocess | None = None) -> None:
        self._preprocessing = preprocessing
        try:
            self._file: TextIO = Path(path).open("a+", encoding="utf-8", buffering=1)  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise OutputError(f"expected to write answers to {path}, found: {error.strerror}") from error
        if self._file.seekable():
            self._file.seek(0)
            begins = self._file.buffer.read(len(_BEGINS))
            if begins not in (b"", _BEGINS):
                self._file.close()
                raise OutputError(f"expected a file of answers or none at {path}, found another", "another name")

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
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def __enter__(self) -> AnswersFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a disk that is full was told by `write`
            self._file.close()


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
