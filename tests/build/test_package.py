"""The package that builds an engine on another machine: copied to a clean folder and run there, as on a device.

No Jetson is here: `--target rtx` builds the packed model with TensorRT-RTX, and a stand-in for python3 shows which
commands build.sh gives.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
packaging = pytest.importorskip("packaging.requirements", reason="pip's own reader of requirements is the oracle")

from edgekit.build import build  # noqa: E402
from edgekit.build import carried as carried_module  # noqa: E402
from edgekit.build.carried import needed, own_sources, requirements  # noqa: E402
from edgekit.build.flavour import AbsentTensorRT  # noqa: E402
from edgekit.build.package import PackageReport, package  # noqa: E402
from edgekit.configs import BuildConfig, ExportConfig, QuantizeConfig  # noqa: E402
from edgekit.errors import EdgekitError, ModelError, OutputError, ShapeError, TargetError, UsageError  # noqa: E402
from edgekit.resources import resource  # noqa: E402
from tests.check.recurrent_models import recurrent  # noqa: E402

ROOT = Path(__file__).parents[2]
HOSTILE = '-it\'s $(touch pwned) `touch pwned`; "touch pwned" &.engine'
SHAPE = "image:1x3x8x8:2x3x8x8:4x3x8x8"
CONFIG = BuildConfig("jetpack6", device="agx-orin-64", shape=(SHAPE,), workspace_mib=64, require_precision=("fp32=1",))
ABSENT = AbsentTensorRT("expected TensorRT 10.3, found none", "another machine")

# Stands in for python3, and for the one of a venv: notes its arguments, has TensorRT, and edgekit's needs once pip ran.
PYTHON = """#!/bin/sh
printf '%s|' "$0" "$@" >> "$CALLS"
echo >> "$CALLS"
case "$*" in
    *'import click'*) [ -e ready ] ;;
    '-m venv'*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    '-m pip'*) [ -z "${NO_NETWORK:-}" ] && touch ready ;;
