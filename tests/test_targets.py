"""targets.toml and the targets that the command line offers are the same, and each refuses what it cannot run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edgekit
from edgekit.configs import TARGETS
from edgekit.errors import TargetError
from edgekit.recipe import read_toml
from edgekit.targets import Target, target

RESTRICTED = [name for name in TARGETS if target(name).compute_capabilities]


def test_the_file_and_the_command_line_name_the_same_targets():
    tables = read_toml(Path(edgekit.__file__).with_name("targets.toml"))
    assert set(tables) == set(TARGETS)
    for name in TARGETS:
        assert target(name) == Target(
            name, **{key: tuple(value) if isinstance(value, list) else value for key, value in tables[name].items()}
        )


@pytest.mark.parametrize("name", TARGETS)
def test_the_facts_fit_one_another(name):
    found = target(name)
    assert found.flavour in {"ort", "tensorrt", "tensorrt_rtx"}
    assert all(re.fullmatch(r"\d+\.\d", item) for item in found.compute_capabilities)
    assert set(found.default_compute_capabilities) <= set(found.compute_capabilities)
    assert name.startswith("jetpack") == bool(found.tensorrt), "an engine for a Jetson is for one version of TensorRT"


@pytest.mark.parametrize("name", RESTRICTED)
def test_known_capabilities_pass_and_any_other_is_refused(name):
    found = target(name)
    found.check_compute_capabilities(found.compute_capabilities)
    for asked in (("6.1",), (found.compute_capabilities[0], "6.1"), ("",), ("sm_86",)):
        with pytest.raises(TargetError, match=f"of target {re.escape(name)}, found {asked[-1]!r}") as error:
            found.check_compute_capabilities(asked)
        assert error.value.exit_code == 6
        assert error.value.next_step.endswith(", ".join(found.compute_capabilities))


def test_the_cpu_has_no_compute_capability():
    target("cpu").check_compute_capabilities(())
    with pytest.raises(TargetError, match=r"expected no compute capability for target cpu, found 8\.6, 8\.9"):
        target("cpu").check_compute_capabilities(("8.6", "8.9"))


def test_an_unknown_target_names_the_nearest():
    with pytest.raises(TargetError, match=r"found 'jetpack7\.1'; did you mean 'jetpack7\.\d'"):
        target("jetpack7.1")
