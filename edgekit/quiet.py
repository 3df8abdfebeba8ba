"""Libraries that print, log and warn of their own internals, in pages, kept from the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, nothing is shown but what is raised; afterwards logging is as it was."""
    disabled, aside = logging.root.manager.disable, io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(aside), contextlib.redirect_stderr(aside):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


@contextlib.contextmanager
def native_stderr_aside() -> Iterator[None]:
    """Within, what a C++ library writes to the process's standard error is dropped; Python's own sys.stderr is shown.

    TensorRT's compiler prints internal errors there, past the logger that gets them as well.
    """
    try:
        sys.stderr.flush()
        shown = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no standard error at all
        yield
        return
    is_ours = _is_fd_2(sys.stderr)
    python = sys.stderr
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        if is_ours:
            sys.stderr = open(shown, "w", encoding=python.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
        try:
            yield
        finally:
            if is_ours:
                sys.stderr.flush()
                sys.stderr = python
            os.dup2(shown, 2)
            os.close(shown)


def _is_fd_2(stream: object) -> bool:
    try:
        return bool(stream.fileno() == 2)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
