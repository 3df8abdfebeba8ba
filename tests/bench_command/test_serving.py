"""A server's stamps on a clock that nobody waits for."""

from __future__ import annotations

import pytest

from edgekit.bench.serving import Server
from tests.latency.conftest import Clock


def test_an_inference_is_the_stage_compute_of_its_own_request():
    clock = Clock()
    steps = [clock.serving(each) for each in ([1, 2], [30, 40], [500, 600])]
    server = Server(tuple(steps), ("pre", "compute", "post"), "trt", "gpu", "", {}, clock.timer.now)
    assert [server.infer(), server.infer()] == pytest.approx([30, 40])
    assert len(server.stamps) == 2
