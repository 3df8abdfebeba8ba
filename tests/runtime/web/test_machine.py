"""Heat and clocks of devices whose files are written out, and of one without any."""

from __future__ import annotations

import pytest

from edgekit.runtime.web.machine import machine_state
from tests.device.trees import AGX_ORIN_JETPACK_721, ORIN_NANO_JETPACK_62, THOR_JETPACK_70, cpus, zone


@pytest.fixture
def root(tmp_path):
    def write(tree):
        for name, text in tree.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return write


def test_a_device_that_tells_nothing_has_no_section(tmp_path):
    assert machine_state(tmp_path) is None


def test_a_jetson_tells_heat_clocks_and_mode(root):
    found = machine_state(root(ORIN_NANO_JETPACK_62))
    assert ("tj-thermal", "48.5 °C of 99 °C (passive)", "") in found["temperatures"]
    assert ("17000000.gpu", "306 MHz of 918 MHz", "") in found["clocks"]
    assert ("6 CPU cores", "730 MHz of 1344 MHz", "") in found["clocks"]
    assert found["facts"] == [("power mode", "25W", "")]


@pytest.mark.parametrize("tree", [AGX_ORIN_JETPACK_721, THOR_JETPACK_70])
def test_other_jetsons_have_rows_of_text(root, tree):
    found = machine_state(root(tree))
    rows = [row for part in found.values() for row in part]
    assert found["temperatures"]
    assert found["clocks"]
    assert all(name and text and tone in ("", "warn", "bad") for name, text, tone in rows)


@pytest.mark.parametrize(("now", "tone"), [(88_000, ""), (89_500, "warn"), (99_000, "bad"), (101_000, "bad")])
def test_near_its_limit_a_zone_stands_out(root, now, tone):
    found = machine_state(root(zone(0, "tj", now, passive=99_000, critical=105_000)))
    assert found["temperatures"] == [("tj", f"{now / 1000:.1f} °C of 99 °C (passive)", tone)]


def test_cores_of_different_speeds_are_one_row(root):
    slow, fast = cpus(2, 800_000, 100_000, 2_000_000, 2_000_000), cpus(4, 1_500_000, 100_000, 2_200_000, 2_200_000)
    found = machine_state(root({**fast, **slow}))
    assert found["clocks"] == [("4 CPU cores", "800 to 1500 MHz of 2200 MHz", "")]


def test_throttling_by_the_supply_is_said(root):
    tree = {"sys/class/hwmon/hwmon1/name": "soctherm_oc\n", "sys/class/hwmon/hwmon1/oc1_event_cnt": "3\n"}
    assert machine_state(root({**tree, "sys/class/hwmon/hwmon1/oc2_event_cnt": "0\n"})) == {
        "temperatures": [],
        "clocks": [],
        "facts": [("throttled by oc1", "3 times", "warn")],
    }
