"""Requests on a simulated clock: a stall counts for every frame that waited, unless the loop is closed."""

from __future__ import annotations

import numpy as np

from edgekit.latency import closed, environment, fixed_rate, measure, warm_up


def test_a_stall_counts_for_every_frame_that_waited(clock):
    times = [1.0] * 10 + [200.0] + [1.0] * 29
    rate = measure(clock.serving(times), fixed_rate(100, 40), clock.timer).latencies_ms
    loop = measure(clock.serving(times), closed(40), clock.timer).latencies_ms
    np.testing.assert_allclose(loop, times)
    # Frames come every 10 ms; after the stall each of them catches up 9 ms: 191, 182, … 2, and then 1 again.
    np.testing.assert_allclose(rate[10:13], [200, 191, 182])
    assert int((rate > 10).sum()) == 22
    assert int((loop > 10).sum()) == 1


def test_on_time_frames_wait_for_their_turn(clock):
    samples = measure(clock.serving([2.0] * 5), fixed_rate(50, 5), clock.timer)
    np.testing.assert_array_equal(np.diff(samples.intended_ns), [20_000_000] * 4)
    np.testing.assert_allclose(samples.latencies_ms, [2.0] * 5)


def test_no_request_starts_when_the_time_is_over(clock):
    for arrivals, service_ms in ((closed(9), 10.0), (fixed_rate(100, 9), 2.0)):
        samples = measure(clock.serving([service_ms] * 9), arrivals, clock.timer, until_ns=clock.ns + 35_000_000)
        np.testing.assert_allclose(samples.latencies_ms, [service_ms] * 4)
        assert len(measure(clock.serving([2.0]), arrivals, clock.timer, until_ns=0).done_ns) == 1


def test_warm_up_ends_when_it_is_steady(clock):
    assert warm_up(clock.serving([5.0] * 50 + [3.0] * 50 + [1.0] * 200), clock.timer) == 200


def test_warm_up_ends_at_all(clock):
    calls = warm_up(clock.serving(50.0 * (1 + index // 50) for index in range(1000)), clock.timer)
    assert calls == 100  # two windows of 50 are past five seconds


def test_the_environment_says_what_is_doubtful(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("64.00 1.00 1.00 1/100 1\n")
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    governor.mkdir(parents=True)
    (governor / "scaling_governor").write_text("powersave\n")
    found = environment(tmp_path)
    assert found.cpu is None
    assert [doubt.name for doubt in found.doubts()] == ["busy", "governor"]
    assert environment(tmp_path / "nowhere").doubts() == ()