esac
"""


@pytest.fixture(scope="module")
def packed(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> PackageReport:
    return package(small_onnx, tmp_path_factory.mktemp("packed") / HOSTILE, CONFIG, ABSENT)


@pytest.fixture
def copied(packed: PackageReport, tmp_path: Path) -> Path:
    """The package on "another machine": a folder with blanks, a quote and a colon in its name."""
    return shutil.copytree(packed.path, tmp_path / "another machine's: home" / packed.path.name)


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The one command of README.txt, beside the package; of the checkout there is the editable install alone."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    lines = (folder / "README.txt").read_text().splitlines()
    command = next(line for line in lines if line.startswith("    sh "))
    return subprocess.run(
        ["sh", "-c", f'{command} "$@"', "sh", *arguments],
        cwd=folder.parent,
        env={"PATH": path, "HOME": str(folder.parent)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_it_builds_the_same_engine_from_its_own_sources(copied, small_onnx, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engine of this test")
    done = run(copied, "--target", "rtx", "--compute-capability", "8.6", PYTHONVERBOSE="1")
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = [line for line in done.stderr.splitlines() if line.startswith("# code object from")]
    assert any(f"{copied}/edgekit/build/engine.py" in line for line in loaded)
    assert not any(str(ROOT / "edgekit") in line for line in loaded)
    here = build(
        small_onnx, tmp_path / "a.engine", replace(CONFIG, target="rtx", device=None, compute_capability=("8.6",))
    )
    assert hashlib.sha256((copied / "engine" / HOSTILE).read_bytes()).hexdigest() == here.sha256
    assert json.loads((copied / "engine" / f"{HOSTILE}.json").read_text())["shapes"] == [SHAPE]
    assert list(tmp_path.rglob("pwned")) == []
    assert list(copied.rglob("__pycache__")) == []


def test_without_tensorrt_it_says_so(copied):
    if subprocess.run([sys.executable, "-c", "import tensorrt; tensorrt.Builder"], capture_output=True).returncode == 0:
        pytest.skip("TensorRT is here")
    done = run(copied)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert done.stderr.startswith("edgekit: error: expected the Python module tensorrt to build for target jetpack6")
    assert "sudo apt install python3-libnvinfer" in done.stderr
    assert not (copied / "engine").exists()


@pytest.mark.parametrize(
    "name", ["model.onnx", "edgekit/build/engine.py", "build.sh", "requirements.txt", "package.json"]
)
def test_what_is_not_as_packed_stops_it(copied, name):
    with (copied / name).open("ab") as file:
        file.write(b"\n")
    done = run(copied, "--target", "cpu")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1)
    assert f"found {name}: FAILED" in done.stderr
    assert not (copied / "engine").exists()


@pytest.mark.parametrize(("name", "says"), [("model.onnx", "found model.onnx: FAILED"), ("SHA256SUMS", "SHA256SUMS")])
def test_what_is_missing_stops_it(copied, name, says):
    (copied / name).unlink()
    done = run(copied, "--target", "cpu")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1)
    assert says in done.stderr


def calls(copied: Path, *arguments: str, **environment: str) -> tuple[int, list[list[str]]]:
    """The exit code with a stand-in as python3, and the command lines that it was given; those of -c left out."""
    tools = copied.parents[1] / "tools"  # PATH takes no colon in a name
    tools.mkdir()
    (tools / "python3").write_text(PYTHON)
    (tools / "python3").chmod(0o755)
    log = copied.parent / "calls"
    done = run(copied, *arguments, PATH=f"{tools}:/usr/bin:/bin", CALLS=str(log), **environment)
    words = [line.split("|")[:-1] for line in log.read_text().splitlines()]
    return done.returncode, [[Path(first).name, *rest] for first, *rest in words if rest[0] != "-c"]


def test_missing_packages_come_into_a_venv_and_the_command_is_whole(copied):
    code, (venv, pip, last) = calls(copied, "--workspace-mib", "12", "a b")
    assert code == 0
    assert venv == ["python3", "-m", "venv", "--system-site-packages", ".venv"]
    assert pip == ["python", "-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"]
    packed_options = [f"--shape={SHAPE}", "--workspace-mib=64", "--require-precision=fp32=1"]
    own = ["model.onnx", f"engine/{HOSTILE}", "--target", "jetpack6", *packed_options, "--device=agx-orin-64"]
    assert last == ["python", "-m", "edgekit", "build-engine", *own, "--workspace-mib", "12", "a b"]


def test_packages_that_are_here_need_no_venv(copied):
    (copied / "ready").touch()
    code, (last,) = calls(copied)
    assert (code, last[:4]) == (0, ["python3", "-m", "edgekit", "build-engine"])


def test_a_failed_pip_stops_it(copied):
    code, found = calls(copied, NO_NETWORK="1")
    assert (code, len(found)) == (1, 2)


@pytest.mark.parametrize("override", [["--target", "rtx"], ["--target=rtx"]])
def test_the_device_is_not_one_of_another_target(copied, override):
    (copied / "ready").touch()
    code, (last,) = calls(copied, *override)
    assert code == 0
    assert last[-len(override) :] == override
    assert "--device=agx-orin-64" not in last


def test_every_write_has_the_same_bytes(packed, small_onnx, tmp_path):
    moved = shutil.copy(small_onnx, tmp_path / small_onnx.name)
    script = (
        "from pathlib import Path; import sys; from edgekit.build.package import *\n"
        "package(Path(sys.argv[1]), Path(sys.argv[2]), "
        f"BuildConfig(**{vars(CONFIG)!r}), AbsentTensorRT('other words'))"
    )
    again = tmp_path / "again" / HOSTILE
    subprocess.run([sys.executable, "-c", script, moved, again], check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert contents(again.with_name(again.name + ".package")) == contents(packed.path)


def test_nothing_tells_of_this_machine(packed, small_onnx):
    told = [os.fsencode(path) for path in (ROOT, packed.path.parent, small_onnx.parent, sys.prefix)]
    assert [name for name, data in contents(packed.path).items() if any(path in data for path in told)] == []


def test_the_sources_are_those_of_the_repository(packed):
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "edgekit", "calibration", "plugins"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    here = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file() and "/." not in name}
    as_packed = {name if name.startswith("edgekit/") else f"edgekit/_resources/{name}" for name in here}
    found = {name for name in contents(packed.path) if name.startswith("edgekit/")}
    assert found == as_packed
    assert (packed.path / "edgekit/_resources/plugins/CMakeLists.txt").read_bytes() == (
        resource("plugins") / "CMakeLists.txt"
    ).read_bytes()
    assert (packed.path / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_what_python_and_editors_leave_is_no_source(tmp_path, monkeypatch):
    kept = {"a.py", "room/data.toml", "room/page/text.txt"}
    left = {"__pycache__/a.pyc", "room/__pycache__/b.pyc.140", "a.py~", ".a.py.swp", "room/.cache/x", "x.part"}
    for name in kept | left | {"_resources/plugins/old.cu"}:
        (tmp_path / "edgekit" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "edgekit" / name).touch()
    monkeypatch.setattr(carried_module, "_PACKAGE", tmp_path / "edgekit")
    found = {name for name, _ in own_sources() if not name.startswith("edgekit/_resources/")}
    assert found == {f"edgekit/{name}" for name in kept}
    assert "edgekit/_resources/plugins/old.cu" not in dict(own_sources())


def test_the_account_names_every_file_with_its_digest(packed, small_onnx):
    account = json.loads((packed.path / "package.json").read_text())
    files = contents(packed.path)
    assert files["model.onnx"] == small_onnx.read_bytes()
    expected = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
        if name not in ("package.json", "SHA256SUMS")
    }
    assert account["files"] == expected
    assert (packed.files, packed.bytes) == (len(files), sum(map(len, files.values())))
    assert (account["source"], account["engine"], account["target"]) == ("small.onnx", HOSTILE, "jetpack6")
    assert account["shapes"] == [SHAPE]
    assert account["options"]["require_precision"] == ["fp32=1"]
    assert (account["about_target"]["tensorrt"], account["about_device"]["compute_capability"]) == ("10.3", "8.7")
    assert account["recipe"] is None
    assert "recipe.toml" not in files


def test_the_page_says_what_to_run_and_what_was_not_tried(packed):
    page = (packed.path / "README.txt").read_text()
    assert f"\n    {packed.command}\n" in page
    for words in (
        "TensorRT 10.3",
        "JetPack 6.1",
        "not run on a Jetson",
        "doctor",
        "inspect",
        "no layer that they would take",
    ):
        assert words in page
    assert "@{" not in page


def test_requirements_are_those_of_no_extra_and_of_build():
    def wanted(lines, python: str, extra: str) -> set[str]:
        found = map(packaging.Requirement, lines)
        facts = {"python_version": python, "platform_machine": "aarch64", "extra": extra}
        return {f"{item.name}{item.specifier}" for item in found if not item.marker or item.marker.evaluate(facts)}

    from importlib.metadata import requires

    for python in ("3.10", "3.12"):
        assert wanted(requirements(), python, "") == wanted(requires("edgekit"), python, "build")
    assert not [line for line in requirements() if "torch" in line or "extra" in line]


def test_markers_of_its_own_stay_with_a_requirement():
    lines = [
        "a>=1; (os_name == 'x' or os_name == 'y') and extra == 'build'",
        "b; extra == 'rtx'",
        'c; extra == "build"',
    ]
    assert list(needed(lines, "build")) == ["a>=1; (os_name == 'x' or os_name == 'y')", "c"]


def test_weights_beside_the_model_are_brought_in(small_onnx, tmp_path):
    onnx.save(onnx.load(small_onnx), tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    report = package(tmp_path / "m.onnx", tmp_path / "a.engine", CONFIG, ABSENT)
    alone = onnx.load_model_from_string((report.path / "model.onnx").read_bytes())
    kernel = next(item for item in alone.graph.initializer if item.name == "kernel")
    expected = next(item for item in onnx.load(small_onnx).graph.initializer if item.name == "kernel")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(kernel), onnx.numpy_helper.to_array(expected))


@pytest.mark.parametrize(("architecture", "recipe"), [("efficientnet_lite0", "efficientnet_lite0"), ("unheard", None)])
def test_the_recipe_of_a_known_architecture_goes_along(small_onnx, tmp_path, architecture, recipe):
    made = onnx.load(small_onnx)
    made.metadata_props.add(key="edgekit.architecture", value=json.dumps(architecture))
    onnx.save(made, tmp_path / "m.onnx")
    report = package(tmp_path / "m.onnx", tmp_path / "a.engine", CONFIG, ABSENT)
    assert json.loads((report.path / "package.json").read_text())["recipe"] == recipe
    packed_recipe = report.path / "recipe.toml"
    expected = (resource("calibration") / f"recipes/{recipe}.toml").read_bytes() if recipe else None
    assert (packed_recipe.read_bytes() if packed_recipe.exists() else None) == expected


def test_files_of_this_machine_are_not_packed(small_onnx, tmp_path):
    cache = tmp_path / "my.cache"
    report = package(small_onnx, tmp_path / "a.engine", BuildConfig("jetpack6", timing_cache=cache), ABSENT)
    assert [warning.split()[0] for warning in report.warnings] == ["--timing-cache"]
    assert [name for name, data in contents(report.path).items() if b"my.cache" in data] == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"shape": ("pixels:1x3x8x8",)}, ShapeError),
        ({"require_precision": ("fp16",)}, UsageError),
        ({"device": "agx-thor"}, TargetError),
        ({"compute_capability": ("8.6",)}, TargetError),
    ],
)
def test_what_needs_no_tensorrt_is_refused_here(small_onnx, tmp_path, change, error):
    config = replace(CONFIG, **change)
    with pytest.raises(error):
        package(small_onnx, tmp_path / "a.engine", config, ABSENT)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_none_is_refused_here(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError):
        package(tmp_path / "m.onnx", tmp_path / "a.engine", CONFIG, ABSENT)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_only_a_package_is_replaced(small_onnx, tmp_path):
    folder = tmp_path / "a.engine.package"
    package(small_onnx, tmp_path / "a.engine", CONFIG, ABSENT)
    (folder / "left over").touch()
    package(small_onnx, tmp_path / "a.engine", CONFIG, ABSENT)
    assert not (folder / "left over").exists()
    (folder / "engine").mkdir()
    (folder / "engine/a.engine").write_bytes(b"of an hour's work")
    with pytest.raises(OutputError, match=r"found engine/a\.engine; next: another OUT"):
        package(small_onnx, tmp_path / "a.engine", CONFIG, ABSENT)
    assert (folder / "engine/a.engine").exists()
    (folder / "package.json").write_text('{"name": "of npm"}')
    with pytest.raises(OutputError, match=r"expected .*package\.json to be edgekit's"):
        package(small_onnx, tmp_path / "a.engine", CONFIG, ABSENT)
    (folder / "package.json").unlink()
    with pytest.raises(OutputError, match=r"to hold package\.json"):
        package(small_onnx, tmp_path / "a.engine", CONFIG, ABSENT)
    with pytest.raises(OutputError, match="found the folder"):
        package(small_onnx, folder, CONFIG, ABSENT)


def test_a_package_does_not_pack_itself_again(packed, small_onnx, tmp_path, monkeypatch):
    monkeypatch.setattr(carried_module, "_PACKAGE", packed.path / "edgekit")
    with pytest.raises(AbsentTensorRT) as found:
        package(small_onnx, tmp_path / "a.engine", CONFIG, ABSENT)
    assert found.value is ABSENT
    assert list(tmp_path.iterdir()) == []


def test_sources_without_an_installation_cannot_list_their_needs(monkeypatch):
    def requires(name: str) -> None:
        raise carried_module.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(carried_module.metadata, "requires", requires)
    with pytest.raises(EdgekitError, match="pip install"):
        requirements()


@pytest.fixture
def recurrent_package(tmp_path: Path) -> Path:
    """An LSTM packed for an Orin, copied to "another machine"."""
    made = recurrent(hidden=32)
    onnx.save(made, tmp_path / "lstm.onnx")
    config = BuildConfig("jetpack6", shape=("x:16x1x40", "lengths:1"))
    folder = package(tmp_path / "lstm.onnx", tmp_path / "lstm.engine", config, ABSENT).path
    return shutil.copytree(folder, tmp_path / "another machine" / folder.name)


def test_kernels_are_compiled_first_where_they_help_and_nvcc_is(recurrent_package, small_onnx, tmp_path):
    """Where there is none the engine is built all the same, and that is said."""
    code, (*_, last) = calls(recurrent_package)
    assert (code, last[3]) == (0, "build-engine")
    (tmp_path / "tools" / "nvcc").write_text("#!/bin/sh\n")
    (tmp_path / "tools" / "nvcc").chmod(0o755)
    shutil.rmtree(tmp_path / "tools2", ignore_errors=True)
    (tmp_path / "tools").rename(tmp_path / "tools2")
    log = recurrent_package.parent / "calls"
    log.unlink()
    done = run(recurrent_package, PATH=f"{tmp_path / 'tools2'}:/usr/bin:/bin", CALLS=str(log))
    words = [line.split("|")[1:-1] for line in log.read_text().splitlines()]
    commands = [line[1:] for line in words if line[:2] == ["-m", "edgekit"]]
    assert done.returncode == 0
    assert commands[0] == ["edgekit", "plugins", "build", "--archs", "87"]
    assert commands[1][1] == "build-engine"
    assert "cmake" in (recurrent_package / "requirements.txt").read_text()
    plain_package = package(small_onnx, tmp_path / "b.engine", BuildConfig("jetpack6"), ABSENT).path
    assert "cmake" not in (plain_package / "requirements.txt").read_text()
    assert "archs=''" in (plain_package / "build.sh").read_text()


@pytest.mark.slow
def test_the_kernels_of_an_int8_lstm_compile_where_nvcc_is(tmp_path):
    """As README.txt says, from the package's own sources, for the SM of an Orin; then TensorRT is needed."""
    pytest.importorskip("torch", reason="the LSTM is exported")
    from edgekit.export import examples_file, export
    from edgekit.plugins.toolkits import find_toolkit
    from edgekit.quantize import quantize

    try:
        find_toolkit()
    except TargetError as error:
        pytest.skip(str(error))
    export("lstm_classifier", tmp_path / "m.onnx", ExportConfig(set=("hidden_size=16",), save_examples=True))
    data = str(examples_file(tmp_path / "m.onnx"))
    int8 = quantize(tmp_path / "m.onnx", tmp_path / "int8.onnx", QuantizeConfig("int8", data=data)).path
    folder = package(int8, tmp_path / "lstm.engine", BuildConfig("jetpack6", device="agx-orin-64"), ABSENT).path
    recurrent_package = shutil.copytree(folder, tmp_path / "another machine" / folder.name)
    lines = (recurrent_package / "README.txt").read_text().splitlines()
    command = next(line.strip() for line in lines if "plugins build" in line)
    assert command == "PYTHONPATH=. python3 -m edgekit plugins build --archs 87"
    path = f"{Path(sys.executable).parent}:/usr/local/cuda/bin:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(tmp_path), "EDGEKIT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, shell=True, cwd=recurrent_package, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "cache").glob("plugins-*/libedgekit_plugins.so"))
    refused = run(recurrent_package)
    assert refused.returncode == 6
    assert "expected the Python module tensorrt to build for target jetpack6" in refused.stderr
