"""What a package takes along of edgekit itself, so that a device needs neither a checkout nor a wheel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.resources import resource

_PACKAGE = Path(__file__).parents[1]
_RESOURCES = "_resources"
# How hatchling writes what an extra needs: `onnx>=1.19; extra == 'build'`, `x; (its own marker) and extra == 'build'`.
_OF_EXTRA = re.compile(r"(?:(.*) and )?extra == ['\"]([^'\"]+)['\"]")


def own_sources() -> Iterator[tuple[str, bytes]]:
    """Every file of the package with its name, `edgekit/…`, in order; recipes and plugin sources as in the wheel."""
    yield from _tree(_PACKAGE, "edgekit")
    for name in ("calibration", "plugins"):
        yield from _tree(resource(name), f"edgekit/{_RESOURCES}/{name}")


def _tree(root: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """The files below `root`, but for what Python, editors and interrupted writes leave there."""
    for file in sorted(root.rglob("*")):
        parts = file.relative_to(root).parts
        left_over = file.suffix in (".pyc", ".part") or "__pycache__" in parts or file.name.endswith("~")
        if file.is_file() and not left_over and parts[0] != _RESOURCES and not any(part[0] == "." for part in parts):
            yield "/".join((name, *parts)), file.read_bytes()


def runs_from_a_package() -> bool:
    """Whether these sources are themselves those of a package, on the device that it was made for."""
    return (_PACKAGE.parent / "SHA256SUMS").is_file()


def licence() -> bytes | None:
    """The licence, which must go along with the sources: the checkout's, else as pip installed it; None without one."""
    beside = _PACKAGE.parent / "LICENSE"
    if beside.is_file():
        return beside.read_bytes()
    text = metadata.distribution("edgekit").read_text("licenses/LICENSE")
    return text.encode() if text else None


def requirements(*extras: str) -> tuple[str, ...]:
    """What pip must bring on a device that builds: edgekit's own needs, those of the extra `build` and of `extras`.

    Raises EdgekitError where pip does not know edgekit.
    """
    try:
        return tuple(needed(metadata.requires("edgekit") or (), "build", *extras))
    except metadata.PackageNotFoundError as error:
        problem = "expected an installed edgekit, whose needs a package lists, found its sources alone"
        raise EdgekitError(problem, "pip install of the checkout or wheel") from error


def needed(lines: Iterable[str], *extras: str) -> Iterator[str]:
    """Of `Requires-Dist` lines those of no extra and of `extras`; other markers stay, pip judges them on the device.

    Source: Core metadata specification, "Requires-Dist"; PEP 508 for the markers.
    """
    for line in lines:
        name, _, marker = (part.strip() for part in line.partition(";"))
        extra = _OF_EXTRA.fullmatch(marker)
        if extra and extra[2] not in extras:
            continue
        rest = (extra[1] or "") if extra else marker
        yield f"{name}; {rest}" if rest else name
