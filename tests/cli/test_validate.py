"""`edgekit validate` as a person or a script calls it: the lines, the JSON, the code, the report beside the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.latency.doubts import DOUBTS


@pytest.fixture
def here(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in digits.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dusk_here(dusk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in dusk.iterdir():
        shutil.copy(file, tmp_path / ("good.onnx" if file.name == "fp32.onnx" else file.name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], model: str, *more: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["validate", model, "--reference", "good.onnx", "--data", "data.npz", *more])
    return int(exit_info.value.code or 0), capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "more", "code", "says"),
    [
        ("near.onnx", ["--budget", "sqnr_db>=10,top1_drop<=0.1", "--labels", "labels.csv"], 0, "top1_drop<=0.1: PASS"),
        ("wrong.onnx", ["--budget", "sqnr_db>=10"], 3, "sqnr_db>=10: FAIL"),
        ("good.onnx", ["--budget", "p99_ms<=0.000001", "--requests", "60"], 4, "p99_ms<=1e-06: FAIL"),
        ("good.onnx", ["--budget", "p99_ms<=60000", "--requests", "50"], 5, "samples missing"),
    ],
)
def test_the_code_and_the_last_lines(here, capsys, model, more, code, says):
    found, out = printed(capsys, model, *more)
    assert found == code
    assert says in out
    verdict = {0: "PASS", 3: "FAIL", 4: "FAIL", 5: "INCONCLUSIVE"}[code]
    assert out.splitlines()[-1] == f"{verdict} (ort, cpu)"
    assert json.loads(Path(f"{model}.validate.json").read_text())["exit_code"] == code


def test_equal_is_said_as_such(here, capsys):
    _, out = printed(capsys, "good.onnx")
    assert "SQNR against the reference: logits equal, double equal" in out


def test_json_is_the_report(here, capsys):
    calm = [option for name in DOUBTS for option in ("--allow", name)]  # whatever else this machine is doing
    asked = ["--budget", "p50_ms<=60000,deadline_miss<=0.9", "--fps", "100", *calm]
    code, out = printed(capsys, "near.onnx", "--json", *asked)
    table = json.loads(out)
    assert table == json.loads(Path("near.onnx.validate.json").read_text())
    assert (code, table["stage"], table["latency"]["mode"]) == (0, "validate", "fixed-rate")
    assert [finding["limit"]["key"] for finding in table["findings"]] == ["p50_ms", "deadline_miss"]


def test_a_damaged_slice_is_named_and_fails(dusk_here, capsys):
    more = ["--labels", "labels.csv", "--slices", "label", "--samples", "2000"]
    code, out = printed(capsys, "dusk.onnx", "--budget", "top1_drop<=0.03", *more)
    lines = out.splitlines()
    assert code == 3
    assert "slices by label: 10 judged, 0 of fewer than 30 samples not judged" in lines
    assert any(line.startswith("  FAIL label ") for line in lines)
    assert any(line.startswith("top1_drop<=0.03: PASS, found 0.0") for line in lines)
    assert lines[-2].startswith("worst_slice_drop<=0.01: FAIL, found 0.1")
    assert lines[-1] == "FAIL (ort, cpu)"


def test_robustness_is_told(dusk_here, capsys):
    code, out = printed(capsys, "day.onnx", "--labels", "labels.csv", "--robustness", "--json")
    found = json.loads(out)["accuracy"]["robustness"]
    assert (code, found["inputs"], found["samples"]) == (0, ["image"], 32)
    assert found["perturbed"][0] == {
        "kind": "none", "strength": 0.0, "sqnr_db": found["perturbed"][0]["sqnr_db"], "agreement": 1.0,
        "reference_kept": 1.0, "found_kept": 1.0,
    }  # fmt: skip
    _, out = printed(capsys, "day.onnx", "--labels", "labels.csv", "--robustness")
    assert "robustness on 32 samples, image perturbed:" in out
    assert "  noise 8%: SQNR " in out


def test_a_column_that_is_not_there_names_the_nearest(dusk_here, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["validate", "day.onnx", "--reference", "good.onnx", "--data", "data.npz", "--labels", "labels.csv",
              "--slices", "imk"])  # fmt: skip
    assert exit_info.value.code == 1
    assert capsys.readouterr().err == (
        "edgekit: error: labels.csv: no column 'imk'; did you mean 'ink'?; next: --slices\n"
    )
