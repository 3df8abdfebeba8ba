"""TensorRT's timing cache: what it measured of kernels on this GPU, kept so that the next build need not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.build.flavour import Flavour
from edgekit.errors import BuildError, OutputError
from edgekit.files import written_aside


def load_timing_cache(flavour: Flavour, settings: Any, path: Path | None) -> tuple[str, ...]:
    """Give `settings` the cache in `path`, or an empty one to fill; returns notes.

    TensorRT-RTX measures nothing when it builds (its 1.2 release notes), so it gets none. Raises BuildError for a file
    that this TensorRT does not take: a cache is for one version and one GPU (TensorRT developer guide, "Timing Cache").
    """
    if path is None:
        return ()
    if flavour.is_rtx:
        return (f"TensorRT-RTX measures no kernels while it builds: {path} was neither read nor written",)
    try:
        stored = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise BuildError(f"expected a timing cache at {path}, found: {error.strerror}", "--timing-cache") from error
    cache = settings.create_timing_cache(stored)
    if cache is None or not settings.set_timing_cache(cache, False):
        raise BuildError(
            f"expected a timing cache of {flavour.name} {flavour.version} for this GPU in {path}, found another",
            "--timing-cache with another file; it will be made",
        )
    return ()


def save_timing_cache(flavour: Flavour, settings: Any, path: Path | None) -> None:
    """Write what `settings` holds now. Raises OutputError where it cannot be written."""
    if path is None or flavour.is_rtx:
        return
    cache = settings.get_timing_cache()
    serialized = None if cache is None else cache.serialize()
    if serialized is None:
        raise OutputError(f"expected TensorRT to give its timing cache for {path}, found none")
    with written_aside(path) as partial:
        partial.write_bytes(memoryview(serialized))
