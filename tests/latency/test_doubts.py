"""Which conditions make a verdict doubtful, read from trees like those of /proc and /sys, and what that does to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgekit.budget import FAIL, INCONCLUSIVE, PASS, Finding, parse_budget
from edgekit.errors import UsageError
from edgekit.latency import Doubt, environment
from edgekit.latency.conditions import Conditions, hottest_c, machine, moment
from edgekit.latency.doubts import DOUBTS, check_allowed, settle, told
from edgekit.latency.nvidia_smi import gpu_states, gpu_users

NONE = "no such program"


def tree(root: Path, **files: str) -> Path:
    """Files by their path, with __ for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def zone(celsius: float, limit: float = 95) -> dict[str, str]:
    folder = "sys__class__thermal__thermal_zone0__"
    return {
        f"{folder}type": "tj",
        f"{folder}temp": str(round(celsius * 1000)),
        f"{folder}trip_point_0_type": "passive",
        f"{folder}trip_point_0_temp": str(round(limit * 1000)),
    }


def found(text: str, outcome: str) -> Finding:
    (limit,) = parse_budget(text)
    return Finding(limit, outcome, 1.0, 0.5, 1.5)


def names(conditions: Conditions, *, on_gpu: bool = False, soaked: bool = False) -> list[str]:
    return [doubt.name for doubt in conditions.doubts(on_gpu=on_gpu, soaked=soaked)]


@pytest.fixture
def smi(tmp_path):
    """`smi(gpu, apps)` is a program that stands in for nvidia-smi and prints these lines."""

    def write(gpu: str, apps: str = "", code: int = 0) -> str:
        program = tmp_path / "nvidia-smi"
        cases = f"--query-gpu=*) printf '%s\\n' '{gpu}';; *) printf '%s\\n' '{apps}';;"
        program.write_text(f"#!/bin/sh\ncase $1 in {cases} esac\nexit {code}\n")
        program.chmod(0o755)
        return str(program)

    return write


@pytest.fixture
def conditions(tmp_path):
    """`conditions(before, after, **machine)` of a quiet machine with these files at either moment."""
    count = iter(range(99))

    def make(before: dict[str, str], after: dict[str, str], **more) -> Conditions:
        roots = [tree(tmp_path / str(next(count)), **files) for files in (before, after)]
        still = dataclasses.replace(machine(roots[0], "no such library", NONE), **more)
        return Conditions(still, *(moment(root, NONE) for root in roots), {})

    return make


def test_a_doubt_keeps_a_pass_back_and_nothing_else():
    doubts = [Doubt("busy", "it is busy"), Doubt("governor", "it is slow")]
    before = [found("p50_ms<=2", PASS), found("p99_ms<=2", FAIL), found("p90_ms<=1", INCONCLUSIVE)]
    after = settle(before, doubts, ("governor",))
    assert [item.outcome for item in after] == [INCONCLUSIVE, FAIL, INCONCLUSIVE]
    assert [item.doubts for item in after] == [("busy",), (), ()]
    assert str(after[0]) == "p50_ms<=2: INCONCLUSIVE, found 1 (0.5 .. 1.5), in doubt: busy"
    assert settle(before, doubts, ("governor", "busy")) == tuple(before)
    assert settle(before, [], ()) == tuple(before)


@pytest.mark.parametrize(
    ("budget", "doubt", "outcome"),
    [
        ("p50_ms<=15", "busy", PASS),  # 1.5 ms at the most: ten times that are within
        ("p50_ms<=14.9", "busy", INCONCLUSIVE),
        ("p99_ms<=15", "busy", INCONCLUSIVE),  # a tail has no such bound
        ("jitter_ms<=15", "governor", INCONCLUSIVE),
        ("cold_start_s<=15", "throttled", PASS),
        ("p50_ms<=15", "made-up-inputs", INCONCLUSIVE),  # other inputs may take any time
        ("p50_ms<=15", "drift", INCONCLUSIVE),
        ("deadline_miss<=1", "busy", INCONCLUSIVE),
    ],
)
def test_the_speed_of_the_machine_does_not_matter_with_a_margin_of_ten(budget, doubt, outcome):
    (after,) = settle([found(budget, PASS)], [Doubt(doubt, "…"), Doubt("hot", "…")], ("hot",))
    assert (after.outcome, after.doubts) == (outcome, () if outcome == PASS else (doubt,))


def test_memory_is_not_in_doubt():
    before = [found("peak_rss_mib<=300", PASS), found("cold_start_s<=3", PASS)]
    assert [item.outcome for item in settle(before, [Doubt("busy", "it is busy")], ())] == [PASS, INCONCLUSIVE]


def test_only_a_known_doubt_can_be_allowed():
    check_allowed(DOUBTS)
    with pytest.raises(UsageError, match="did you mean 'governor'") as error:
        check_allowed(["busy", "govenor"])
    assert error.value.exit_code == 2


def test_a_doubt_names_what_allows_it():
    assert str(Doubt("hot", "it is hot")) == "it is hot (--allow hot)"


