"""`edgekit bench` as a person or a script calls it: a real network in onnxruntime, the lines, the JSON and the code."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgekit.bench import bench
from edgekit.bundle import make_keys, sign
from edgekit.cli import main
from edgekit.configs import BenchConfig
from edgekit.errors import OutputError, UsageError
from edgekit.latency.doubts import DOUBTS
from edgekit.latency.reported import read_report
from tests.runtime.test_trt import ROOT, command, environment, library  # noqa: F401 (one is a fixture)

QUICK = ["--cold-starts", "0"]
# This machine may be busy while tests run: that is no matter of theirs.
CALM = [option for name in DOUBTS if name != "made-up-inputs" for option in ("--allow", name)]


@pytest.fixture
def here(small_onnx: Path, small_data: Path, small_bundle: Path, tmp_path: Path, monkeypatch) -> Path:
    shutil.copy(small_onnx, tmp_path / "small.onnx")
    shutil.copy(small_data, tmp_path / "small.npz")
    shutil.copytree(small_bundle, tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def called(capsys):
    """`called(*arguments)` is the exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main(["bench", *arguments])
        return int(exit_info.value.code or 0), *capsys.readouterr()

    return call


def test_an_onnx_on_real_inputs(here, called):
    code, out, _ = called("small.onnx", "--data", "small.npz", "--requests", "400", *QUICK)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "measured on 8 samples of small.npz"
    assert lines[1].startswith("latency of 400 requests, one after the other: mean ")
    assert [line.split()[0] for line in lines[2:7]] == ["p50", "p90", "p99", "p99.9", "jitter"]
    assert all("with 95 % confidence" in line for line in lines[2:6])
    assert lines[7].startswith("stages in ms: p50 wait ")
    assert "  not there: h2d, d2h, onnxruntime's CPU computes in the host's memory" in lines
    assert "  not there: post, an ONNX file does not say what its outputs mean" in lines
    assert lines[-1] == "measured (ort, cpu)"


def test_the_json_has_what_scripts_rely_on(here, called):
    more = ["--data", "small.npz", "--fps", "500", "--requests", "300", "--raw", "raw.npz"]
    code, out, _ = called("small.onnx", *more, "--json")
    table = json.loads(out)
    assert code == 0
    assert table == json.loads(Path("small.onnx.bench.json").read_text())
    assert (table["stage"], table["schema"], table["mode"], table["n"]) == ("bench", 1, "fixed-rate", 300)
    assert (table["backend"], table["device"], table["verdict"]) == ("ort", "cpu", "measured (ort, cpu)")
    with np.load("raw.npz") as raw:
        latencies = (raw["done_ns"] - raw["intended_ns"]) / 1e6
        stages = {name: raw[f"stage_{name}_ms"] for name in ("wait", "pre", "compute")}
    np.testing.assert_allclose(table["latencies_ms"], latencies, atol=1e-6)
    assert table["mean_ms"] == pytest.approx(latencies.mean())
    for key, q in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        wanted = np.quantile(latencies, q, method="inverted_cdf")
        assert table[key]["value"] == pytest.approx(wanted)
        assert table[key].keys() == {"value", "low", "high"}
    assert table["jitter_ms"] == pytest.approx(table["p99_ms"]["value"] - table["p50_ms"]["value"])
    assert table["deadline_miss"]["value"] == (latencies > 2).mean()
    # The stages are the whole of a latency, but for the microseconds between two stamps.
    assert np.median(latencies - sum(stages.values())) < 0.1
    assert table["stages"].keys() == stages.keys()
    assert table["stages"]["compute"]["p50_ms"]["value"] > 0
    assert table["absent_stages"].keys() == {"h2d", "d2h", "post"}
    assert 0 < table["cold_start_s"] == table["starts"][0]["seconds"] < 60
    assert 20 < table["peak_rss_mib"] == table["starts"][0]["peak_rss_mib"] < 150, "of a process that only answers"
    digest = hashlib.sha256(Path("small.onnx").read_bytes()).hexdigest()
    assert table["environment"]["digests"] == {"model": digest}
    assert table["environment"]["machine"]["packages"]["onnxruntime"]
    assert table["environment"].keys() == {"machine", "before", "after", "digests"}
    assert 0 < table["utilisation"] < 1
    assert table["shapes"] == {"image": [1, 3, 8, 8]}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--html", "small.npz"],
        ["--trace", "other.onnx"],
        ["--out", "small.onnx.examples.npz"],
        ["--markdown", "keys/maker.pub", "--trusted-keys", "keys/maker.pub"],
    ],
)
def test_nothing_that_is_read_is_written(here, called, wrong):
    shutil.copy("small.onnx", "other.onnx")
    shutil.copy("small.npz", "small.onnx.examples.npz")
    Path("keys").mkdir()
    Path("keys/maker.pub").write_text("a key")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, _, err = called("small.onnx", "--data", "small.npz", "--beside", "other.onnx@5", *wrong)
    assert (code, err.count("\n")) == (1, 1)
    assert "expected OUT to be another file than " in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_bundle_of_a_stranger_is_not_measured(here, called, small_bundle):
    pytest.importorskip("cryptography", reason="signatures: pip install 'edgekit[sign]'")
    shutil.copytree(small_bundle, "signed")
    for name in ("mine", "theirs"):
        make_keys(Path(name))
    sign(Path("signed"), Path("theirs"))
    asked = ["signed", "--data", "small.npz", "--requests", "5", "--cold-starts", "1"]
    assert called(*asked, "--trusted-keys", "theirs.pub", "--beside", "signed@10")[0] == 0
    code, _, err = called(*asked, "--trusted-keys", "mine.pub")
    assert (code, err.count("\n")) == (7, 1)
    assert "expected a signature by a trusted key" in err
    code, _, err = called("small.onnx", "--data", "small.npz", "--beside", str(small_bundle), "--require-signature")
    assert (code, "expected a bundle, which can be signed" in err) == (2, True)
    code, _, err = called(*asked, "--require-signature", "--beside", str(small_bundle))
    assert (code, "signature" in err) == (7, True)


