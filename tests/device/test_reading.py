"""Numbers and folders as sysfs has them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.device.reading import children, number, whole


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.from_regex(r"-?[0-9]{0,25}", fullmatch=True))
def test_a_number_is_what_int_takes_or_none(value):
    found = whole(value)
    assert found is None or int(value) == found
    if value.isascii() and value.isdecimal() and len(value) <= 19:
        assert found == int(value)


def test_a_folder_has_no_number_and_a_file_no_children(tree):
    root = tree({"file": "12\nmore\n", "cpu10": "", "cpu2": "", "cpufreq": ""})
    assert (number(root / "file"), number(root), number(root / "missing")) == (12, None, None)
    assert [entry.name for entry in children(root, "cpu[0-9]*")] == ["cpu2", "cpu10"]
    assert children(root / "file", "*") == children(root / "missing", "*") == []
