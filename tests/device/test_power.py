"""Power modes by number and name, and which of them is the largest."""

from __future__ import annotations

import pytest

from edgekit.device.power import PowerMode, read_power
from tests.device import trees


def test_the_power_mode_by_number_and_name(tree):
    found = read_power(tree(trees.nvpmodel(2, 1, "15W", "25W", "MAXN_SUPER")))
    assert (found.current, found.default) == (PowerMode(2, "MAXN_SUPER"), PowerMode(1, "25W"))
    assert (found.largest, found.is_largest) == (PowerMode(2, "MAXN_SUPER"), True)
    assert [mode.name for mode in found.modes] == ["15W", "25W", "MAXN_SUPER"]


@pytest.mark.parametrize(
    ("names", "largest"),
    [
        (("MAXN", "MODE_15W", "MODE_50W"), "MAXN"),
        (("MAXN", "MAXN_SUPER"), "MAXN_SUPER"),
        (("15W", "7W"), "15W"),  # an Orin Nano without Super has no MAXN
        (("MODE_15W_6CORE", "MODE_20W_2CORE"), "MODE_20W_2CORE"),
        (("quiet", "15W"), None),
        (("quiet",), None),
    ],
)
def test_the_largest_mode(tree, names, largest):
    found = read_power(tree(trees.nvpmodel(0, 0, *names)))
    assert (found.largest and found.largest.name) == largest
    assert found.is_largest == (None if largest is None else names[0] == largest)


@pytest.mark.parametrize(
    ("status", "current"),
    [("pmode:0000", "15W"), ("pmode:0001 fmode:quiet\n", "25W"), ("pmode: 1\n", "25W"), ("pmode:0007", None),
     ("fmode:0001", None), ("pmode:", None), ("pmode:123456789012", None)],
)  # fmt: skip
def test_the_status_of_nvpmodel(tree, status, current):
    found = read_power(tree({**trees.nvpmodel(0, 0, "15W", "25W"), "var/lib/nvpmodel/status": status}))
    assert (found.current and found.current.name) == current
    assert (found.is_largest is None) == (current is None)


def test_no_power_mode(tree):
    assert read_power(tree({})) is None
    assert read_power(tree({"etc/nvpmodel.conf": "# < POWER_MODEL ID=0 NAME=MAXN >\n"})) is None