def test_other_models_run_beside_it(here, called, small_bundle):
    beside = ["--beside", "small.onnx", "--beside", f"{small_bundle}@20"]
    code, out, _ = called("small.onnx", "--data", "small.npz", "--requests", "300", *QUICK, *beside)
    table = json.loads(Path("small.onnx.bench.json").read_text())
    assert (code, table["beside"]) == (0, beside[1::2])
    busy, paced = table["company"]
    assert (busy["source"], busy["fps"], paced["source"], paced["fps"]) == ("small.onnx", None, str(small_bundle), 20.0)
    assert busy["answered"] > paced["answered"] > 0
    assert busy["summary"]["p50_ms"]["value"] > 0
    assert f"beside {small_bundle}, 20 a second: {paced['answered']} answers, " in out
    assert read_report(Path("small.onnx.bench.json")).conditions["models beside it"] == json.dumps(beside[1::2])


@pytest.mark.parametrize(
    ("other", "code", "says"),
    [("nothing.onnx", 1, "nothing.onnx"), ("small.onnx@fast", 2, "a model@rate"), ("small.npz", 1, "small.npz")],
)
def test_another_model_that_is_none_is_refused_at_once(here, called, other, code, says):
    found, _, err = called("small.onnx", "--data", "small.npz", "--beside", other)
    assert (found, err.count("\n")) == (code, 1)
    assert says in err


@pytest.mark.parametrize(
    ("budget", "more", "code", "says"),
    [
        ("p99_ms<=60000", [], 0, "p99_ms<=60000: PASS"),
        ("p99_ms<=0.000001", ["--requests", "60"], 4, "p99_ms<=1e-06: FAIL"),
        ("p99_ms<=60000", ["--requests", "50"], 5, "samples missing"),
        ("p50_ms<=60000,deadline_miss<=0.9", ["--fps", "200"], 0, "deadline_miss<=0.9: PASS"),
        (
            "cold_start_s<=600,peak_rss_mib<=4000",
            ["--requests", "5", "--cold-starts", "5"],
            0,
            "peak_rss_mib<=4000: PASS",
        ),
        ("p50_ms<=5", ["--fps", "1000000", "--duration", "0.5"], 4, "p50_ms<=5: FAIL"),
    ],
)
def test_the_code_and_the_last_lines(here, called, budget, more, code, says):
    found, out, _ = called("small.onnx", "--data", "small.npz", "--budget", budget, *QUICK, *CALM, *more)
    assert found == code
    assert says in out
    verdict = {0: "PASS", 4: "FAIL", 5: "INCONCLUSIVE"}[code]
    assert out.splitlines()[-1] == f"{verdict} (ort, cpu)"
    assert json.loads(Path("small.onnx.bench.json").read_text())["exit_code"] == code


