"""The tables of plugins/README.md against the code that they speak of."""

from __future__ import annotations

import re

import pytest

from edgekit.plugins import abi
from edgekit.resources import resource

README = (resource("plugins") / "README.md").read_text(encoding="utf-8")
LIMITS = re.findall(
    r"^\| [^|]*, (\d+)\.(\d), (\d+)(?: multiprocessors)? \| (\d+) \| (\d+) \| (\d+) \|$", README, re.MULTILINE
)


def test_the_table_of_limits_is_there():
    assert len(LIMITS) == 7


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: "-".join(row[:3]))
def test_the_most_units_are_the_most(emulator, row):
    """In steps of eight, which is how many units a warp has."""
    major, minor, multiprocessors, *most = map(int, row)
    device = emulator.device(10 * major + minor, multiprocessors)
    for weights, hidden in zip((abi.FLOAT32, abi.FLOAT16, abi.INT8), most, strict=True):
        fits = [
            not emulator.supported(abi.LSTM(steps=1, batch=8, hidden=units, weights=weights), device)
            for units in (hidden, *range(hidden + 8, 2 * hidden, 8))
        ]
        assert fits == [True] + [False] * (len(fits) - 1)
