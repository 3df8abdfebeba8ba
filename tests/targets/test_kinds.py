"""targets.toml and the targets that the command line offers are the same, and each refuses what it cannot run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit
from edgekit.configs import TARGETS
from edgekit.device.jetpack import jetpack
from edgekit.errors import TargetError
from edgekit.recipe import read_toml
from edgekit.targets import Target, sm_names, target

RESTRICTED = [name for name in TARGETS if target(name).compute_capabilities]
JETPACK_TARGETS = [name for name in TARGETS if name.startswith("jetpack")]


def test_the_file_and_the_command_line_name_the_same_targets():
    tables = read_toml(Path(edgekit.__file__).parent / "targets" / "targets.toml")
    del tables["cited"]
    assert set(tables) == set(TARGETS)
    for name in TARGETS:
        facts = {key: tuple(value) if isinstance(value, list) else value for key, value in tables[name].items()}
        assert set(target(name).sources) == set(facts.pop("source"))
        assert target(name) == Target(name, **facts)


@pytest.mark.parametrize("name", TARGETS)
def test_the_facts_fit_one_another(name):
    found = target(name)
    assert found.flavour in {"ort", "tensorrt", "tensorrt_rtx"}
    assert all(re.fullmatch(r"\d+\.\d", item) for item in found.compute_capabilities)
    assert set(found.default_compute_capabilities) <= set(found.compute_capabilities)
    on_a_jetson = name.startswith("jetpack")
    assert on_a_jetson == bool(found.tensorrt), "an engine for a Jetson is for one version of TensorRT"
    assert on_a_jetson == bool(found.jetpack) == (found.memory == "shared")
    assert found.plugins in {"none", "own-op", "override"}
    assert found.memory in {"", "shared", "own"}
    assert found.strongly_typed in {"", "always", "by flag"}
    assert len(found.opsets) in (0, 2)
    assert list(found.opsets) == sorted(found.opsets)


@pytest.mark.parametrize("name", JETPACK_TARGETS)
def test_a_version_of_tensorrt_decides_attention_override_and_typing(name):
    """By TensorRT's release notes: Attention from 10.14, plugin override from 10.15, weak typing gone in 11."""
    found = target(name)
    version = tuple(map(int, found.tensorrt.split(".")))
    assert found.imports_attention == (version >= (10, 14))
    assert found.plugins == ("override" if version >= (10, 15) else "own-op")
    assert found.strongly_typed == ("always" if version >= (11,) else "by flag")


@pytest.mark.parametrize("name", JETPACK_TARGETS)
def test_the_table_of_jetpacks_has_the_same_versions(name):
    """edgekit.device.jetpack was written apart, from NVIDIA's pages of each release."""
    found = target(name)
    for version in found.jetpack:
        release = jetpack(version)
        assert release is not None
        assert (release.cuda, release.tensorrt, release.python) == (found.cuda, found.tensorrt, found.python)


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
    with pytest.raises(TargetError, match="found 'cited'"):
        target("cited")


def test_a_target_is_hashable_and_its_sources_are_no_part_of_it():
    assert {target("rtx"): 1}[target("rtx")] == 1
    assert "source" not in repr(target("rtx"))
    assert sm_names(target("rtx").default_compute_capabilities) == "sm80,sm86,sm89,sm120,sm121"


def test_importing_reads_no_file_and_loads_nothing_heavy():
    script = (
        "import sys, edgekit.targets as t; from edgekit.targets.facts import read_facts; "
        "assert read_facts.cache_info().currsize == 0; assert 'agx-thor' in t.DEVICES; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert {"numpy", "onnx", "torch", "click", "tensorrt_rtx"} & set(done.stdout.split()) == set()