def test_made_up_numbers_are_said_and_pass_when_they_are_allowed(here, called):
    asked = ["small.onnx", "--budget", "p50_ms<=60000", *QUICK, *CALM]
    code, out, err = called(*asked)
    assert code == 5
    assert out.splitlines()[0] == "measured on made-up numbers, not real inputs"
    assert "in doubt: made-up-inputs" in out
    assert "warning: no real inputs were given: --data has them (--allow made-up-inputs)" in err
    assert called(*asked, "--allow", "made-up-inputs")[0] == 0


def test_example_inputs_beside_the_model_are_real(here, called):
    shutil.copy("small.npz", "small.onnx.examples.npz")
    code, out, _ = called("small.onnx", "--budget", "p50_ms<=60000", *QUICK, *CALM)
    assert code == 0
    assert out.splitlines()[0] == "measured on the example inputs of small.onnx.examples.npz"


def test_a_bundle_on_its_pictures(colours, photos, tmp_path, called):
    """From the picture to its label; the bundle's preprocessing and answer are stages."""
    out = tmp_path / "report.json"
    code, said, _ = called(str(colours), "--data", str(photos), "--requests", "60", "--out", str(out))
    table = json.loads(out.read_text())
    assert code == 0
    assert said.splitlines()[0] == f"measured on 3 pictures of {photos}"
    assert list(table["stages"]) == ["compute", "post", "pre", "wait"]
    assert table["stages"]["pre"]["p50_ms"]["value"] > table["stages"]["compute"]["p50_ms"]["value"], "it resizes"
    assert table["absent_stages"].keys() == {"h2d", "d2h"}
    assert table["reason"] == "the bundle has no engine"
    assert f'"{photos.name}/' not in out.read_text(), "no sample of the user's goes into a report"


def test_a_bundle_on_arrays(here, called):
    code, out, _ = called("bundle", "--data", "small.npz", "--requests", "60", *QUICK)
    assert code == 0
    assert out.splitlines()[-1] == "measured (ort, cpu)"
    assert Path("bundle.bench.json").is_file()


def test_offline_counts_answers(here, called):
    code, out, _ = called("small.onnx", "--data", "small.npz", "--mode", "offline", "--requests", "200", *QUICK)
    assert code == 0
    assert out.splitlines()[1].startswith("200 of 200 requests, all due at once: ")
    table = json.loads(Path("small.onnx.bench.json").read_text())
    assert table["throughput_per_s"] == pytest.approx(200 / (table["latencies_ms"][-1] / 1e3), rel=1e-3)
    assert table["latencies_ms"] == sorted(table["latencies_ms"])


def test_poisson(here, called):
    asked = ["small.onnx", "--data", "small.npz", "--mode", "poisson", "--fps", "500", "--requests", "300", *QUICK]
    gaps = []
    for seed in ("7", "7", "8"):
        code, out, _ = called(*asked, "--raw", "raw.npz", "--seed", seed)
        assert (code, "500 a second in the mean, at random" in out) == (0, True)
        with np.load("raw.npz") as raw:
            gaps.append(np.diff(raw["intended_ns"]))
    np.testing.assert_array_equal(gaps[0], gaps[1])
    assert (gaps[0] != gaps[2]).any()
    assert gaps[0].std() / gaps[0].mean() == pytest.approx(1, abs=0.25), "as of an exponential distribution"


