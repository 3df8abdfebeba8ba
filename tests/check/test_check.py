"""`check` as a report, as lines, as a page and as an exit code; what it says of Q/DQ and of the parser's refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402

from edgekit.check import Finding, check  # noqa: E402
from edgekit.cli import main  # noqa: E402
from edgekit.configs import CheckConfig  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.quantize.legal import rules  # noqa: E402
from edgekit.quantize.relegalize import relegalize  # noqa: E402
from tests.quantize import qdq_cases as cases  # noqa: E402


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(cases.conv({"zero": np.int8(3)}, bias=cases.int32_bias), tmp_path / "foreign.onnx")
    onnx.save(cases.conv(), tmp_path / "legal.onnx")
    onnx.save(cases.float_weight(), tmp_path / "float weight.onnx")
    onnx.save(cases.attention("p"), tmp_path / "attention.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_finding_has_what_its_rule_says(here):
    report = check(Path("foreign.onnx"), CheckConfig("jetpack6"))
    shift, bias = report.findings
    assert shift.node == "x_q"
    assert bias == Finding(
        severity="error",
        rule="int32-bias",
        node="y",
        tensor="b_i",
        text="the bias 'b_i' is int32, scale 0.0001, zero point 0",
        measured=rules()["int32-bias"].measured,
        remedy=rules()["int32-bias"].remedy,
        source=rules()["int32-bias"].source,
        refused=True,
    )
    assert (report.errors, report.exit_code, report.mendable) == (2, 6, True)


def test_another_tensorrt_is_not_asked_and_that_is_said(here):
    """No TensorRT of Jetson is on a development machine; the rules are told all the same."""
    legal = check(Path("legal.onnx"), CheckConfig("jetpack6"))
    assert (legal.findings, legal.exit_code) == ((), 0)
    assert legal.notes[0] == (
        "not asked of TensorRT itself: expected TensorRT 10.3 to build for target jetpack6, found none on this machine"
    )
    assert legal.asked == "documentation of TensorRT 10.3"
    assert {node.outcome for node in legal.nodes} == {"parses"}


def test_the_cpu_has_no_such_rules(here):
    report = check(Path("foreign.onnx"), CheckConfig("cpu"))
    assert (report.findings, report.exit_code) == ((), 0)
    assert report.notes == ("target cpu has no rules for Q/DQ: onnxruntime runs it as it is",)


def test_what_is_no_model_is_an_error_of_its_own(tmp_path):
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        check(tmp_path / "m.onnx", CheckConfig("cpu"))


@pytest.fixture
def with_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="its parser is asked")


@pytest.mark.usefixtures("with_rtx")
def test_the_parser_has_the_last_word(here):
    report = check(Path("foreign.onnx"), CheckConfig("rtx"))
    assert [finding.rule for finding in report.findings] == ["zero-point", "int32-bias", "parser"]
    assert "refused node 'x_q' (QuantizeLinear)" in report.findings[-1].text
    assert report.findings[-1].remedy == "mend the errors above"
    taken = check(Path("legal.onnx"), CheckConfig("rtx"))
    assert (taken.exit_code, taken.notes, taken.asked) == (0, (), "tensorrt_rtx on this machine")
    assert {node.node: (node.outcome, node.precision) for node in taken.nodes}["y"] == ("fuses", "int8")
    assert taken.shares == {"int8": 1.0}


@pytest.mark.usefixtures("with_rtx")
@pytest.mark.parametrize(("domain", "who"), [("com.microsoft", "reader"), ("house", "parser")])
def test_a_node_that_no_rule_knows_is_refused(tmp_path, domain, who):
    """Of onnxruntime's own operators those that TensorRT would misread are refused before it is asked."""
    make = cases.Maker()
    make.add("Unheard", ["x"], domain=domain)
    onnx.save(make.model([2], [2]), tmp_path / "m.onnx")
    report = check(tmp_path / "m.onnx", CheckConfig("rtx"))
    (found,) = report.findings
    assert (found.rule, found.refused, report.exit_code, report.mendable) == (who, True, 6, False)
    assert "'y'" in found.text
    assert "Unheard" in found.text
    assert [(node.outcome, node.op.split(":")[-1]) for node in report.nodes] == [("refused", "Unheard")]
    assert "the model has no Q/DQ" in report.notes


@pytest.mark.usefixtures("with_rtx")
def test_a_mended_model_has_no_findings(here):
    onnx.save(relegalize(onnx.load("foreign.onnx")).model, "mended.onnx")
    assert check(Path("mended.onnx"), CheckConfig("rtx")).findings == ()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as exit_info:
        main(["check", *arguments])
    return int(exit_info.value.code or 0), capsys.readouterr().out.splitlines()


def test_a_line_a_finding_and_the_command_that_mends(here, capsys):
    code, lines = printed(capsys, "foreign.onnx", "--target", "jetpack6")
    assert code == 6
    expected = (
        "error y (int32-bias): the bias 'b_i' is int32, scale 0.0001, zero point 0; "
        f"{rules()['int32-bias'].measured}; remedy: {rules()['int32-bias'].remedy}"
    )
    assert expected in lines
    assert lines[-2:] == [
        "refused: 2 errors and 0 notes for target jetpack6",
        "mend with: edgekit quantize foreign.onnx OUT.onnx --precision int8 --relegalize",
    ]


def test_a_note_is_told_and_is_no_error(here, capsys):
    code, lines = printed(capsys, "float weight.onnx", "--target", "jetpack6")
    assert code == 0
    assert any(line.startswith("note y (float-weight): the weight 'w' is stored in floating point") for line in lines)
    assert lines[-1] == "would be built: 0 errors and 1 notes for target jetpack6"


def test_what_builds_and_costs_is_an_error_that_is_not_called_refused(here, capsys):
    """TensorRT-RTX takes it: the words say so, and the JSON has it apart."""
    code, lines = printed(capsys, "attention.onnx", "--target", "jetpack6")
    assert code == 0
    assert any(line.startswith("error") and "TensorRT-RTX 1.7.1 builds it, but" in line for line in lines)
    _, text = printed(capsys, "attention.onnx", "--target", "jetpack6", "--json")
    table = json.loads("\n".join(text))
    assert (table["stage"], table["errors"], table["exit_code"], table["target"]) == ("check", 1, 0, "jetpack6")
    assert [finding["refused"] for finding in table["findings"]] == [False]


def test_a_target_is_asked_for(here, capsys):
    assert printed(capsys, "legal.onnx")[0] == 2
    assert printed(capsys, "legal.onnx", "--target", "jetpack6")[0] == 0
    assert printed(capsys, "nowhere.onnx", "--target", "cpu")[0] == 1
