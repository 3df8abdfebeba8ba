"""Requests on a simulated clock: a stall counts for every frame that waited, unless the loop is closed."""

from __future__ import annotations

import numpy as np

from edgekit.latency import Timer, closed, environment, fixed_rate, measure, warm_up


class Clock:
    """Time passes only when someone works or sleeps."""

    def __init__(self) -> None:
        self.ns = 1_000

    def now(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


def service(clock: Clock, times_ms: list[float]):
    left = iter(times_ms)

    def serve() -> None:
        clock.sleep(next(left) / 1e3)

    return serve


def test_a_stall_counts_for_every_frame_that_waited():
    times = [1.0] * 10 + [200.0] + [1.0] * 29
    open_clock, closed_clock = Clock(), Clock()
    timer = Timer(open_clock.now, open_clock.sleep)
    rate = measure(service(open_clock, times), fixed_rate(100, 40), timer).latencies_ms
    loop = measure(service(closed_clock, times), closed(40), Timer(closed_clock.now, closed_clock.sleep)).latencies_ms
    np.testing.assert_allclose(loop, times)
    # Frames come every 10 ms; after the stall each of them catches up 9 ms: 191, 182, … 2, and then 1 again.
    np.testing.assert_allclose(rate[10:13], [200, 191, 182])
    assert int((rate > 10).sum()) == 22
    assert int((loop > 10).sum()) == 1


def test_on_time_frames_wait_for_their_turn():
    clock = Clock()
    samples = measure(service(clock, [2.0] * 5), fixed_rate(50, 5), Timer(clock.now, clock.sleep))
    np.testing.assert_array_equal(np.diff(samples.intended_ns), [20_000_000] * 4)
    np.testing.assert_allclose(samples.latencies_ms, [2.0] * 5)


def test_warm_up_ends_when_it_is_steady():
    clock = Clock()
    times = [5.0] * 50 + [3.0] * 50 + [1.0] * 200
    assert warm_up(service(clock, times), Timer(clock.now, clock.sleep)) == 200


def test_warm_up_ends_at_all():
    clock = Clock()
    calls = warm_up(service(clock, [50.0 * (1 + index // 50) for index in range(1000)]), Timer(clock.now, clock.sleep))
    assert calls == 100  # two windows of 50 are past five seconds


def test_the_environment_says_what_is_doubtful(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text("64.00 1.00 1.00 1/100 1\n")
    governor = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq"
    governor.mkdir(parents=True)
    (governor / "scaling_governor").write_text("powersave\n")
    found = environment(tmp_path)
    assert found.cpu is None
    assert len(found.warnings()) == 2
    assert environment(tmp_path / "nowhere").warnings() == ()
