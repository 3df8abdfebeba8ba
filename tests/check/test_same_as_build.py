"""`check` exits 0 exactly when `build` succeeds: on the graphs of others, which build or are refused in many ways."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds, and is asked")

from edgekit.check import check, lines  # noqa: E402
from edgekit.configs import CheckConfig  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from tests.build.foreign_graphs import BUILD  # noqa: E402
from tests.build.foreign_refused import REFUSED  # noqa: E402


def config(*shape: str) -> CheckConfig:
    return CheckConfig("rtx", compute_capability=("8.6",), shape=shape)


@pytest.mark.parametrize("name", BUILD)
def test_what_builds_is_found_good(name, tmp_path):
    """tests/build/test_foreign.py builds the very same graphs."""
    (tmp_path / "m.onnx").write_bytes(BUILD[name].make().SerializeToString())
    report = check(tmp_path / "m.onnx", config(*BUILD[name].shape))
    assert (report.exit_code, [node for node in report.nodes if node.refused]) == (0, [])
    assert report.nodes
    assert {node.outcome for node in report.nodes} <= {"folded", "fuses", "kernel", "decomposed", "loop"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_found_so_and_why(name, tmp_path):
    """A file that is no model at all is an error of `check` as it is of `build`."""
    make, _ = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(make().SerializeToString())
    try:
        report = check(tmp_path / "m.onnx", config())
    except ModelError as error:
        assert error.next_step
        return
    assert report.exit_code == 6
    assert any(finding.refused and finding.text for finding in report.findings)
    assert lines(report)[-1].startswith("refused: ")
