"""The table of JetPacks against the table of targets."""

from __future__ import annotations

import pytest

from edgekit.configs import TARGETS
from edgekit.device.jetpack import JETPACKS, jetpack, jetpack_of, target_for
from edgekit.targets import target


def test_each_target_of_a_jetson_has_a_jetpack_and_the_same_tensorrt():
    """targets.toml and the table of JetPacks were written apart, from the same pages."""
    for name in (name for name in TARGETS if name.startswith("jetpack")):
        capability = target(name).compute_capabilities[-1]
        named = [item for item in JETPACKS if target_for(item.tensorrt, capability) == name]
        assert named, name
        assert {item.tensorrt for item in named} == {target(name).tensorrt}
        assert {item.version[0] for item in named} == {name.removeprefix("jetpack")[0]}


def test_jetpack_6_begins_at_61_and_72_at_722():
    orin = {item.version: target_for(item.tensorrt, "8.7") for item in JETPACKS}
    thor = {item.version: target_for(item.tensorrt, "11.0") for item in JETPACKS}
    assert [version for version in orin if orin[version] == "jetpack6"] == ["6.1", "6.2", "6.2.1", "6.2.2"]
    assert [version for version in thor if thor[version] == "jetpack7.0"] == ["7.0", "7.1"]
    assert [version for version in orin if orin[version] == "jetpack7.2"] == ["7.2.2"]
    assert (orin["6.0"], orin["7.0"], orin["7.2"], thor["6.2"]) == (None,) * 4


@pytest.mark.parametrize(
    ("tensorrt", "capability", "expected"),
    [("10.3.0.30", None, "jetpack6"), ("10.30", "8.7", None), ("10.3", "7.2", None), ("10", "8.7", None),
     ("", "8.7", None), (None, None, None), ("11.4.1", "11.0", "jetpack7.2")],
)  # fmt: skip
def test_a_target_is_for_a_major_and_a_minor_version(tensorrt, capability, expected):
    assert target_for(tensorrt, capability) == expected


def test_no_jetson_linux_is_two_jetpacks():
    releases = [release for item in JETPACKS for release in item.l4t]
    assert len(releases) == len(set(releases))
    assert (jetpack_of("36.4.3"), jetpack_of("39.2.0"), jetpack_of("39.2.2"), jetpack_of(None)) == (
        "6.2",
        "7.2",
        None,
        None,
    )
    assert jetpack("6.2").python == "3.10"
    assert jetpack("6.3") is None
