"""The process that fuzzes one target: python -m tests.fuzz.one NAME and libFuzzer's own arguments."""

from __future__ import annotations

import sys

import atheris

# tomllib, zipfile and NumPy's readers are Python, too: to get through them is what an input has to.
_WATCHED = ["edgekit", "tests.fuzz", "tomllib", "zipfile", "numpy.lib"]


def main() -> None:
    """Fuzz until the time is over or something breaks; libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=_WATCHED):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]

    def once(data: bytes) -> None:
        target.accepts(data)

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
