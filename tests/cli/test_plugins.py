"""`edgekit plugins` as a person or a script calls it: lines, JSON and codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.device import find_gpus
from edgekit.plugins import building
from edgekit.resources import resource

TOY = Path(__file__).parents[1] / "plugins/toy"
PROGRAM = """
#include "kernels/toy.cu"
#include <cstdio>
int main(int argc, char**) {
    int in[32] = {21}, out[32];
    int const failed = ek_toy_launch(in, out);
    std::printf("%d\\n", out[0] << (argc - 1));
    return failed;
}
"""


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Toy sources in place of edgekit's own, an empty cache, and a folder of the user's to be in."""
    sources = shutil.copytree(TOY, tmp_path / "plugins")
    for name in ("cmake", "include"):
        shutil.copytree(resource("plugins") / name, sources / name)
    shutil.copy(resource("plugins") / "CMakeLists.txt", sources)
    monkeypatch.setattr(building, "resource", lambda name: tmp_path / name)
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return sources


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_info:
        main(["plugins", *arguments])
    said = capsys.readouterr()
    return int(exit_info.value.code or 0), said.out, said.err


def test_build_copies_and_list_shows(capsys, tmp_path):
    assert called(capsys, "list")[1] == "nothing is built from these sources; next: edgekit plugins build\n"
    code, out, err = called(capsys, "build", "--emulator", "--out", "here")
    assert (code, err) == (0, "")
    assert out.startswith("here/libedgekit_emu.so  0.")
    assert out.endswith("MB, not run on a GPU\n")
    assert json.loads((tmp_path / "here/libedgekit_emu.so.json").read_text())["kind"] == "emulator"
    code, out, _ = called(capsys, "list")
    assert code == 0
    assert out.startswith("emulator: ")
    assert "for the CPU; ABI 1; not run on a GPU" in out
    assert str(tmp_path / "cache") in out


def test_build_says_its_report_as_json(capsys):
    code, out, _ = called(capsys, "build", "--emulator", "--json")
    report = json.loads(out)
    assert (code, report["kind"], report["ran_on_gpu"], report["sanitize"]) == (0, "emulator", False, "")
    assert Path(report["path"]).is_file()


def test_wrong_architectures_are_a_usage_error(capsys):
    code, out, err = called(capsys, "build", "--archs", "8.6")
    assert (code, out) == (2, "")
    assert err == (
        "edgekit: error: expected compute capabilities times ten such as 86,87, found '8.6'; next: --archs 86,87\n"
    )


def test_a_failed_build_is_one_line(capsys, toy):
    (toy / "logic/abi.cpp").write_text("int wrong = ;\n")
    code, out, err = called(capsys, "build", "--emulator")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "logic/abi.cpp:1:13: error: expected primary-expression" in err


def test_a_program_runs_and_a_fault_exits_1(capsys, tmp_path):
    (tmp_path / "mine.cu").write_text(PROGRAM)
    code, out, err = called(capsys, "test", "mine.cu")
    assert (code, out, err) == (0, "42\nran on the CPU: no fault seen; not run on a GPU\n", "")
    (tmp_path / "mine.cu").write_text(
        PROGRAM.replace("int in[32] = {21}", "int in[32] = {-1}").replace("argc - 1", "31 + argc")
    )
    code, out, _ = called(capsys, "test", "mine.cu", "--json")
    report = json.loads(out)
    assert (code, report["exit_code"]) == (1, 1)
    assert report["findings"] == [f"shift exponent 32 is too large for 32-bit type 'int' at {tmp_path}/mine.cu:7"]


def test_without_a_program_edgekits_own_are_run(capsys, toy):
    (toy / "exercises").mkdir()
    for name in ("first", "second"):
        (toy / f"exercises/{name}.cu").write_text(PROGRAM)
    code, out, _ = called(capsys, "test")
    assert (code, out) == (0, "42\n42\nran on the CPU: no fault seen; not run on a GPU\n")


def test_a_program_that_is_not_there(capsys):
    code, _, err = called(capsys, "test", "absent.cu")
    assert code == 1
    assert "expected a .cu file with a main(), found no file absent.cu" in err


@pytest.mark.skipif(bool(find_gpus().gpus), reason="there is a GPU here")
def test_bench_needs_a_gpu(capsys):
    code, out, err = called(capsys, "bench")
    assert (code, out) == (6, "")
    assert err.startswith("edgekit: error: expected a GPU to measure on, found none: ")
    assert err.endswith("; next: edgekit plugins bench --device 87:16 for what would run\n")