def test_the_environment_names_its_doubts(tmp_path):
    root = tree(
        tmp_path,
        proc__loadavg="640.00 1.00 1.00 1/100 1",
        sys__devices__system__cpu__cpu0__cpufreq__scaling_governor="powersave",
    )
    assert [doubt.name for doubt in environment(root).doubts()] == ["busy", "governor"]
    assert [line.endswith("(--allow busy)") for line in told(environment(root).doubts(), ["governor"])] == [True, False]


def test_a_quiet_machine_leaves_no_doubt(conditions):
    assert names(conditions(zone(50), zone(59)), on_gpu=True) == []
    assert names(conditions({}, {}), on_gpu=True) == []


def test_heat(conditions):
    assert names(conditions(zone(84), zone(90.1))) == ["hot"]
    assert names(conditions(zone(40), zone(50.5))) == ["warming"]
    assert names(conditions(zone(40), zone(50.5)), soaked=True) == []
    assert names(conditions(zone(50.5), zone(40))) == []


def test_the_hardware_counts_how_often_it_throttled(conditions):
    def counted(oc: int, cpu: int) -> dict[str, str]:
        return {
            "sys__class__hwmon__hwmon1__name": "soctherm_oc",
            "sys__class__hwmon__hwmon1__oc1_event_cnt": str(oc),
            "sys__devices__system__cpu__cpu0__thermal_throttle__core_throttle_count": "5",
            "sys__devices__system__cpu__cpu1__thermal_throttle__core_throttle_count": str(cpu),
        }

    assert names(conditions(counted(3, 7), counted(3, 7))) == [], "that was before"
    (doubt,) = conditions(counted(3, 7), counted(5, 7)).doubts(on_gpu=False)
    assert (doubt.name, "oc1 2 times" in doubt.text, "cpu" in doubt.text) == ("throttled", True, False)
    (doubt,) = conditions(counted(3, 7), counted(3, 8)).doubts(on_gpu=False)
    assert doubt.text.endswith(": cpu 1 times")


def test_power_mode_and_clocks_of_a_jetson(conditions):
    nvpmodel = {
        "etc__nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >",
        "var__lib__nvpmodel__status": "pmode:0000",
        "sys__class__devfreq__17000000.gpu__cur_freq": "306000000",
        "sys__class__devfreq__17000000.gpu__min_freq": "306000000",
        "sys__class__devfreq__17000000.gpu__max_freq": "1020000000",
    }
    free = conditions(nvpmodel, nvpmodel)
    assert free.machine.power_mode == "15W"
    assert free.before.clocks_mhz == {"17000000.gpu": 306}
    assert names(free) == ["power-mode"], "its GPU does not matter to the CPU"
    assert names(free, on_gpu=True) == ["power-mode", "clocks"]
    held = nvpmodel | {"var__lib__nvpmodel__status": "pmode:0002"}
    held |= {"sys__class__devfreq__17000000.gpu__min_freq": "1020000000"}
    assert names(conditions(held, held), on_gpu=True) == []


def test_what_nvidia_smi_says(smi):
    program = smi(
        "0, NVIDIA RTX A2000, 550.54, 61, 1200, 2100, 0x0000000000000024\n1, Other, 550.54, [N/A], [N/A], 900, 0x1",
        "GPU-1, 4711, /usr/bin/python3\nGPU-1, [N/A], odd",
    )
    first, second = gpu_states(program)
    assert (first.name, first.driver, first.celsius, first.sm_mhz) == ("NVIDIA RTX A2000", "550.54", 61, 1200)
    assert first.slowed_by == ("power cap", "heat, by software")
    assert (second.celsius, second.sm_mhz, second.largest_sm_mhz, second.slowed_by) == (None, None, 900, ())
    assert gpu_users(program) == ("4711 /usr/bin/python3",)


@pytest.mark.parametrize("program", [NONE, "/etc/passwd"])
def test_without_nvidia_smi_there_is_nothing(program):
    assert gpu_states(program) == gpu_users(program) == ()


def test_an_nvidia_smi_that_fails_says_nothing(smi):
    assert gpu_states(smi("0, A, 1, 2, 3, 4, 0x0", code=9)) == ()
    assert gpu_states(smi("Failed to initialize NVML: Driver/library version mismatch")) == ()


def test_a_gpu_that_is_shared_or_slowed_is_doubtful_for_who_runs_on_it(conditions, smi, tmp_path):
    program = smi("0, A, 1, 61, 3, 4, 0x40", "GPU-1, 12, other")
    quiet = conditions({}, {}, gpu_users=gpu_users(program))
    shared = dataclasses.replace(quiet, after=moment(tmp_path / "none", program))
    assert names(shared) == []
    assert names(shared, on_gpu=True) == ["throttled", "gpu-users"]
    assert shared.after.hottest_c == 61


def test_the_warmest_zone_is_told(tmp_path):
    assert hottest_c(tree(tmp_path, **zone(47.25))) == 47.25
    assert hottest_c(tmp_path / "nowhere") is None


def test_this_machine_is_told_as_it_is():
    here = machine()
    assert here.packages["numpy"] == __import__("numpy").__version__
    assert here.environment.cores
    assert here.python.startswith("3.")
