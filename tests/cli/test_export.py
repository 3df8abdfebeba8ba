"""`edgekit export` as it is seen."""

from __future__ import annotations

import json
import re

from click.testing import CliRunner

from edgekit.cli import root


def test_the_list_is_a_table_of_the_architectures():
    """Three columns that do not run into each other, the same as --json has."""
    shown = CliRunner().invoke(root, ["export", "--list"]).output.splitlines()
    listed = json.loads(CliRunner().invoke(root, ["export", "--list", "--json"]).output)["architectures"]
    assert [re.split(r"  +", line) for line in shown] == [[row["name"], row["family"], row["task"]] for row in listed]
    assert (
        len({line.index(row["task"], line.index(row["family"])) for line, row in zip(shown, listed, strict=True)}) == 1
    )
