"""A user's own function, named as `module:callable` or `path/file.py:callable`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError, nearest


def load_callable(path: str, blame: type[EdgekitError]) -> Callable[[], Any]:
    """Import `module:name` or `path/file.py:name` and return the callable; raises `blame` with one line."""
    where, _, name = path.rpartition(":")
    try:
        module = _import_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except (Exception, SystemExit) as error:  # a training script may end in sys.exit()
        raise blame(f"expected to import {where}, found {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        callables = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise blame(f"expected a callable {name!r} in {where}, found none; {nearest(name, callables)}")
    made: Callable[[], Any] = found
    return made


def call(path: str, function: Callable[[], Any], blame: type[EdgekitError]) -> Any:
    """Call a user's function; what it raises becomes `blame` with its type and words."""
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise blame(f"expected {path} to return, found {type(error).__name__}: {error}") from error


def _import_file(file: Path) -> Any:
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # As `python file.py` does: the file's own neighbours can be imported, and its classes can be found by name.
    sys.path.insert(0, str(file.parent.resolve()))
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module
