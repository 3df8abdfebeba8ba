"""The header of an engine file: `edgekit.bundle` reads it before an engine is loaded, `inspect` for a person."""

from __future__ import annotations

from pathlib import Path

from edgekit.bundle.engine_header import EngineHeader, is_engine, parse_header
from edgekit.bundle.window import Window

__all__ = ["EngineHeader", "is_engine", "read_header"]


def read_header(path: Path) -> EngineHeader:
    """The header of an engine; raises ModelError for one that is cut short or has grown."""
    with path.open("rb") as file:
        return parse_header(Window.of(file.fileno(), 0, path.stat().st_size), str(path))
