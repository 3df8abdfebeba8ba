"""Whether this process is a worker that is importing its script, which then must not start workers of its own."""

from __future__ import annotations

from edgekit.errors import UsageError

_importing = False


def begin() -> None:
    """Said by a worker before it imports the app."""
    global _importing
    _importing = True


def end() -> None:
    """And after."""
    global _importing
    _importing = False


def refuse() -> None:
    """Raise UsageError where a script starts its supervisor while a worker imports it."""
    if _importing:
        raise UsageError(
            "expected the supervisor to be started by the script alone, found it started by a worker's import",
            'supervise(…) below if __name__ == "__main__":',
        )
