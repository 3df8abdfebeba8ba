"""`edgekit quantize` as its user meets it: aims met and missed, options that do not belong, bad data, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.cli import main  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from tests.quantize import hostile  # noqa: E402

ROOT = Path(__file__).parents[2]
INT8 = ["--precision", "int8"]
MAX = [*INT8, "--method", "max"]


@pytest.fixture
def here(shared, tmp_path, monkeypatch) -> Path:
    """A working folder with the files of tests/quantize/hostile.py."""
    for file in shared("hostile", hostile.make).iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def quantized(capsys, *words: str) -> tuple[int, list[str], list[str]]:
    """Run the command in this process; its code, and its lines on standard output and standard error."""
    with pytest.raises(SystemExit) as exit_info:
        main(["quantize", *words])
    printed = capsys.readouterr()
    return int(exit_info.value.code or 0), printed.out.splitlines(), printed.err.splitlines()


def made() -> set[str]:
    """What is in the folder besides what was there."""
    return {file.name for file in Path().iterdir() if not file.is_symlink()}


def answers(model: str, images: np.ndarray) -> np.ndarray:
    return plain_session(model).run(None, {"image": images})[0].astype(np.float64)


def drop_of(model: str, reference: str = "hostile.onnx", some: slice | np.ndarray = slice(None)) -> float:
    """How many more of the 797 digits, or some of them, the model reads wrong, a fraction."""
    labels = np.load("y.npy")[some]
    right = [(answers(name, images()[some]).argmax(1) == labels).mean() for name in (reference, model)]
    return float(right[0] - right[1])


def images() -> np.ndarray:
    with np.load("x.npz") as archive:
        return archive["image"]


def db_of(model: str, reference: str = "hostile.onnx") -> float:
    wanted = answers(reference, images())
    return float(10 * np.log10(np.square(wanted).sum() / np.square(answers(model, images()) - wanted).sum()))


def float_layers(model: str) -> set[str]:
    """The layers whose weight is FP32 in the file itself."""
    graph = onnx.load(model).graph
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {node.name for node in graph.node if weights.get(node.input[1:2][0] if node.input[1:2] else "") == 1} & set(
        hostile.LAYERS
    )


DROP = ["--data", "x.npz", "--max-drop", "0.005", "--labels", "y.npy"]


def test_a_drop_that_int8_misses_is_met_by_keeping_what_costs_it(here, capsys):
    """The oracle is NumPy on all digits: plain INT8 reads most of them wrong, and one layer is to blame."""
    assert quantized(capsys, "hostile.onnx", "plain.int8.onnx", *MAX, "--data", "x.npz")[0] == 0
    assert drop_of("plain.int8.onnx") > 0.3
    code, lines, errors = quantized(capsys, "hostile.onnx", "q.onnx", *MAX, *DROP)
    assert (code, errors) == (0, [])
    assert lines[0] == "kept as they were, costliest first: layer2"
    assert lines[-1].startswith("PASS: asked for drop <= 0.005, found ")
    assert lines[-1].endswith("(of top-1) on 256 samples held back while choosing; 1 of 4 layers kept")
    assert float_layers("q.onnx") == {"layer2"}
    assert drop_of("q.onnx") < 0.01
    report = json.loads(Path("q.onnx.json").read_text())
    assert (report["kept_layers"], report["quantized_layers"], report["exit_code"]) == (["layer2"], 3, 0)
    assert report["verdict"] == lines[-1]


def test_an_aim_out_of_reach_gives_the_best_there_is_and_3(here, capsys):
    assert quantized(capsys, "worst.onnx", "plain.int8.onnx", *MAX, "--data", "x.npz")[0] == 0
    code, lines, errors = quantized(capsys, "worst.onnx", "q.onnx", *MAX, *DROP)
    assert (code, errors) == (3, [])
    assert lines[-1].startswith("FAIL: asked for drop <= 0.005, found ")
    assert lines[-1].endswith("2 of 4 layers kept, never more than half")
    kept = json.loads(Path("q.onnx.json").read_text())["kept_layers"]
    assert float_layers("q.onnx") == set(kept)
    assert lines[0] == f"kept as they were, costliest first: {', '.join(kept)}"
    assert len(kept) == 2
    assert db_of("q.onnx", "worst.onnx") >= db_of("plain.int8.onnx", "worst.onnx")
    # The samples held back are every second batch of eight, of 512 that are evenly spaced.
    held = (np.arange(512) * 797 // 512).reshape(-1, 8)[1::2].ravel()
    assert json.loads(Path("q.onnx.json").read_text())["held_back"]["drop"] == pytest.approx(
        drop_of("q.onnx", "worst.onnx", held)
    )
    assert made() >= {"q.onnx", "q.onnx.json", "q.onnx.scales.json", "q.onnx.layers.svg"}


def test_an_sqnr_that_int8_misses_is_met(here, capsys):
    aim = ["--data", "x.npz", "--min-sqnr-db"]
    code, lines, _ = quantized(capsys, "hostile.onnx", "q.onnx", *MAX, *aim, "30")
    assert (code, lines[0]) == (0, "kept as they were, costliest first: layer2")
    assert lines[-1].startswith("PASS: asked for sqnr_db >= 30, found ")
    found = float(lines[-1].partition("found ")[2].partition(" dB")[0])
    # On the samples held back it says 36 dB; on all of them it is as near as 64 samples tell.
    assert 30 <= found == pytest.approx(db_of("q.onnx"), abs=1.5)
    code, lines, _ = quantized(capsys, "hostile.onnx", "best.onnx", *MAX, *aim, "200")
    assert code == 3
    assert lines[-1].startswith("FAIL: asked for sqnr_db >= 200, found ")
    assert db_of("best.onnx") > db_of("q.onnx")
    code, lines, _ = quantized(capsys, "plain.onnx", "easy.onnx", *MAX, *aim, "20")
    assert (code, float_layers("easy.onnx")) == (0, set())
    assert lines[-1].endswith("0 of 4 layers kept")


def test_both_aims_must_hold(here, capsys):
    """A drop that anything meets, and an SQNR that nothing does; and no drop at all, not even by chance."""
    code, lines, _ = quantized(capsys, "hostile.onnx", "q.onnx", *MAX, *DROP[:-2], "--min-sqnr-db", "200")
    assert code == 3
    assert "asked for sqnr_db >= 200 and drop <= 0.005" in lines[-1]
    assert "(of agreement with FP32, for want of labels)" in lines[-1]
    code, lines, _ = quantized(capsys, "worst.onnx", "q.onnx", *MAX, "--data", "x.npz", "--max-drop", "0")
    assert (code, lines[-1][:26]) == (3, "FAIL: asked for drop <= 0,")


@pytest.mark.parametrize(("asked", "kept"), [("0", set()), ("1", {"layer2"}), ("9", set(hostile.LAYERS))])
def test_a_number_of_layers(here, capsys, asked, kept):
    code, lines, _ = quantized(capsys, "hostile.onnx", "q.onnx", *MAX, "--data", "x.npz", "--keep-layers", asked)
    assert (code, float_layers("q.onnx")) == (0, kept)
    noise = next(line for line in lines if line.endswith("of them, held back while choosing"))
    assert noise.startswith("no noise on 64") if asked == "9" else float(noise.split()[0]) < 40
    assert not any("PASS" in line or "FAIL" in line for line in lines), "nothing was asked for"


def test_keeping_without_an_aim_says_what_would_pay(here, capsys):
    """Up to a tenth of the layers are kept then, so none of four; that one of them costs 36 dB is said."""
    auto = [*MAX, "--data", "x.npz", "--keep-layers", "auto"]
    code, _, errors = quantized(capsys, "plain.onnx", "q.onnx", *auto)
    assert (code, errors, float_layers("q.onnx")) == (0, [], set())
    code, _, errors = quantized(capsys, "hostile.onnx", "q.onnx", *auto)
    assert (code, len(errors), float_layers("q.onnx")) == (0, 1, set())
    said = "edgekit: warning: Gemm 'layer2' alone costs about "
    assert errors[0].startswith(said)
    assert errors[0].endswith(" dB: --keep-layers 1 keeps it too")
    gain = db_of("q.onnx")
    assert quantized(capsys, "hostile.onnx", "q.onnx", *auto[:-1], "1")[0] == 0
    assert float(errors[0].removeprefix(said).split()[0]) == pytest.approx(db_of("q.onnx") - gain, abs=2)


def test_the_verdict_says_how_many_samples_a_small_drop_asks_for(here, capsys):
    np.savez("few.npz", image=images()[:64])
    few = ["--data", "few.npz", "--max-drop", "0.005"]
    _, _, errors = quantized(capsys, "plain.onnx", "q.onnx", *MAX, *few)
    assert errors == [
        "edgekit: warning: one of the 32 samples held back is a drop of 0.031: --max-drop 0.005 asks for 400 samples "
        "or more"
    ]
    assert quantized(capsys, "plain.onnx", "q.onnx", *MAX, "--data", "few.npz", "--max-drop", "0.05")[2] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--keep-layers", "-1"], "keep_layers: expected a number or auto, found '-1'"),
        (["--keep-layers", "1.5"], "found '1.5'"),
        (["--keep-layers", "many"], "found 'many'"),
        (["--keep-layers", ""], "found ''"),
        (["--keep-layers", "٣"], "found '٣'"),
        (["--keep-layers", "12345678"], "found '12345678'"),
        (["--max-drop", "-0.1"], "max_drop: expected 0 or more"),
        (["--max-drop", "nan"], "max_drop: expected 0 or more"),
        (["--max-drop", "little"], "'little' is not a valid float"),
        (["--min-sqnr-db", "nan"], "min_sqnr_db: expected"),
        (["--min-sqnr-db", "inf"], "min_sqnr_db: expected"),
        (["--samples", "0"], "samples: expected 1 or more"),
        (["--method", "kl"], "'kl' is not one of"),
        (["--labels", "y.npy"], "expected no --labels here, found it: --max-drop, which they are for, is not given"),
    ],
)
def test_malformed_values_are_usage_errors(here, capsys, words, says):
    code, lines, errors = quantized(capsys, "hostile.onnx", "q.onnx", *INT8, "--data", "x.npz", *words)
    assert (code, lines, made()) == (2, [], set())
    assert len(errors) == 1
    assert says in errors[0]


DATA = ["--data", "x.npz"]


@pytest.mark.parametrize(
    ("precision", "words", "option"),
    [
        ("fp16", ["--keep-layers", "1", *DATA], "--keep-layers"),
        ("fp16", ["--min-sqnr-db", "30", *DATA], "--min-sqnr-db"),
        ("fp16", ["--max-drop", "0", *DATA], "--max-drop"),
        ("fp16", ["--method", "max", *DATA], "--method"),
        ("fp16", ["--residual"], "--residual"),
        ("fp16", ["--no-per-channel"], "--no-per-channel"),
        ("fp16", ["--samples", "9"], "--samples"),
        ("fp16", ["--recipe", "resnet18"], "--recipe"),
        ("int4", ["--calibration-cache", "c"], "--calibration-cache"),
        ("int4", ["--labels", "y.npy", *DATA], "--labels"),
        ("fp8", ["--calibration-cache", "c", *DATA], "--calibration-cache"),
        ("fp8", ["--method", "mse", *DATA], "--method"),
        ("bf16", DATA, "--data"),
        ("bf16", ["--scales", "x.npz"], "--scales"),
        ("int8", ["--relegalize", *DATA], "--data"),
        ("int8", ["--relegalize", "--keep-ops", "Gemm"], "--keep-ops"),
        ("int8", ["--relegalize", "--keep-layers", "1"], "--keep-layers"),
        ("fp16", ["--relegalize"], "--precision int8 for --relegalize"),
    ],
)
def test_what_does_not_belong_to_a_precision_is_refused(here, capsys, precision, words, option):
    code, lines, errors = quantized(capsys, "hostile.onnx", "q.onnx", "--precision", precision, *words)
    assert (code, lines, made()) == (2, [], set())
    assert len(errors) == 1
    assert f"expected no {option} here" in errors[0] or f"expected {option}" in errors[0]


@pytest.mark.parametrize("name", ["hostile.onnx", "x.npz", "y.npy", "q.onnx", "q.onnx.json", "q.onnx.scales.json"])
def test_no_output_takes_the_place_of_another_file(here, capsys, name):
    before = {file.name: file.read_bytes() for file in Path().iterdir()}
    code, _, errors = quantized(capsys, "hostile.onnx", "q.onnx", *MAX, *DROP, "--calibration-cache", name)
    assert code == 1
    assert f"expected OUT to be another file than {name}, found the same" in errors[0]
    assert {file.name: file.read_bytes() for file in Path().iterdir()} == before
    assert quantized(capsys, "hostile.onnx", "x.npz", *MAX, *DATA)[0] == 1
    assert {file.name: file.read_bytes() for file in Path().iterdir()} == before


def test_quiet_and_json(here, capsys):
    assert quantized(capsys, "hostile.onnx", "q.onnx", *MAX, *DATA, "-q") == (0, [], [])
    with pytest.raises(SystemExit):
        main(["quantize", "hostile.onnx", "q.onnx", *MAX, *DROP, "--json"])
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out) == json.loads(Path("q.onnx.json").read_text())


def test_a_user_s_own_print_stays_out_of_the_json(here, capsys):
    Path("loud.py").write_text(
        "import numpy as np\ndef make():\n    print('hi')\n    yield {'image': np.eye(64, dtype='f4')}"
    )
    with pytest.raises(SystemExit):
        main(["quantize", "hostile.onnx", "q.onnx", *MAX, "--data", "loud.py:make", "--json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["calibrated_on"] == "64 samples of loud.py:make"
    assert "hi" in printed.err


# What is wrong with the data, the options, the code, and what is said of it: one line each.
BAD = {
    "nan": ([], 1, "expected finite numbers in 'image', found NaN or Inf in sample 3"),
    "constant": ([], 0, "input 'image' is 0.5 in every sample"),
    "same": ([], 0, "input 'image' is the same in all 32 samples"),
    "one": (["--method", "max"], 0, "one sample only"),
    "pixels": ([], 0, "input 'image' runs from 0 to 255: pixels of 0..255 that no one normalised?"),
    "none": ([], 1, "and at least one, found {'image': 0}"),
    "other": ([], 1, "no input 'imag'; did you mean 'image'?"),
    "double": ([], 1, "image: expected float32[N, 64], found float64[32, 64]"),
    "few": ([], 0, "15 samples are too few to hold some back and try choices on: ranges are the largest values"),
    "short": (["--keep-layers", "1"], 1, "expected samples held back from calibration to measure layers on"),
    "unmeasured": (
        ["--method", "max", "--keep-layers", "auto"],
        0,
        "no layer is kept: these are too few samples to hold",
    ),
    "aimed": (
        ["--keep-layers", "auto", "--min-sqnr-db", "9"],
        1,
        "expected samples held back from calibration to measure",
    ),
    "unlabelled": (["--max-drop", "0.1", "--labels", "y.npy"], 1, "expected a label for each of 32 samples"),
    "sequences": (
        ["--max-drop", "0.1", "--labels", "rows.npy"],
        1,
        "expected an output of class scores that the label",
    ),
}


def write_bad(name: str) -> None:
    x = images()[:32].copy()
    forms = {
        "constant": np.full_like(x, 0.5),
        "same": np.repeat(x[:1], 32, 0),
        "one": x[:1],
        "pixels": x * 255,
        "none": x[:0],
        "double": x.astype(np.float64),
        "few": x[:15],
        **dict.fromkeys(("short", "unmeasured", "aimed"), x[:15]),
    }
    if name == "nan":
        x[3, 5] = np.nan
    np.savez("bad.npz", **{"imag" if name == "other" else "image": forms.get(name, x)})
    np.save("rows.npy", np.zeros((32, 7), np.int64))


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_one_line(here, capsys, name):
    words, code, says = BAD[name]
    write_bad(name)
    before = made()
    found, lines, errors = quantized(capsys, "hostile.onnx", "q.onnx", *INT8, "--data", "bad.npz", *words)
    assert found == code, errors
    assert len(errors) == 1
    assert says in errors[0]
    assert errors[0].startswith("edgekit: error: " if code else "edgekit: warning: ")
    assert bool(lines) == (code == 0)
    assert made() - before == (set() if code else {"q.onnx", "q.onnx.json", "q.onnx.scales.json"})


RECIPE = """
[preprocess]
kind = "image"
input = "image"
resize = 8
crop = 8
mean = [0.0, 0.0, 0.0]
std = [255.0, 255.0, 255.0]
"""


def test_pixels_against_a_recipe(small_onnx, tmp_path, monkeypatch, capsys):
    """The recipe makes 0..1: 0..255 is refused, and -1..1, which is only somewhat beyond, is doubted."""
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(RECIPE)
    image = np.random.default_rng(0).uniform(0, 1, (40, 3, 8, 8)).astype(np.float32)
    np.savez("x.npz", image=image)
    words = [str(small_onnx), "q.onnx", *MAX, "--recipe", "r.toml", "--data"]
    assert quantized(capsys, *words, "x.npz")[::2] == (0, [])
    np.savez("signed.npz", image=1.9 * image - 0.95)
    code, _, errors = quantized(capsys, *words, "signed.npz")
    assert (code, len(errors)) == (0, 1)
    assert "where its preprocessing makes 0 to 1" in errors[0]
    np.savez("pixels.npz", image=image * 255)
    Path("q.onnx").unlink()
    code, _, errors = quantized(capsys, *words, "pixels.npz")
    assert (code, len(errors)) == (1, 1)
    assert "these values went through another one" in errors[0]
    assert not Path("q.onnx").exists()


def test_folders_of_pictures_are_the_labels_of_any_drop(small_onnx, tmp_path, monkeypatch, capsys):
    """Also of none at all: the verdict is by what the folders say, not by agreement with FP32."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(RECIPE)
    random = np.random.default_rng(0)
    for number in range(40):
        file = Path(f"pictures/{number % 5}/{number}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(file)
    words = [str(small_onnx), "q.onnx", *MAX, "--data", "pictures", "--recipe", "r.toml", "--max-drop"]
    for drop in ("0", "0.9"):
        _, lines, _ = quantized(capsys, *words, drop)
        assert "(of top-1) on " in lines[-1]


def test_ctrl_c_leaves_a_table_to_go_on_from(here):
    """A real SIGINT while a slow source is read; what is made afterwards is what no interrupt would have made."""
    Path("slow.py").write_text(
        textwrap.dedent("""
            import time, pathlib, numpy
            def make():
                images = numpy.load("x.npz")["image"][:96]
                for start in range(0, 96, 5):
                    if start == 50:
                        pathlib.Path("started").touch()
                        time.sleep(0 if pathlib.Path("fast").exists() else 60)
                    yield {"image": images[start:start + 5]}
        """)
    )
    words = [sys.executable, "-m", "edgekit", "quantize", "hostile.onnx", "-q", *INT8, "--data", "slow.py:make"]
    kept = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, "stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([*words, "out/q.onnx"], **kept, text=True)
    deadline = time.monotonic() + 60
    while not Path("started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed, errors) == (130, "", "edgekit: error: interrupted\n")
    assert [file.name for file in Path("out").iterdir()] == ["q.onnx.scales.json"]
    table = Path("out/q.onnx.scales.json")
    found = json.loads(table.read_text())
    assert (found["complete"], 0 < found["samples"] <= 50) == (False, True)
    Path("fast").touch()
    subprocess.run([*words, "out/q.onnx", "--scales", str(table)], check=True, **kept)
    subprocess.run([*words, "whole/q.onnx"], check=True, **kept)
    for name in ("q.onnx", "q.onnx.scales.json"):
        assert (Path("out") / name).read_bytes() == (Path("whole") / name).read_bytes(), name


@pytest.mark.slow  # trains, exports, quantizes and builds
@pytest.mark.parametrize("make", ["make_cnn", "make_transformer"])
def test_a_foreign_model_is_explained_mended_and_built(shared, tmp_path, monkeypatch, capsys, make):
    """A network as onnxruntime's `quantize_static` leaves it at its defaults, from `check` to an engine."""
    pytest.importorskip("torch", reason="torch trains the networks")
    pytest.importorskip("tensorrt_rtx")
    from tests.quantize.foreign import write

    folder = shared(f"foreign-{make}", lambda path: write(path, make))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as exit_info:
            main(list(words))
        return int(exit_info.value.code or 0), capsys.readouterr().out.splitlines()

    source = str(folder / "qdq.onnx")
    code, lines = run("check", source, "--target", "rtx")
    assert code == 6
    assert any("(int32-bias)" in line and "remedy: " in line for line in lines)
    assert lines[-1] == f"mend with: edgekit quantize {source} OUT.onnx --precision int8 --relegalize"
    code, lines = run("quantize", source, "mended.onnx", "--precision", "int8", "--relegalize")
    assert (code, lines[-1].split(":")[0]) == (0, "mended.onnx")
    assert made() == {"mended.onnx", "mended.onnx.json"}
    code, lines = run("check", "mended.onnx", "--target", "rtx")
    assert code == 0
    assert not any(line.startswith("error") for line in lines)
    code, lines = run("build-engine", "mended.onnx", "m.engine", "--target", "rtx", "--compute-capability", "8.6")
    assert (code, Path("m.engine").stat().st_size > 10_000) == (0, True)
