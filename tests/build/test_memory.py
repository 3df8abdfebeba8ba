"""The estimate of memory against what a build really took, and what is said before the kernel acts."""

from __future__ import annotations

import subprocess
import sys

import pytest

onnx = pytest.importorskip("onnx")

import numpy as np  # noqa: E402

from edgekit.build.memory import check_memory, needed_mib  # noqa: E402
from edgekit.errors import TargetError  # noqa: E402

MIB = 1 << 20


@pytest.fixture
def root(tmp_path):
    """`root(available_mib, swap_mib)` is a machine with so much of each."""

    def plant(available_mib: int, swap_mib: int = 0):
        proc = tmp_path / "proc"
        proc.mkdir(exist_ok=True)
        (proc / "meminfo").write_text(f"MemTotal: {1 << 23} kB\nMemAvailable: {available_mib << 10} kB\n")
        swap = f"/swapfile file {swap_mib << 10} 0 -2\n" if swap_mib else ""
        (proc / "swaps").write_text(f"Filename Type Size Used Priority\n{swap}")
        return tmp_path

    return plant


def test_enough_memory_says_nothing_and_swap_warns(root):
    assert check_memory(500 * MIB, root(8000)) == ()
    (warning,) = check_memory(1000 * MIB, root(1000, 8000))
    assert "1000 MiB are free and 8000 MiB of swap on disk: it will be slow" in warning


def test_too_little_is_refused_before_anything_is_built(root):
    with pytest.raises(TargetError, match=r"expected at least \d+ MiB more memory .* found 1000 MiB are free") as error:
        check_memory(1000 * MIB, root(1000, 500))
    assert error.value.exit_code == 6


def test_what_cannot_be_read_stops_nothing(tmp_path):
    assert check_memory(100_000 * MIB, tmp_path) == ()


PEAK = """
import sys
from pathlib import Path
from edgekit.build import build
from edgekit.configs import BuildConfig
print(build(Path(sys.argv[1]), Path(sys.argv[2]), BuildConfig("rtx", ("8.6",))).peak_rss_mib)
"""


@pytest.mark.slow
def test_the_estimate_is_a_lower_bound_and_not_far_below(tmp_path):
    """In a process of its own, on 64 MiB of weights; TensorRT-RTX took 4.0 to 4.1 times a large file."""
    pytest.importorskip("tensorrt_rtx")
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4096]) for name in "xy")
    weight = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(4096, 4096)).astype(np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "m")], "g", [x], [y], [weight])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    command = [sys.executable, "-c", PEAK, str(path), str(tmp_path / "m.engine")]
    peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert needed_mib(path.stat().st_size) * 0.9 <= peak <= needed_mib(path.stat().st_size) * 1.4
