"""Checks that several specs make of their numbers; each raises RecipeError in one line."""

from __future__ import annotations

import math

from edgekit.errors import RecipeError


def whole(where: str, name: str, value: int, low: int, high: int) -> None:
    """`value` lies in low..high. The bundle may be hostile: what sizes a buffer needs an upper limit, too."""
    if not low <= value <= high:
        raise RecipeError(f"{where}.{name}: expected {low} .. {high}, found {value}")


def finite(where: str, name: str, value: float, low: float = -math.inf, high: float = math.inf) -> None:
    """`value` is a finite number in low..high."""
    if not (math.isfinite(value) and low <= value <= high):
        raise RecipeError(f"{where}.{name}: expected a finite number in {low:g} .. {high:g}, found {value}")


def scaling(where: str, mean: tuple[float, ...], std: tuple[float, ...], counts: tuple[int, ...] = ()) -> None:
    """As many means as stds, all finite and no std zero; one of `counts` of them, where that is known."""
    wanted = " or ".join(map(str, counts))
    if len(mean) != len(std) or (counts and len(mean) not in counts):
        raise RecipeError(f"{where}: expected {wanted or 'as many'} means and stds, found {len(mean)} and {len(std)}")
    if not all(map(math.isfinite, (*mean, *std))) or not all(std):
        raise RecipeError(f"{where}: expected finite means and finite stds other than zero")
