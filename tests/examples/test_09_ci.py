"""examples/09_ci: the workflow's own shell lines, run as GitHub runs them, on networks that keep and break a budget."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.reading import BIN, ROOT

yaml = pytest.importorskip("yaml", reason="reads the workflow")
WORKFLOW = yaml.safe_load((ROOT / "examples/09_ci/edgekit.yml").read_text())
(JOB,) = WORKFLOW["jobs"].values()
STEPS = {step["name"]: step for step in JOB["steps"] if "name" in step}
EARLIER = "what an earlier step has said\n"
# What stands in for GitHub's own program: one run on main, whose artifact lies in main/.
GH = """#!/bin/sh
case "$*" in
"run list --repo me/robot --workflow edgekit.yml --branch main --status success "*) [ ! -d main ] || echo 77 ;;
"run download 77 --repo me/robot --name edgekit --dir baseline") cp -r main baseline ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def repository(digits, tmp_path) -> Path:
    """A repository with the files that the workflow names, and the programs that its lines call."""
    for name in ("models", "data", "bin"):
        (tmp_path / name).mkdir()
    shutil.copy(digits / "near.onnx", tmp_path / "models/model.onnx")
    shutil.copy(digits / "good.onnx", tmp_path / "models/fp32.onnx")
    shutil.copy(digits / "data.npz", tmp_path / "data/held_out.npz")
    shutil.copy(digits / "labels.npy", tmp_path / "data/labels.npy")
    for name, script in {"gh": GH, "edgekit": f'#!/bin/sh\nexec {sys.executable} -m edgekit "$@"\n'}.items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "step_summary").write_text(EARLIER)
    return tmp_path


def step(name: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a step as `shell: bash` does (docs.github.com, "Workflow syntax", jobs.<job_id>.steps[*].shell)."""
    assert WORKFLOW["defaults"]["run"]["shell"] == "bash"
    (folder / "script.sh").write_text(STEPS[name]["run"])
    path = os.pathsep.join([str(folder / "bin"), str(BIN), os.environ["PATH"]])
    github = {"GITHUB_STEP_SUMMARY": str(folder / "step_summary"), "GITHUB_REPOSITORY": "me/robot"}
    environment = {**os.environ, **WORKFLOW["env"], **github, "PATH": path, "PYTHONPATH": str(ROOT), **more}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "script.sh"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def few(repository: Path) -> None:
    """So few samples that no class can be judged."""
    with np.load(repository / "data/held_out.npz") as archive:
        np.savez(repository / "data/held_out.npz", **{name: array[:40] for name, array in archive.items()})
    np.save(repository / "data/labels.npy", np.load(repository / "data/labels.npy")[:40])


@pytest.mark.slow  # starts processes, each of which starts others
@pytest.mark.parametrize(
    ("more", "code", "sign"),
    [
        ({}, 0, "✅ PASS"),
        ({"MODEL": "models/wrong.onnx"}, 3, "❌ FAIL"),
        ({"BUDGET": "sqnr_db>=10,p50_ms<=0.000001"}, 4, "❌ FAIL"),
        ({"BUDGET": "worst_slice_drop<=0.5"}, 0, "⚠️ INCONCLUSIVE"),
    ],
)
def test_what_the_codes_mean_for_the_job(repository, digits, more, code, sign):
    shutil.copy(digits / "wrong.onnx", repository / "models/wrong.onnx")
    if "worst" in more.get("BUDGET", ""):
        few(repository)
    done = step("Judge", repository, **more)
    assert done.returncode == code, done.stdout + done.stderr
    summary = (repository / "step_summary").read_text()
    assert summary.startswith(EARLIER)
    assert ("::warning title=edgekit::" in done.stdout) is ("INCONCLUSIVE" in sign)
    kept = {path.name for path in (repository / STEPS["Keep the reports"]["with"]["path"]).glob("*")}
    assert summary.removeprefix(EARLIER).startswith(f"### {sign} (")
    assert kept == {"validate.json", "validate.html", "summary.md"}


def test_what_validate_refuses_fails_and_leaves_nothing(repository):
    (repository / "bin/edgekit").write_text("#!/bin/sh\nexit 1\n")
    assert step("Judge", repository).returncode == 1
    assert (repository / "step_summary").read_text() == EARLIER


@pytest.mark.slow  # starts processes, each of which starts others
def test_a_pull_request_against_main(repository, digits):
    """No report of main yet; then the same network; then one that is less exact."""
    fetch, compare = "Fetch the report of main", "Compare with main"
    assert step(fetch, repository).returncode == 0
    assert not (repository / "baseline").exists()
    assert step("Judge", repository, BUDGET="sqnr_db>=10").returncode == 0
    shutil.copytree(repository / "report", repository / "main")
    done = step(fetch, repository)
    assert (done.returncode, (repository / "baseline/validate.json").is_file()) == (0, True), done.stderr
    done = step(compare, repository)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(digits / "wrong.onnx", repository / "models/model.onnx")
    assert step("Judge", repository, BUDGET="sqnr_db>=10").returncode == 3
    done = step(compare, repository)
    assert done.returncode == 3
    summary = (repository / "step_summary").read_text()
    assert summary.count("\nAgainst main:\n\n    ") == 2
    assert "less exact" in summary


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 0)])
def test_slower_than_main_is_a_warning(repository, code, ends):
    """Whatever `compare` says, for its codes depend on how busy this machine is."""
    (repository / "bin/edgekit").write_text(f"#!/bin/sh\necho 'p50_ms: 1 -> 2'\nexit {code}\n")
    (repository / "report").mkdir()
    done = step("Compare with main", repository)
    assert done.returncode == ends
    assert ("::warning" in done.stdout) is (code in (4, 5))
    assert "\n    p50_ms: 1 -> 2\n" in (repository / "step_summary").read_text()


def test_the_workflow_is_one():
    """What a run of its lines does not show: when it runs, what it may do, that reports are kept after a failure."""
    assert WORKFLOW[True].keys() == {"pull_request", "push"}, "YAML takes `on` for true"
    assert set(WORKFLOW["permissions"].values()) == {"read"}
    assert STEPS["Keep the reports"]["if"] == "always()"
    names = list(STEPS)
    assert names == ["Install edgekit", "Judge", "Fetch the report of main", "Compare with main", "Keep the reports"]
    for name in names[2:4]:
        assert "!cancelled()" in STEPS[name]["if"], "also when the budget is broken"
    assert STEPS["Keep the reports"]["with"]["name"] in STEPS[names[2]]["run"]
    for item in JOB["steps"]:
        assert ("run" in item) is not ("uses" in item)
    text = (ROOT / "examples/09_ci/README.md").read_text()
    assert all(f"| {code}" in text for code in (0, 3, 4, 5))
