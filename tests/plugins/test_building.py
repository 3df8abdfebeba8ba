"""Building and finding the plugin libraries: from toy sources for what may go wrong, and from the true ones once."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.errors import BuildError, TargetError, UsageError
from edgekit.plugins import building, toolkits
from edgekit.plugins.building import (
    DEFAULT_ARCHS,
    LIBRARIES,
    Workshop,
    build_emulator,
    build_plugins,
    copied,
    default_cache,
    find_library,
    first_error,
    parsed_archs,
    read_report,
)
from edgekit.plugins.listing import code_of, library_facts, list_libraries
from edgekit.plugins.toolkits import Toolkit, find_cmake, find_toolkit, of_wheel
from edgekit.resources import resource

TRUE = resource("plugins")
TOY = Path(__file__).parent / "toy"
WRONG = "2 * a.in", "2 * a.nothing"


@pytest.fixture
def toy(tmp_path: Path) -> Workshop:
    """The true CMake files and primitives with a small kernel, as good as no logic and a simple emulator."""
    sources = shutil.copytree(TOY, tmp_path / "plugins")
    for name in ("cmake", "include"):
        shutil.copytree(TRUE / name, sources / name)
    shutil.copy(TRUE / "CMakeLists.txt", sources)
    return Workshop(sources, tmp_path / "cache")


def edit_kernel(toy: Workshop, old: str, new: str) -> None:
    file = toy.sources / "kernels/toy.cu"
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def toolkit() -> Toolkit:
    try:
        return find_toolkit()
    except TargetError as error:
        pytest.skip(f"needs nvcc: {error}")


def exported(library: Path) -> set[str]:
    said = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in said.splitlines()}


def test_the_emulator_is_built_once_and_again_when_a_source_changes(toy):
    first = build_emulator(workshop=toy)
    made = first.stat().st_mtime_ns
    assert build_emulator(workshop=toy) == first
    assert first.stat().st_mtime_ns == made
    numbers, out = (ctypes.c_int * 32)(*range(32)), (ctypes.c_int * 32)()
    assert ctypes.CDLL(str(first)).ek_toy_launch(numbers, out) == 0
    assert list(out) == [2 * number for number in range(32)]
    assert {"ek_toy_launch", "ek_version"} <= exported(first)
    assert all(name.startswith("ek_") for name in exported(first)), "only the ABI is seen from outside"
    assert find_library("emulator", toy) == first
    assert read_report(first)["ran_on_gpu"] is False

    edit_kernel(toy, "2 *", "3 *")
    assert find_library("emulator", toy) is None
    second = build_emulator(workshop=toy)
    assert second != first
    assert ctypes.CDLL(str(second)).ek_toy_launch(numbers, out) == 0
    assert out[5] == 15


def test_a_failed_build_names_the_compilers_first_error_and_leaves_nothing(toy):
    edit_kernel(toy, *WRONG)
    with pytest.raises(BuildError) as refusal:
        build_emulator(workshop=toy)
    assert "kernels/toy.cu:10:" in str(refusal.value)
    assert "has no member named" in str(refusal.value)
    log = Path(str(refusal.value).rpartition("read ")[2])
    assert "toy.cu" in log.read_text()
    assert find_library("emulator", toy) is None
    assert [path.suffix for path in toy.cache.iterdir() if path.suffix not in (".log", ".lock")] == []


def test_a_failed_build_by_nvcc_is_one_line_too(toy, toolkit):
    edit_kernel(toy, *WRONG)
    with pytest.raises(BuildError, match=r'kernels/toy\.cu\(10\): error: class "Arguments" has no member "nothing"'):
        build_plugins((87,), toolkit, toy)


@pytest.mark.parametrize("generator", ["ninja", "make"])
def test_both_generators_and_both_nvccs_build_the_asked_architectures(toy, toolkit, monkeypatch, generator):
    """PyPI's nvcc, whose libraries are in lib/, with make; the first one that is found with ninja."""
    if generator == "make":
        nvcc = of_wheel("nvidia-cuda-nvcc", "bin/nvcc")
        if nvcc is None or shutil.which("make") is None:
            pytest.skip("needs make, and nvcc of PyPI: pip install 'edgekit[cuda-build]'")
        monkeypatch.setenv("CUDACXX", str(nvcc))
        toolkit = find_toolkit()
        assert toolkit.nvcc == nvcc
        tool = toolkits.find_tool
        monkeypatch.setattr(toolkits, "find_tool", lambda name: None if name == "ninja" else tool(name))
    elif toolkits.find_tool("ninja") is None:
        pytest.skip("needs ninja: pip install ninja")
    assert (find_cmake()[2] == "Ninja") == (generator == "ninja")
    library = build_plugins((89, 80), toolkit, toy)
    assert exported(library) == {"ek_toy_launch", "ek_version"}
    assert library_facts("plugins", library, toy).archs == ("sm_80", "sm_89", "compute_89")
    report = read_report(library)
    assert (report["archs"], report["ptx"], report["nvcc"]) == ([80, 89], 89, toolkit.version)
    assert ctypes.CDLL(str(library)).ek_version() == 1


