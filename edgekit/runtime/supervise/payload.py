"""What a worker is given at its start: how to import the app as its supervisor has it, and the function to call."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Callable
from multiprocessing import spawn
from typing import Any, NamedTuple

from edgekit.errors import UsageError, first_line
from edgekit.runtime.supervise.restarts import Restarts
from edgekit.runtime.supervise.wire import MOST_BYTES

_NEXT = "a function at the top of a module: def see(worker): …"
_MAIN = ("init_main_from_name", "init_main_from_path")


class Payload(NamedTuple):
    """`app` is what `multiprocessing.spawn` prepares a process with; `function` is pickled, since `app` comes first.

    `start_ns` is when the supervisor's clock began, of `time.perf_counter_ns`.
    """

    name: str
    app: dict[str, Any]
    function: bytes
    restarts: Restarts
    start_ns: int


def payload_of(name: str, function: Callable[..., object], restarts: Restarts, start_ns: int) -> bytes:
    """Raises UsageError for what is no function, or none that another process can import."""
    if not isinstance(name, str) or not callable(function):
        raise UsageError(f"expected a name and a function of each task, found {name!r}: {function!r}", _NEXT)
    try:
        pickled = pickle.dumps(function)
    except Exception as error:  # whatever a value says that cannot be pickled
        said = f"expected a function that another process can import, found {_named(function)}: {first_line(error)}"
        raise UsageError(f"{name}: {said}", _NEXT) from error
    app = spawn.get_preparation_data(name)
    if b"__main__" in pickled:
        # As for multiprocessing, `python -m package` has no module that can be imported again.
        if not any(key in app for key in _MAIN) or app.get(_MAIN[0], "").endswith("__main__"):
            found = f"expected a function of a module that can be imported, found {_named(function)} of __main__"
            raise UsageError(f"{name}: {found}", _NEXT)
    else:  # nothing of the script is asked for, so that it need not be imported
        for key in _MAIN:
            app.pop(key, None)
    app["authkey"] = bytes(app["authkey"])  # multiprocessing's own type refuses to be pickled
    data = pickle.dumps(Payload(name, app, pickled, restarts, start_ns))
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{name}: expected at most {MOST_BYTES} bytes of arguments, found {len(data)}", "a file's name"
        )
    return data


def command(fd: int, name: str) -> list[str]:
    """A Python like this one, with the same options and the same path, that listens to `fd`; `ps` shows the name."""
    python = spawn.get_command_line()
    code = "import sys; sys.path[:] = sys.argv[3:]; from edgekit.runtime.supervise.child import main; main()"
    return [*python[: python.index("-c")], "-c", code, str(fd), name, *sys.path]


def _named(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", function))
