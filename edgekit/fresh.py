"""A fresh Python that calls one function of ours: for what may crash or hang, or must not share our memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

_ROOT = Path(__file__).parents[1]
# Not `-m`: that puts the current folder first, where a user's random.py would stand in for Python's own.
START = (
    "import sys; sys.path[:] = [item for item in sys.path if item] + [sys.argv[1]]; "
    "from importlib import import_module; import_module(sys.argv[2]).child(*sys.argv[3:])"
)


def fresh_python(module: str, *arguments: str) -> list[str]:
    """The command of a process that calls `child(*arguments)` of a module of ours, from wherever that was imported."""
    return [sys.executable, "-c", START, str(_ROOT), module, *arguments]


def answers_only(mode: str) -> IO[Any]:
    """In the process: its standard output as a file, for answers alone.

    What a library prints, also in C++, goes to standard error from then on.
    """
    answers = os.fdopen(os.dup(1), mode)
    os.dup2(2, 1)
    return answers
