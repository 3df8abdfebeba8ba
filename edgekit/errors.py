"""Every error that edgekit raises on purpose, and the exit code of its branch.

* EdgekitError             1  the root: one line, "expected …, found …; next: …"
  x ModelError             1  a model file or a user's module cannot be read
  x DataError              1  calibration or evaluation data does not fit
  x RecipeError            1  a recipe or a budget is malformed
  x OutputError            1  an output cannot be written
  x ExportError            1  torch -> ONNX failed or changed the numbers
  x QuantizeError          1  a precision cannot be given to this model
  x BuildError             1  TensorRT refused the model
  x ShapeError             1  a shape or an array does not match the declared tensor
  x SessionError           1  a Session was used wrongly: closed, or from another thread
  x UsageError             2  the command line or a config is wrong in itself
  x TargetError            6  the target or this device cannot build or run it
  x IntegrityError         7  a bundle is damaged, incomplete or hostile

Codes 3, 4 and 5 are verdicts, not errors: see `edgekit.validate`. 130 is Ctrl-C, 143 a SIGTERM.
"""

from __future__ import annotations

from collections.abc import Iterable


class EdgekitError(Exception):
    """The root; the command line prints it as one line and exits with `exit_code`.

    `problem` says what was expected and what was found; `next_step` is the command or option that helps.
    """

    exit_code = 1

    def __init__(self, problem: str, next_step: str = "") -> None:
        problem = one_line(problem)
        super().__init__(f"{problem}; next: {next_step}" if next_step else problem)
        self.problem = problem
        self.next_step = next_step


class ModelError(EdgekitError):
    """A model file or a user's module cannot be read."""


class DataError(EdgekitError):
    """Calibration or evaluation data does not fit the model."""


class RecipeError(EdgekitError):
    """A recipe or a budget is malformed."""


class OutputError(EdgekitError):
    """An output cannot be written where it was asked for."""


class ExportError(EdgekitError):
    """The exported ONNX model is invalid or disagrees with torch."""


class QuantizeError(EdgekitError):
    """The asked precision cannot be given to this model."""


class BuildError(EdgekitError):
    """TensorRT refused the ONNX model, or a compiler the kernels."""


class ShapeError(EdgekitError):
    """A shape, or an array's name, dtype or shape, does not match the declared tensor."""


class SessionError(EdgekitError):
    """A Session was used after it was closed, or from a thread that does not own it."""


class UsageError(EdgekitError):
    """The command line or a config is wrong in itself."""

    exit_code = 2


class TargetError(EdgekitError):
    """The target or this device cannot build or run it."""

    exit_code = 6


class IntegrityError(EdgekitError):
    """A bundle is damaged, incomplete or hostile; nothing of it was loaded."""

    exit_code = 7


def one_line(text: str) -> str:
    """In one line, and printable."""
    return printable(" ".join(text.split()))


def printable(line: str) -> str:
    """What a terminal would obey, begin a line with or cannot show is an escape: a text may be anyone's."""
    return line if line.isprintable() else "".join(it if it.isprintable() else ascii(it)[1:-1] for it in line)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'a' or 'b'?`, or the full list when nothing is near."""
    import difflib  # only when something is wrong

    candidates = sorted(known)
    close = difflib.get_close_matches(name, candidates, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(item) for item in close) + "?"
    return "known are " + ", ".join(candidates)


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of a library's error, or its type where it says nothing; at most `most` characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:most]


def words(error: BaseException) -> str:
    """An error in one line: our own says what was found, another of what type it is too."""
    return error.problem if isinstance(error, EdgekitError) else f"{type(error).__name__}: {first_line(error)}"
