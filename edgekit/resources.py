"""Finds the data that lives at the top of the checkout and inside the wheel: recipes and plugin sources."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import EdgekitError

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Return the folder `calibration` or `plugins`, from the wheel if installed so, else from the checkout."""
    for root in (_PACKAGE / "_resources", _PACKAGE.parent):
        if (root / name).is_dir():
            return root / name
    raise EdgekitError(
        f"expected the folder {name}/ in the installed edgekit, found none",
        "install edgekit again from its checkout or wheel",
    )