def test_a_soak_and_a_pause(here, called):
    more = ["--mode", "soak", "--fps", "200", "--duration", "1", "--idle-gap", "0.005"]
    code, out, _ = called("small.onnx", "--data", "small.npz", *more, *QUICK)
    table = json.loads(Path("small.onnx.bench.json").read_text())
    assert code == 0
    assert "soak in windows of 0.1 s:" in out
    assert "after a pause of 0.005 s: " in out
    assert sum(window["n"] for window in table["soak"]["windows"]) == table["n"] == 200
    assert table["idle_gap"]["pauses"] == 20


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--mode", "soak"], 2, "expected a rate for --mode soak, found none; next: --fps N"),
        (["--mode", "closed", "--fps", "3"], 2, "expected no rate for --mode closed, found --fps 3"),
        (["--mode", "soak", "--fps", "3", "--requests", "4"], 2, "expected a soak to last for its --duration"),
        (["--budget", "top1>=0.5"], 2, "expected promises about time or memory, found top1>=0.5"),
        (["--budget", "deadline_miss<=0.1"], 2, "expected a frame rate"),
        (["--budget", "age_p99_ms<=5"], 1, "did you mean 'p99_ms'"),
        (["--budget", ""], 1, "expected a budget such as"),
        (["--mode", "offline", "--budget", "p99_ms<=3"], 2, "found offline; next: --mode closed"),
        (["--budget", "cold_start_s<=3", "--cold-starts", "0"], 2, "next: --cold-starts 5"),
        (["--allow", "bussy"], 2, "did you mean 'busy'?; next: --allow"),
        (["--backend", "trt"], 2, "expected a bundle for backend trt"),
        (["--data", "none.npz"], 1, "expected data at none.npz, found nothing there"),
        (["--out", "small.onnx"], 1, "expected OUT to be another file than small.onnx"),
        (["--raw", "small.onnx"], 1, "expected OUT to be another file than small.onnx"),
        (["--raw", "r.json", "--out", "r.json"], 1, "expected OUT to be another file than r.json"),
        (["--raw", "/proc/none/raw.npz"], 1, "expected to be able to write /proc/none/raw.npz"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(here, called, arguments, code, says):
    before = {path: path.read_bytes() for path in here.iterdir() if path.is_file()}
    found, out, err = called("small.onnx", *arguments)
    assert (found, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


def test_open_axes_need_inputs_that_say_their_size(tmp_path, called):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, ["batch", "time"])], [value("y", 1, ["batch", "time"])])
    path = tmp_path / "open.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), path)
    code, _, err = called(str(path))
    assert (code, "expected inputs that say how large the open axes of x are" in err) == (1, True)
    np.savez(tmp_path / "x.npz", x=np.ones((2, 5), np.float32))
    assert called(str(path), "--data", str(tmp_path / "x.npz"), "--requests", "3", *QUICK)[0] == 0
    assert json.loads((tmp_path / "open.onnx.bench.json").read_text())["shapes"] == {"x": [1, 5]}


def test_a_function_of_its_own(here):
    report = bench(Path("small.onnx"), Path("r.json"), BenchConfig("small.npz", requests=20, cold_starts=0))
    assert report.to_json() == json.loads(Path("r.json").read_text())
    assert report.cold_start_s is None
    with pytest.raises(OutputError):
        bench(Path("small.onnx"), Path("none.onnx/r.json"), BenchConfig("small.npz", raw=Path("r.json/x")))
    with pytest.raises(UsageError, match="mode: expected one of closed"):
        BenchConfig(mode="open")


def test_validate_leaves_what_it_does_not_measure_to_bench(here, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(
            [
                "validate",
                "small.onnx",
                "--reference",
                "small.onnx",
                "--data",
                "small.npz",
                "--budget",
                "cold_start_s<=3",
            ]
        )
    assert exit_info.value.code == 2
    assert "found cold_start_s; next: edgekit bench --budget" in capsys.readouterr().err


def test_it_is_a_command_of_edgekit(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "bench" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["plugins", "--help"])
    assert "bench" in capsys.readouterr().out


@pytest.mark.slow  # compiles the driver that is played, unless another test has
def test_a_fake_device_never_passes(library, shared):  # noqa: F811
    """In a process of its own, as tests/runtime/test_trt.py has it: a budget that anything keeps is INCONCLUSIVE."""
    pytest.importorskip("cuda.bindings")

    def make(folder: Path) -> None:
        options = {"cwd": ROOT, "env": environment("cuda-bindings", library, [str(ROOT)]), "timeout": 300}
        scenario = ROOT / "tests" / "bench_command" / "fake_device.py"
        done = subprocess.run(command(scenario, folder), capture_output=True, text=True, **options)
        (folder / "said").write_text(f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}\nrc {done.returncode}")

    said = (shared("bench-on-a-fake-device", make) / "said").read_text()
    assert said.endswith("rc 0"), said
    assert "5 passed" in said