def test_boost_is_used_where_it_is_found(toy, tmp_path, monkeypatch):
    boost = tmp_path / "boost"
    (boost / "include/boost/context/detail").mkdir(parents=True)
    (boost / "include/boost/context/detail/fcontext.hpp").write_text("")
    (boost / "lib").mkdir()
    subprocess.run(["g++", "-shared", "-o", boost / "lib/libboost_context.so", "-xc++", "/dev/null"], check=True)
    monkeypatch.setenv("CMAKE_PREFIX_PATH", str(boost))
    with (toy.sources / "logic/abi.cpp").open("a") as file:
        file.write('#ifdef EK_HAVE_BOOST_CONTEXT\nextern "C" int ek_with_boost() { return 1; }\n#endif\n')
    assert "ek_with_boost" in exported(build_emulator(workshop=toy))


def test_two_processes_build_it_once(toy):
    code = (
        "import sys; from pathlib import Path; from edgekit.plugins.building import *;"
        "print(build_emulator(workshop=Workshop(Path(sys.argv[1]), Path(sys.argv[2]))).stat().st_mtime_ns)"
    )
    command = [sys.executable, "-c", code, str(toy.sources), str(toy.cache)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = {process.communicate()[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(times) == 1


@pytest.mark.slow
def test_the_true_sources_build_without_a_warning(plugins_library, emulator_library):
    for library in (plugins_library, emulator_library("")):
        log = library.parent.with_suffix(".log").read_text()
        assert "Linking" in log
        assert "warning" not in log.lower()
        names = exported(library)
        assert {"ek_version", "ek_lstm_launch", "ek_lstm_plan", "ek_last_error"} <= names
        # Where TensorRT's headers are, the wrappers are in the library too.
        assert all(name.startswith("ek_") for name in names - {"getCreators", "setLoggerFinder"})


@pytest.mark.slow
def test_the_true_library_has_code_for_all_architectures_and_ptx_of_the_newest(plugins_library, workshop, toolkit):
    known = [arch for arch in DEFAULT_ARCHS if arch in toolkit.archs]
    code, said_by = code_of(plugins_library)
    assert code == (*(f"sm_{arch}" for arch in known), f"compute_{known[-1]}")
    assert said_by == "cuobjdump"
    facts = {item.kind: item for item in list_libraries(workshop)}
    assert facts["plugins"].ops == ("lstm", "gru", "rnn", "attention")
    assert "not run on a GPU" in str(facts["plugins"])
    assert ("EdgekitLSTM 1 (xproj" in str(facts["plugins"])) == bool(facts["plugins"].tensorrt)
    assert "TensorRT" in str(facts["plugins"])


def test_without_cuobjdump_the_report_of_the_build_says_the_architectures(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.plugins.listing.find_cuobjdump", lambda: None)
    library = tmp_path / LIBRARIES["plugins"]
    library.with_name(library.name + ".json").write_text('{"archs": [86, 87], "ptx": 87}')
    assert code_of(library) == (("sm_86", "sm_87", "compute_87"), "the report of its build")


def test_a_copy_brings_its_report(tmp_path):
    library = tmp_path / "cache/libedgekit_emu.so"
    library.parent.mkdir()
    library.write_bytes(b"code")
    library.with_name("libedgekit_emu.so.json").write_text('{"kind": "emulator"}')
    copy = copied(library, tmp_path / "out")
    assert (copy.read_bytes(), read_report(copy)) == (b"code", {"kind": "emulator"})
    assert copied(library, None) == library


def test_wrong_options_are_one_line(toy):
    few = Toolkit(Path("nvcc"), "12.6.85", (75, 80, 87))
    with pytest.raises(UsageError, match=r"that nvcc 12\.6\.85 knows, found 120; next: --archs with some of 75,80,87"):
        build_plugins((87, 120), few, toy)
    with pytest.raises(UsageError, match="thread or address, found 'memory'"):
        build_emulator("memory", toy)
    assert parsed_archs("86, 87") == (86, 87)
    with pytest.raises(UsageError, match=r"such as 86,87, found '8\.6'"):
        parsed_archs("8.6")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    assert Workshop().cache == tmp_path
    monkeypatch.delenv("EDGEKIT_CACHE")
    assert default_cache() == Path.home() / ".cache/edgekit/plugins"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("a\n/k/x.cu:3:5: error: ‘y’ was not declared\n1 error generated", "/k/x.cu:3:5: error: ‘y’ was not declared"),
        ('x.cu(9): error: identifier "z" is undefined\n', 'x.cu(9): error: identifier "z" is undefined'),
        ("CMake Error at CMakeLists.txt:3 (message):\n  expected a thing\n", "expected a thing"),
        ("ptxas error   : uses too much shared data\nx", "ptxas error   : uses too much shared data"),
        ("a.cpp:(.text+0x1): undefined reference to `f()'\n", "a.cpp:(.text+0x1): undefined reference to `f()'"),
        ("nvcc fatal   : Unsupported gpu architecture\n", "nvcc fatal   : Unsupported gpu architecture"),
        ("no keyword\nkilled\n", "killed"),
        ("", "no word about why"),
    ],
)  # fmt: skip
def test_the_first_error_is_found(said, line):
    assert first_error(said) == line


def test_the_sources_that_count_are_all_of_the_build(toy):
    before = toy.digest()
    (toy.sources / "README.md").write_text("prose")
    assert toy.digest() == before
    for name in building._SOURCES:
        path = toy.sources / name
        file = path if path.is_file() else next(file for file in path.rglob("*") if file.is_file())
        kept = file.read_bytes()
        file.write_bytes(kept + b"\n")
        assert toy.digest() != before, name
        file.write_bytes(kept)
    assert toy.digest() == before
