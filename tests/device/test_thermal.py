"""Heat, its nearest limit, and over-current."""

from __future__ import annotations

from edgekit.device.thermal import OverCurrent, read_thermal
from tests.device import trees


def test_the_nearest_limit_is_not_that_of_a_fan(tree):
    found = read_thermal(tree(trees.ORIN_NANO_JETPACK_62))
    assert [zone.name for zone in found.zones] == ["cpu-thermal", "gpu-thermal", "cv0-thermal", "tj-thermal"]
    cpu = found.zones[0]
    assert (cpu.celsius, cpu.limit, cpu.limit_c, cpu.margin_c) == (48.25, "passive", 99.0, 50.75)
    assert (found.hottest.name, found.nearest.name, found.nearest.margin_c) == ("tj-thermal", "tj-thermal", 50.5)


def test_the_zone_nearest_to_its_limit_need_not_be_the_hottest(tree):
    zones = {**trees.zone(0, "a", 80000, passive=99000), **trees.zone(1, "b", 70000, passive=75000, critical=0)}
    found = read_thermal(tree(zones))
    assert (found.hottest.name, found.nearest.name, found.nearest.margin_c) == ("a", "b", 5.0)


def test_a_zone_without_power_without_trips_or_unreadable_has_none(tree):
    root = tree({**trees.zone(0, "cv0", -256000, passive=99000), **trees.zone(1, "board", 31000, active=50000)})
    (root / "sys/class/thermal/thermal_zone2/temp").mkdir(parents=True)
    off, board, folder = read_thermal(root).zones
    assert (off.celsius, off.limit_c, off.margin_c) == (None, 99.0, None)
    assert (board.celsius, board.limit, board.margin_c) == (31.0, None, None)
    assert (folder.name, folder.celsius) == ("thermal_zone2", None)
    assert read_thermal(root).nearest is None


def test_zero_degrees_are_a_temperature(tree):
    assert read_thermal(tree(trees.zone(0, "a", 0, passive=99000))).hottest.celsius == 0.0


def test_over_current_is_counted_where_the_driver_counts(tree):
    files = {
        "sys/class/hwmon/hwmon1/name": "ina3221\n",
        "sys/class/hwmon/hwmon1/oc9_event_cnt": "5\n",
        "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
        "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
        "sys/class/hwmon/hwmon3/oc2_event_cnt": "many\n",
        "sys/class/hwmon/hwmon3/oc3_event_cnt": "27\n",
        "sys/class/hwmon/hwmon3/oc3_throt_en": "1\n",
    }
    assert read_thermal(tree(files)).over_current == (OverCurrent("oc1", 0), OverCurrent("oc3", 27))
    assert read_thermal(tree({}) / "missing").over_current == ()
