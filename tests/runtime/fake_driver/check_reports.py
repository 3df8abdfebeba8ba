"""What is reported of a device that is played says so, and never passes."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.configs import ValidateConfig
from edgekit.runtime import Session
from edgekit.selftest import selftest
from edgekit.validate import validate
from tests.runtime.fake_driver.check_session import sums  # noqa: F401 (a fixture)
from tests.runtime.fake_driver.harness import PYCUDA


def test_a_verdict_is_never_a_pass(sums, tmp_path, driver):  # noqa: F811
    np.savez(tmp_path / "x.npz", x=np.ones((8, 1, 2), np.float32), total=np.zeros((8, 2), np.float32))
    data, reference = str(tmp_path / "x.npz"), sums / "model.onnx"
    config = ValidateConfig(reference=reference, data=data, budget="sqnr_db>=30", backend="trt")
    report = validate(sums, tmp_path / "report.json", config)
    assert report.verdict.startswith("INCONCLUSIVE (trt, edgekit fake device (compute capability 8.7))")
    assert report.exit_code == 5
    assert "fake device" in (tmp_path / "report.json").read_text()


def test_a_self_test_tries_and_claims_nothing(driver):
    found = selftest()
    assert {check.outcome for check in found.checks} == {"not run"}
    assert found.exit_code == 6
    details = {check.name: check.detail for check in found.checks}
    assert details["driver"].startswith("tried on a fake device alone: edgekit fake device")
    said = "has no graphs" if PYCUDA else "tried on a fake device alone: through cuda-bindings"
    assert said in details["graph"]


@pytest.mark.parametrize("backend", ["trt", "rtx"])
def test_health_names_it(sums, backend):  # noqa: F811
    with Session.open(sums, backend) as session:
        assert "fake device" in session.health()["device"]
