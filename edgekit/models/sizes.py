"""What the sizes of a network must be, and how far the open ones go."""

from __future__ import annotations

from edgekit.errors import UsageError


def sizes_from_one(config: object, **least: int) -> None:
    """Raise UsageError where a whole number of a config, a size or a count, is below 1 or its own `least`."""
    for name, value in vars(config).items():
        if type(value) is int and value < least.get(name, 1):
            raise UsageError(f"{name}: expected {least.get(name, 1)} or more, found {value}")


def check_heads(heads: int, width: int, said: str) -> None:
    """Raise UsageError unless the heads share `width`, which is called `said`, without a rest."""
    if width % heads:
        raise UsageError(f"heads: expected a divisor of {said}, found {heads}")


def up_to(longest: int) -> tuple[int, int, int]:
    """(min, opt, max) of a length that a network bounds, tuned for 128."""
    return 1, min(128, longest), longest
