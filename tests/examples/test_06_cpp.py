"""examples/06_cpp: its parts against Python's, whose code they share nothing with; and the program on a real bundle.

onnxruntime's C++ headers are in no package of PyPI: ONNXRUNTIME_INCLUDE names them, as for the example's CMake; the
library is pip's. TensorRT's headers are found as tests/plugins does: EDGEKIT_TENSORRT_ROOTS, TENSORRT_ROOT.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.bundle import Manifest
from edgekit.bundle.entries import EngineEntry, ModelEntry
from edgekit.bundle.pack import Contents, pack
from edgekit.device import this_host
from edgekit.plugins import building
from edgekit.postprocess.classify import classify
from edgekit.preprocess.image import apply
from edgekit.specs import ImagePreprocess, TensorSpec, to_table
from tests.reading import commands, run
from tests.test_house_rules import is_formatted

HERE = this_host()
EXAMPLE = Path(__file__).parents[2] / "examples" / "06_cpp"
SOURCES = sorted([*EXAMPLE.glob("*.cpp"), *EXAMPLE.glob("*.h")])
WARNINGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror")
SPEC = ImagePreprocess("image", "image", 256, 224, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
GRAY = {"mean": (118.0,), "std": (57.0,), "colour": "GRAY"}
INTEGRITY, TARGET = 7, 6

pytestmark = pytest.mark.slow  # g++ compiles it, and a pretrained network's bundle is made


def ran(*command: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], capture_output=True, check=False)


def refusal(*command: object) -> tuple[int, str]:
    """The exit code of a refused run, and its one line."""
    done = ran(*command)
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    return done.returncode, line


@pytest.fixture(scope="session")
def selftest(shared) -> Path:
    """The parts without onnxruntime, compiled with g++ alone; the library's own checks of bounds are on."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")

    def make(folder: Path) -> None:
        names = [EXAMPLE / name for name in ("selftest.cpp", "bundle.cpp", "picture.cpp")]
        done = ran("g++", *WARNINGS, "-D_GLIBCXX_ASSERTIONS", *names, "-o", folder / "selftest")
        assert done.returncode == 0, done.stderr.decode()

    return shared("example-06-selftest", make) / "selftest"


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A small bundle that edgekit itself packs; no network, since nothing here runs one."""
    manifest = Manifest(
        edgekit="0", verdict="", model=ModelEntry("model.onnx", "none", "classes", "fp32", "all"),
        preprocess="preprocess.json", postprocess="postprocess.json", stream="", assets=(),
        inputs=(TensorSpec("image", "float32", ("n", 3, 224, 224)),),
        outputs=(TensorSpec("logits", "float32", ("n", 2)),), ranges={"n": (1, 1, 8)}, files={},
        engines=(EngineEntry("a/model.engine", "tensorrt", "10.3", ("8.6", "8.7")),
                 EngineEntry("b.engine", "tensorrt_rtx", "1.7", ("12.0",), os=HERE.os, architecture=HERE.architecture),
                 EngineEntry("b.engine", "tensorrt_rtx", "1.8", ("12.1",), os="windows", architecture="x86_64"),
                 EngineEntry("b.engine", "tensorrt_rtx", "1.9", ("8.7",), os=HERE.os, architecture="riscv64")),
    )  # fmt: skip
    made = {
        "model.onnx": b"no network" * 100,
        "preprocess.json": json.dumps(to_table(SPEC)).encode(),
        "postprocess.json": b"{}",
        "a/model.engine": bytes(range(256)),
        "b.engine": b"\0",
    }
    pack(tmp_path / "bundle", manifest, Contents(made=made))
    return tmp_path / "bundle"


def resigned(bundle: Path, *, without: str = "", **changes: object) -> None:
    """Change the manifest's table and give it a digest that fits, as only an attacker would."""
    table = {**json.loads((bundle / "manifest.json").read_text()), **changes}
    table.pop("manifest_sha256")
    table.pop(without, None)
    text = json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    table["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def flipped(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


# --- JSON and SHA-256 ---


def test_json_is_read_as_python_reads_it(selftest, tmp_path):
    values = [
        None, True, False, 0, -0.0, 12, -3.25, 1e-7, 6.02e23, 2**53, "", "plain", 'q"b\\s/\b\f\n\r\t\x01',
        "Käse 日本 🦊", [], {}, [[], [1, [2]]], {"a": {"b": [None]}, "": "empty", "ü": 1},
    ]  # fmt: skip
    for indent, ascii_only in ((None, False), (1, False)):
        text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
        (tmp_path / "x.json").write_text(text)
        assert json.loads(ran(selftest, "json", tmp_path / "x.json").stdout) == values
    (tmp_path / "x.json").write_text(' \t\r\n["\\u0041\\u00e4\\u65e5\\/\\uABCD", 1E+2, 0.5e-1]\n')
    assert json.loads(ran(selftest, "json", tmp_path / "x.json").stdout) == ["Aä日/ꯍ", 100, 0.05]


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[1,]", "[1", "[1 2]", "{1:2}", '{"a" 1}', '{"a":1,}', '{"a":1,"a":2}', "01", "1.", ".5", "+1", "-",
     "1e", "0x10", "NaN", "Infinity", "tru", "nulll", '"a', '"\n"', '"\\x"', '"\\u12"', '"\\u 123"',
     '"\\u\x11123"', '"\\ud83e\\udd8a"',
     "[] []", "'a'", '"a\\', "[" * 40 + "]" * 40, "[" * 100000],
)  # fmt: skip
def test_what_is_no_json_is_refused(selftest, tmp_path, text):
    """In one line, also where Python is lenient: NaN, a key twice, half a surrogate pair."""
    (tmp_path / "x.json").write_text(text)
    code, line = refusal(selftest, "json", tmp_path / "x.json")
    assert (code, "expected " in line) == (1, True)


