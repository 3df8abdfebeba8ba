"""Reports of `validate` and `bench` side by side: what differs, the words, the exit codes, and what is no report."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.errors import DataError
from edgekit.files import sha256_of
from edgekit.latency.comparison import compare_reports
from edgekit.latency.reported import read_report

ACCURACY = {
    "sqnr_db": {"logits": 40.0},
    "cosine": {"logits": 0.999},
    "agreement": {"logits": 0.99},
    "top1": {"found": 0.90, "reference": 0.91, "change": 0.01},
    "top5": None,
    "perplexity": {"found": 20.0, "reference": 19.0, "change": 0.05},
}


def table(factor: float = 1.0, n: int = 2000, **accuracy):
    """A report of `validate` on 500 samples, whose latencies lie between `factor` and twice that, in ms."""
    latencies = factor * (1 + np.arange(n) * 0.6180339887498949 % 1)
    return {
        "stage": "validate",
        "source": "model.onnx",
        "backend": "ort, cpu",
        "samples": 500,
        "data_sha256": "a" * 64,
        "accuracy": {**copy.deepcopy(ACCURACY), **accuracy},
        "latency": {
            "mode": "closed",
            "fps": None,
            "shapes": {"image": [1, 64]},
            "environment": {"machine": "x86_64", "cpu": "Xeon", "cores": 2, "load": 0.1, "governor": None},
            "latencies_ms": latencies.tolist(),
        },
    }


@pytest.fixture
def compared(tmp_path):
    def of(before, after, **options):
        paths = []
        for name, value in (("a.json", before), ("b.json", after)):
            paths.append(tmp_path / name)
            paths[-1].write_text(json.dumps(value))
        return compare_reports(*map(read_report, paths), **options)

    return of


def top1(found: float):
    return {"found": found, "reference": 0.91, "change": 0.91 - found}


def test_the_same_report_twice(compared):
    found = compared(table(), table())
    assert (found.verdict, found.exit_code) == ("no difference", 0)
    assert (found.differences, found.doubts) == ((), ())
    keys = ["sqnr_db logits", "agreement logits", "top1", "perplexity"]
    assert [item.key for item in found.accuracy] == keys
    assert len(found.lines()) == 3 + 4 + 1
    assert found.lines()[5] == "top1: 0.9 -> 0.9: no difference"


@pytest.mark.parametrize(
    ("after", "verdict", "code"),
    [
        (table(1.2), "slower", 4),
        (table(0.8), "faster", 0),
        (table(n=300), "cannot tell", 5),
        (table(top1=top1(0.86)), "less exact", 3),
        (table(top1=top1(0.93)), "more exact", 0),
        (table(1.2, top1=top1(0.86)), "less exact, slower", 3),
        (table(0.8, top1=top1(0.86)), "less exact, faster", 3),
        (table(0.8, top1=top1(0.93)), "more exact, faster", 0),
        (table(1.2, n=300, top1=top1(0.93)), "slower, more exact", 4),
    ],
)
def test_the_verdict_and_its_code(compared, after, verdict, code):
    found = compared(table(), after)
    assert (found.verdict, found.exit_code) == (verdict, code)
    assert found.lines()[-1] == verdict


def test_the_tolerance_is_asked_for(compared):
    assert compared(table(), table(1.05)).verdict == "no difference"
    assert compared(table(), table(1.05), tolerance=0.02).verdict == "slower"


@pytest.mark.parametrize(
    ("accuracy", "outcome"),
    [
        ({"top1": top1(0.89)}, "no difference"),  # a point is allowed, 0.90 - 0.89 > 0.01 in floating point or not
        ({"top1": top1(0.888)}, "less exact"),
        ({"top1": top1(0.912)}, "more exact"),
        ({"agreement": {"logits": 0.97}}, "less exact"),
        ({"sqnr_db": {"logits": 39.0}}, "no difference"),
        ({"sqnr_db": {"logits": 38.9}}, "less exact"),
        ({"sqnr_db": {"logits": "inf"}}, "more exact"),
        ({"sqnr_db": {"logits": "-inf"}}, "less exact"),
        ({"sqnr_db": {"logits": "nan"}}, "less exact"),
        ({"perplexity": {"found": 20.2}}, "no difference"),
        ({"perplexity": {"found": 20.3}}, "less exact"),
        ({"perplexity": {"found": 19.0}}, "more exact"),
        ({"perplexity": {"found": "inf"}}, "less exact"),
        ({"cosine": {"logits": 0.1}}, "no difference"),  # as far as this goes the SQNR says it
    ],
)
def test_exactness(compared, accuracy, outcome):
    assert compared(table(), table(**accuracy)).verdict == outcome


def test_two_samples_prove_nothing(compared):
    """Of 100 samples two are 2 points; 150 would make them three."""
    before, after = ({**table(top1=top1(value)), "samples": 100} for value in (0.90, 0.88))
    found = compared(before, after)
    assert (found.verdict, found.exit_code) == ("cannot tell", 5)
    (change,) = [item for item in found.accuracy if item.outcome == "cannot tell"]
    assert (change.key, change.missing) == ("top1", 50)
    assert str(change) == "top1: 0.9 -> 0.88: cannot tell: about 50 more samples"
    assert compared(before, {**after, "accuracy": {**ACCURACY, "top1": top1(0.87)}}).verdict == "less exact"


@pytest.mark.parametrize("other", [{"data_sha256": "b" * 64}, {"samples": 400}])
def test_accuracy_on_other_data_cannot_be_told(compared, other):
    found = compared(table(), {**table(top1=top1(0.5)), **other})
    assert (found.verdict, found.exit_code) == ("cannot tell", 5)
    assert {item.outcome for item in found.accuracy} == {"cannot tell"}
    assert str(found.accuracy[2]) == "top1: 0.9 -> 0.5: cannot tell: other data"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"mode": "fixed-rate"}, "another mode"),
        ({"fps": 30.0}, "another rate"),
        ({"shapes": {"image": [8, 64]}}, "other shapes"),
        ({"beside": ["other.onnx@10"]}, "other models beside it"),
    ],
)
def test_another_question_has_no_faster_answer(compared, other, why):
    slow = table()
    slow["latency"] |= {"beside": []}
    fast = json.loads(json.dumps(slow))
    fast["latency"]["latencies_ms"] = [value / 9 for value in slow["latency"]["latencies_ms"]]
    assert {item.outcome for item in compared(slow, fast).latency} == {"faster"}
    fast["latency"] |= other
    found = compared(slow, fast)
    assert {item.outcome for item in found.latency} == {"cannot tell"}
    assert (found.verdict, found.exit_code, found.apart) == ("cannot tell", 5, (why,))
    assert f"latency: cannot tell: {why}" in found.lines()


def test_what_differs_is_said_first(compared):
    after = table()
    after |= {"source": "other.onnx", "backend": "rtx, NVIDIA A10", "data_sha256": "b" * 64}
    after["latency"] |= {"mode": "fixed-rate", "fps": 30.0, "shapes": {"image": [8, 64]}}
    after["latency"]["environment"] |= {"cpu": "Cortex-A78AE", "load": 0.9}
    found = compared(table(), after)
    assert found.differences == (
        "source: model.onnx and other.onnx",
        "backend: ort and rtx",
        "device: cpu and NVIDIA A10",
        "CPU: Xeon and Cortex-A78AE",
        "mode: closed and fixed-rate",
        "frames a second: none and 30.0",
        'shapes: {"image": [1, 64]} and {"image": [8, 64]}',
        "data's SHA-256: aaaaaaaaaaaa and bbbbbbbbbbbb",
    )
    assert found.lines()[0] == "differs: source: model.onnx and other.onnx"


def test_what_only_one_has_is_said_and_left_out(compared):
    fast, exact = table(), table()
    del fast["accuracy"], exact["latency"]
    found = compared(table(), fast)
    assert (len(found.latency), found.accuracy, found.exit_code) == (3, (), 0)
    assert [item.partition(" in ")[0] for item in found.differences] == ["accuracy: only"]
    found = compared(exact, table(2.0))
    assert (found.latency, len(found.accuracy), found.exit_code) == ((), 4, 0)
    assert [item.partition(" in ")[0] for item in found.differences] == ["latencies: only"]
    with pytest.raises(DataError, match="expected latencies or accuracy in both"):
        compared(fast, exact)


@pytest.fixture(scope="module")
def reports(tmp_path_factory, digits) -> Path:
    """What the commands themselves wrote: `validate` on the digits, a network and one of shuffled classes; `bench`."""
    folder = tmp_path_factory.mktemp("reports")
    asked = ["--reference", str(digits / "good.onnx"), "--data", str(digits / "data.npz"), "--requests", "400", "-q"]
    for name in ("good", "wrong"):
        out = ["--out", str(folder / f"{name}.json"), "--labels", str(digits / "labels.npy")]
        with pytest.raises(SystemExit):
            main(["validate", str(digits / f"{name}.onnx"), *asked, *out])
    out = ["--out", str(folder / "bench.json"), "--requests", "400", "--cold-starts", "0", "-q"]
    with pytest.raises(SystemExit):
        main(["bench", str(digits / "good.onnx"), "--data", str(digits / "data.npz"), *out])
    return folder


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.slow  # the reports take validate and bench some 10 s
def test_the_command_on_real_reports(reports, capsys):
    code, out, _ = run(capsys, reports / "good.json", reports / "wrong.json", "--tolerance", "10")
    assert code == 3
    assert out.splitlines()[0].startswith("differs: source: ")
    assert out.splitlines()[1].startswith("differs: model's SHA-256: ")
    assert [line.partition(":")[0] for line in out.splitlines()[2:5]] == ["p50_ms", "p90_ms", "p99_ms"]
    assert "top1: 0.9 -> 0.0" in out
    assert out.splitlines()[-1].startswith("less exact")
    kept = json.loads((reports / "good.json").read_text())["latency"]["latencies_ms"]
    assert f"p50_ms: {np.quantile(kept, 0.5, method='inverted_cdf'):.4g} -> " in out


def test_the_command_takes_a_tolerance(tmp_path, capsys):
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, value in zip(paths, (table(), table(1.2)), strict=True):
        path.write_text(json.dumps(value))
    assert run(capsys, *paths)[0] == 4
    code, out, err = run(capsys, *paths, "--tolerance", "0.3")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].endswith("): no difference of 30 %")
    assert out.splitlines()[-1] == "no difference"


@pytest.mark.slow  # the reports take validate and bench some 10 s
def test_validate_and_bench_have_latencies_in_common(reports, capsys):
    code, out, _ = run(capsys, reports / "good.json", reports / "bench.json", "--tolerance", "10")
    assert code in (0, 4, 5), "which of them a busy machine slowed down is nobody's fault"
    lines = out.splitlines()
    assert lines[0] == "differs: stage: validate and bench"
    assert [line.split(":")[1] for line in lines if line.startswith("differs")] == [" stage", " accuracy"]
    assert "p99_ms: " in out
    first, second = (read_report(reports / f"{name}.json").conditions for name in ("good", "bench"))
    both = [name for name in first if first[name] and second[name]]
    assert {"stage", "source", "backend", "device", "CPU", "cores", "mode", "shapes"} <= set(both)
    assert second["model's SHA-256"] == sha256_of(Path(second["source"]))


@pytest.mark.slow  # the reports take validate and bench some 10 s
def test_the_command_as_json(reports, capsys):
    code, out, _ = run(capsys, reports / "good.json", reports / "good.json", "--json", "--tolerance", "10")
    found = json.loads(out)
    assert (found["stage"], found["schema"], found["exit_code"], found["differences"]) == ("compare", 1, code, [])
    assert {item["outcome"] for item in found["accuracy"]} == {"no difference"}
    assert [item["key"] for item in found["latency"]] == ["p50_ms", "p90_ms", "p99_ms"]
    assert found["latency"][0]["change"]["value"] == 0


def test_doubts_are_warnings(tmp_path, capsys):
    doubted = {**table(), "doubts": [{"name": "busy", "text": "the machine is busy"}]}
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, value in zip(paths, (doubted, table()), strict=True):
        path.write_text(json.dumps(value))
    _, _, err = run(capsys, *paths)
    assert err == f"edgekit: warning: {paths[0]}: the machine is busy\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "expected a report as JSON in"),
        ("\0", "expected a report as JSON in"),
        ("[" * 100_000, "expected a report as JSON in"),
        ("[1]", "found a list"),
        ("{}", "found neither"),
        ('{"latencies_ms": []}', "expected `latencies_ms` as"),
        ('{"latencies_ms": [1, -1]}', "expected `latencies_ms` as"),
        ('{"latencies_ms": [1, "inf"]}', "expected `latencies_ms` as"),
        ('{"latencies_ms": 7}', "expected `latencies_ms` as"),
        ('{"latencies_ms": [[1]]}', "expected `latencies_ms` as"),
        ('{"accuracy": {"top1": 7}}', "expected `accuracy` as"),
        ('{"accuracy": {"top1": {}}}', "expected `accuracy` as"),
        ('{"accuracy": 7}', "expected `accuracy` as"),
        ('{"accuracy": {"sqnr_db": [1]}}', "expected `accuracy` as"),
        ('{"latencies_ms": [1], "samples": "many"}', "expected `samples` as"),
        ('{"latencies_ms": [1], "doubts": [7]}', "expected `doubts` as"),
    ],
)
def test_what_is_no_report_is_one_line(tmp_path, capsys, text, found):
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text(json.dumps(table()))
    for pair in (("a.json", "b.json"), ("b.json", "a.json")):
        code, out, err = run(capsys, *(tmp_path / name for name in pair))
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("edgekit: error: expected ")
        assert found in err
        assert "; next: edgekit validate or edgekit bench" in err


def test_a_file_that_is_not_there(tmp_path, capsys):
    code, _, err = run(capsys, tmp_path / "a.json", tmp_path / "b.json")
    assert code == 1
    assert "found: No such file or directory" in err
    assert run(capsys, tmp_path)[0] == 2
    assert run(capsys, tmp_path, tmp_path, "--tolerance", "0")[0] == 2


@pytest.mark.parametrize("tolerance", ["nan", "-NaN"])
def test_a_tolerance_that_is_no_number_is_one_line(tmp_path, capsys, tolerance):
    (tmp_path / "a.json").write_text(json.dumps(table()))
    code, out, err = run(capsys, *[tmp_path / "a.json"] * 2, f"--tolerance={tolerance}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--tolerance: expected a number, found nan" in err


def test_a_perplexity_that_is_no_number_is_the_worst_that_there_is(tmp_path, capsys):
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, found in zip(paths, (12.0, "nan"), strict=True):
        report = table()
        report["accuracy"]["perplexity"] = {"found": found, "reference": 12.0, "change": found}
        path.write_text(json.dumps(report))
    code, out, _ = run(capsys, *paths, "--tolerance", "1")
    assert code == 3
    assert "perplexity: 12 -> inf: less exact" in out
    assert "more exact" in run(capsys, *reversed(paths), "--tolerance", "1")[1]