def test_digests_are_those_of_hashlib(selftest, tmp_path):
    random = np.random.default_rng(0)
    for size in (0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 100_003):
        data = random.bytes(size)
        (tmp_path / "x").write_bytes(data)
        assert ran(selftest, "sha256", tmp_path / "x").stdout.decode().strip() == hashlib.sha256(data).hexdigest()


# --- the manifest ---


def test_a_bundle_is_read(selftest, bundle):
    engines = "a/model.engine tensorrt 8.6\na/model.engine tensorrt 8.7\nb.engine tensorrt_rtx 12.0\n"
    assert ran(selftest, "engines", bundle, "").stdout.decode() == engines
    assert ran(selftest, "read", bundle, "model.onnx").stdout == b"1000\n"
    assert ran(selftest, "read", bundle, "a/model.engine").stdout == b"256\n"


def test_every_damaged_byte_of_a_manifest_is_found(selftest, bundle):
    """One of each line, and both ends."""
    text = (bundle / "manifest.json").read_bytes()
    places = [0, len(text) - 1, *(match.start() + 3 for match in re.finditer(rb"\n .", text))]
    for place in places[:: max(1, len(places) // 30)]:
        flipped(bundle / "manifest.json", place)
        code, line = refusal(selftest, "engines", bundle, "")
        assert (code, line.startswith("expected ")) == (INTEGRITY, True), place
        (bundle / "manifest.json").write_bytes(text)
    for wrong in (b"", text[:-30], text + b" ", b"{}", b"\0" * (1 << 20), b" " * ((1 << 20) + 1)):
        (bundle / "manifest.json").write_bytes(wrong)
        assert refusal(selftest, "engines", bundle, "")[0] == INTEGRITY
    assert "at most 1 MiB" in refusal(selftest, "engines", bundle, "")[1]
    (bundle / "manifest.json").unlink()
    assert refusal(selftest, "engines", bundle, "")[0] == INTEGRITY


ENTRY = {"size": 1, "sha256": "0" * 64}


def one_input(dtype: str, shape: list[object]) -> dict[str, object]:
    return {"inputs": [{"name": "image", "dtype": dtype, "shape": shape}]}


@pytest.mark.parametrize(
    ("code", "said", "changes"),
    [
        (INTEGRITY, "schema 3", {"schema": 4}),
        (INTEGRITY, "plain file names, found ../x", {"files": {"../x": ENTRY}}),
        (INTEGRITY, "plain file names, found /x", {"files": {"/x": ENTRY}}),
        (INTEGRITY, "plain file names, found a/../x", {"files": {"a/../x": ENTRY}}),
        (INTEGRITY, "plain file names, found a//x", {"files": {"a//x": ENTRY}}),
        (INTEGRITY, "plain file names, found .x", {"files": {".x": ENTRY}}),
        (INTEGRITY, "plain file names, found ", {"files": {"": ENTRY}}),
        (INTEGRITY, "plain file names, found manifest.json", {"files": {"manifest.json": ENTRY}}),
        (INTEGRITY, "whole number", {"files": {"x": {**ENTRY, "size": -1}}}),
        (INTEGRITY, "whole number", {"files": {"x": {**ENTRY, "size": 1.5}}}),
        (INTEGRITY, "whole number", {"files": {"x": {**ENTRY, "size": 1e300}}}),
        (INTEGRITY, "a key sha256", {"files": {"x": {"size": 1}}}),
        (INTEGRITY, "model.onnx among the files", {"files": {}}),
        (INTEGRITY, "a table", {"files": []}),
        (INTEGRITY, "a text", {"model": {"file": 1}}),
        (INTEGRITY, "a key engines", {"without": "engines"}),
        (INTEGRITY, "three sizes for n", {"ranges": {"n": [1]}}),
        (TARGET, "a network without states", {"stream": "stream.json"}),
        (TARGET, "preprocessing and labels", {"preprocess": ""}),
        (TARGET, "one input, found 2", {"inputs": [{"name": "a"}, {"name": "b"}]}),
        (TARGET, "image: expected float32", one_input("float16", ["n", 3])),
        (TARGET, "image: expected a batch of one", one_input("float32", [2, 3])),
        (TARGET, "image: expected a batch of one", one_input("float32", [1, "h"])),
        (TARGET, "image: expected a batch of one", {"ranges": {"n": [2, 2, 8]}}),
    ],
)  # fmt: skip
def test_a_manifest_with_its_own_digest_is_still_looked_at(selftest, bundle, code, said, changes):
    resigned(bundle, **changes)
    found, line = refusal(selftest, "engines", bundle, "")
    assert (found, said in line) == (code, True), line


def test_files_are_verified_as_they_are_read(selftest, bundle):
    path = bundle / "a/model.engine"
    data = path.read_bytes()
    wrong = {"SHA-256": data[:-1] + b"\0", "found 255": data[:-1], "found more": data + b"\0", "found 0": b""}
    for said, content in wrong.items():
        path.write_bytes(content)
        code, line = refusal(selftest, "read", bundle, "a/model.engine")
        assert (code, said in line) == (INTEGRITY, True), line
        assert "get the bundle again" in line
    path.unlink()
    assert refusal(selftest, "read", bundle, "a/model.engine")[0] == INTEGRITY
    (bundle / "elsewhere").write_bytes(data)
    path.symlink_to(bundle / "elsewhere")
    assert refusal(selftest, "read", bundle, "a/model.engine")[0] == INTEGRITY
    assert refusal(selftest, "read", bundle, "elsewhere")[0] == INTEGRITY
    assert refusal(selftest, "read", bundle / "elsewhere", "x")[0] == 1


# --- pictures and labels ---


def as_ppm(photo: Path, folder: Path, size: tuple[int, int] | None = None) -> tuple[np.ndarray, Path]:
    picture = Image.open(photo).convert("RGB")
    picture = picture.resize(size) if size else picture
    picture.save(folder / "photo.ppm")
    return np.asarray(picture), folder / "photo.ppm"


@pytest.mark.parametrize("photo", ["cat.png", "coffee.png", "camera_man.png"])
@pytest.mark.parametrize(
    "changes",
    [
        {}, {"interpolation": "bicubic"}, {"layout": "NHWC"}, {"colour": "BGR"}, GRAY,
        {**GRAY, "interpolation": "bicubic"}, {"resize": 700, "crop": 699},
        {"resize": 96, "crop": 95, "interpolation": "bicubic"},
        # In grey levels, so that nothing is made small by a large std.
        {"mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": "bicubic"},
    ],
)  # fmt: skip
def test_a_photograph_becomes_the_tensor_that_python_makes(selftest, photos, tmp_path, photo, changes):
    spec = replace(SPEC, **changes)
    picture, ppm = as_ppm(photos / photo, tmp_path)
    shape = (len(spec.mean), spec.crop, spec.crop) if spec.layout == "NCHW" else (spec.crop, spec.crop, len(spec.mean))
    wanted = np.empty(shape, np.float32)
    apply(spec, picture, wanted)
    (tmp_path / "spec.json").write_text(json.dumps(to_table(spec)))
    found = np.frombuffer(ran(selftest, "tensor", tmp_path / "spec.json", ppm).stdout, np.float32)
    np.testing.assert_allclose(found.reshape(shape), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (641, 23)])
def test_odd_sizes_too(selftest, photos, tmp_path, size):
    picture, ppm = as_ppm(photos / "coffee.png", tmp_path, size)
    wanted = np.empty((3, 224, 224), np.float32)
    apply(SPEC, picture, wanted)
    (tmp_path / "spec.json").write_text(json.dumps(to_table(SPEC)))
    found = np.frombuffer(ran(selftest, "tensor", tmp_path / "spec.json", ppm).stdout, np.float32)
    np.testing.assert_allclose(found.reshape(3, 224, 224), wanted, atol=1e-4, rtol=0)


def test_a_ppm_is_read_strictly(selftest, tmp_path):
    spec, ppm = tmp_path / "spec.json", tmp_path / "x.ppm"
    spec.write_text(json.dumps(to_table(replace(SPEC, resize=1, crop=1, mean=(0.0,) * 3, std=(1.0,) * 3))))
    ppm.write_bytes(b"P6 # a comment\n1\t1 255\n\x01#\xff")
    assert np.frombuffer(ran(selftest, "tensor", spec, ppm).stdout, np.float32).tolist() == [1, 35, 255]
    for wrong in (b"", b"P6", b"P5 1 1 255\n\0", b"P6 1 1 65535\n\0\0\0\0\0\0", b"P6 1 1 255\n\0\0",
                  b"P6 1 1 255\n\0\0\0\0", b"P6 0 1 255\n", b"P6 -1 1 255\n\0\0\0",
                  b"P6 99999999999 1 255\n\0\0\0", b"P6 1 1 255"):  # fmt: skip
        ppm.write_bytes(wrong)
        code, line = refusal(selftest, "tensor", spec, ppm)
        assert (code, "expected a PPM" in line) == (1, True), wrong
    assert refusal(selftest, "tensor", spec, tmp_path / "none.ppm")[0] == 1


@pytest.mark.parametrize(
    ("code", "changes"),
    [(TARGET, {"kind": "audio"}), (INTEGRITY, {"crop": 257}), (INTEGRITY, {"crop": 0}), (INTEGRITY, {"resize": 256.5}),
     (INTEGRITY, {"std": [1, 0, 1]}), (INTEGRITY, {"mean": [1e999, 0, 0]}), (INTEGRITY, {"mean": [0]}),
     (INTEGRITY, {"layout": "CHW"}), (INTEGRITY, {"interpolation": 1}), (INTEGRITY, {"resize": 1e9})],
)  # fmt: skip
def test_wrong_preprocessing_is_refused(selftest, tmp_path, code, changes):
    text = json.dumps({**to_table(SPEC), **changes}).replace("Infinity", "1e999")
    (tmp_path / "spec.json").write_text(text)
    assert refusal(selftest, "tensor", tmp_path / "spec.json", tmp_path / "none.ppm")[0] == code


def test_labels_are_those_of_python(selftest, tmp_path):
    spec, raw = tmp_path / "spec.json", tmp_path / "logits"
    random = np.random.default_rng(0)
    cases = [random.normal(0, 4, 5), [0, 0, 0, 0, 0], [1e30, -1e30, 0, 0, 0], [800, 801, 0, 0, 0]]
    for labels in (["a", "b c", "", "ü", "e"], []):
        spec.write_text(json.dumps({"kind": "classify", "output": "logits", "labels": labels}, ensure_ascii=False))
        for logits in np.array(cases, np.float32):
            raw.write_bytes(logits.tobytes())
            name, probability = ran(selftest, "label", spec, raw).stdout.decode().rsplit(" ", 1)
            best = classify(logits, tuple(labels))[0][0]
            assert name == best.name
            assert float(probability) == pytest.approx(best.probability, abs=1e-8)
    spec.write_text(json.dumps({"kind": "classify", "output": "logits", "labels": ["a"]}))
    assert "a label for each of 5 classes" in refusal(selftest, "label", spec, raw)[1]
    raw.write_bytes(np.array([np.nan], np.float32).tobytes())
    assert "finite logits" in refusal(selftest, "label", spec, raw)[1]
    spec.write_text(json.dumps({"kind": "boxes"}))
    assert refusal(selftest, "label", spec, raw)[0] == TARGET


# --- the program ---


@pytest.fixture(scope="session")
def onnxruntime_for_cmake() -> dict[str, str]:
    """What CMake is told: the headers of ONNXRUNTIME_INCLUDE, and pip's library unless another is named."""
    include = os.environ.get("ONNXRUNTIME_INCLUDE", "")
    if not (Path(include) / "onnxruntime_cxx_api.h").is_file():
        pytest.skip("onnxruntime's C++ headers were not found: set ONNXRUNTIME_INCLUDE")
    onnxruntime = pytest.importorskip("onnxruntime")
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1.*"))
    library = os.environ.get("ONNXRUNTIME_LIBRARY") or (str(libraries[-1]) if libraries else "")
    if not library:
        pytest.skip("onnxruntime's library was not found: set ONNXRUNTIME_LIBRARY")
    return {"ONNXRUNTIME_INCLUDE": include, "ONNXRUNTIME_LIBRARY": library}


@pytest.fixture(scope="session")
def at_home(onnxruntime_for_cmake, shared, lite0, photos) -> Path:
    """A folder in which the README's commands were run as they are written, onto the demo's bundle."""

    def make(folder: Path) -> None:
        (folder / "examples").symlink_to(EXAMPLE.parent)
        (folder / "out").mkdir()
        (folder / "out/demo").symlink_to(lite0)
        (folder / "out/photos").symlink_to(photos)
        environment = {**onnxruntime_for_cmake, "CXXFLAGS": "-Werror"}
        said = [run(command, folder, **environment) for command in commands("examples/06_cpp/README.md")]
        (folder / "printed").write_text(said[-1])

    return shared("example-06-program", make)


def test_the_readmes_commands_and_pythons_answer(at_home, lite0, photos, tmp_path):
    from edgekit.runtime import Session

    assert re.fullmatch(r"espresso 0\.9\d{3} in \d+\.\d ms on ort\n", (at_home / "printed").read_text())
    with Session.open(lite0 / "bundle", "ort") as session:
        for name in ("cat.png", "coffee.png", "camera_man.png"):
            picture, ppm = as_ppm(photos / name, tmp_path)
            session.preprocess(picture)
            session.execute()
            best = session.postprocess()[0][0]
            printed = ran(at_home / "out/cpp/edgekit_run", lite0 / "bundle", ppm).stdout.decode()
            label, probability = re.fullmatch(r"(.+) ([01]\.\d{4}) in .*\n", printed).groups()
            assert (label, float(probability)) == (best.name, pytest.approx(best.probability, abs=1e-3))


def test_a_damaged_bundle_is_refused_before_anything_is_loaded(at_home, lite0, photos, tmp_path):
    _, ppm = as_ppm(photos / "coffee.png", tmp_path)
    program = at_home / "out/cpp/edgekit_run"
    for name in ("model.onnx", "manifest.json", "preprocess.json", "postprocess.json"):
        for damage in (lambda path: flipped(path, path.stat().st_size // 2), Path.unlink):
            shutil.rmtree(tmp_path / "bundle", ignore_errors=True)
            shutil.copytree(lite0 / "bundle", tmp_path / "bundle")
            damage(tmp_path / "bundle" / name)
            code, line = refusal(program, tmp_path / "bundle", ppm)
            assert (code, line.startswith("edgekit_run: error: expected ")) == (INTEGRITY, True), line
    # With a digest that fits, onnxruntime sees the bytes, and says something else: above, it did not.
    shutil.copyfile(lite0 / "bundle/postprocess.json", tmp_path / "bundle/postprocess.json")
    (tmp_path / "bundle/model.onnx").write_bytes(b"no model")
    files = json.loads((lite0 / "bundle/manifest.json").read_text())["files"]
    entry = {"size": 8, "sha256": hashlib.sha256(b"no model").hexdigest()}
    resigned(tmp_path / "bundle", files={**files, "model.onnx": entry})
    code, line = refusal(program, tmp_path / "bundle", ppm)
    assert (code, "onnxruntime refuses the model" in line) == (TARGET, True), line


def test_what_was_compiled_with_neither_says_what_it_lacks(lite0, photos, tmp_path):
    if shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("needs cmake and g++")
    nowhere = [
        "-DCMAKE_FIND_ROOT_PATH=/nowhere",
        *(f"-DCMAKE_FIND_ROOT_PATH_MODE_{it}=ONLY" for it in ("INCLUDE", "LIBRARY")),
    ]
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("ONNXRUNTIME", "TENSORRT"))}
    environment = {**keep, "CXXFLAGS": "-Werror"}
    configured = subprocess.run(
        ["cmake", "-S", EXAMPLE, "-B", tmp_path / "cpp", *nowhere],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (said,) = [line for line in configured.stdout.splitlines() if "edgekit_run will run no bundle" in line]
    assert "-DONNXRUNTIME_INCLUDE=" in said
    subprocess.run(["cmake", "--build", tmp_path / "cpp"], env=environment, capture_output=True, check=True)
    _, ppm = as_ppm(photos / "coffee.png", tmp_path)
    code, line = refusal(tmp_path / "cpp/edgekit_run", lite0 / "bundle", ppm)
    assert (code, "next: cmake with -DONNXRUNTIME_INCLUDE" in line) == (TARGET, True), line


def test_wrong_arguments_are_one_line_too(at_home, lite0, photos, tmp_path):
    _, ppm = as_ppm(photos / "coffee.png", tmp_path)
    program = at_home / "out/cpp/edgekit_run"
    assert refusal(program)[0] == 2
    assert refusal(program, lite0 / "bundle", ppm, "gpu")[0] == 2
    assert refusal(program, lite0 / "bundle", photos / "coffee.png")[0] == 1
    assert refusal(program, tmp_path / "none", ppm)[0] == 1
    assert refusal(program, lite0 / "bundle", ppm, "trt")[0] == TARGET  # no GPU, or no TensorRT


# --- TensorRT, and the form ---


NAMED = os.environ.get("EDGEKIT_TENSORRT_ROOTS") or os.environ.get("TENSORRT_ROOT") or building.find_tensorrt() or ""


def cuda_headers() -> Path | None:
    """Of the toolkit, or of PyPI's nvidia-cuda-runtime, as `plugins build` takes them."""
    site = Path(np.__file__).parents[1]
    places = [
        *site.glob("nvidia/cu*/include"),
        *site.glob("nvidia/cuda_runtime/include"),
        Path("/usr/local/cuda/include"),
    ]
    return next((place for place in places if (place / "cuda_runtime_api.h").is_file()), None)


@pytest.mark.parametrize(
    "root", [root for root in str(NAMED).split(":") if root] or [""], ids=lambda root: Path(root).name
)
def test_the_tensorrt_part_compiles(root, tmp_path):
    """Against the real headers; it is not run."""
    cuda = cuda_headers()
    if not root or cuda is None:
        pytest.skip("TensorRT's or CUDA's headers were not found: set TENSORRT_ROOT")
    includes = ["-isystem", Path(root, "include"), "-isystem", root, "-isystem", cuda]
    for name, flavour in (("trt.cpp", "tensorrt"), ("main.cpp", "tensorrt_rtx")):
        done = ran("g++", *WARNINGS, f'-DEDGEKIT_FLAVOUR="{flavour}"', *includes, "-fsyntax-only", EXAMPLE / name)
        assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_sources_are_short_and_formatted(path):
    assert path.read_text().count("\n") < 250
    assert is_formatted(path.read_text(), str(path)), f"clang-format -i {path}"
