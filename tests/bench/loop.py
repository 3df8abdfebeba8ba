"""What the loop promises, measured: ages at twice the sustainable rate, how soon a hang is seen, what a frame costs.

Prints one line of JSON; times in ms. `above` is the share of frames whose age is over the service of their own turn
+ one period + the source's largest lateness + 2 ms; the promise is 0 for "latest", and a queue of 8 breaks it. `paused`
is the share of those during whose life the machine stood still for a millisecond, as a process beside it saw, and
`any_paused` that of all frames: what is above without a pause is the loop's own doing.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from edgekit.runtime.loop import Policy, StreamLoop, realtime
from edgekit.runtime.loop.events import Events
from edgekit.runtime.loop.guard import Guard
from edgekit.runtime.loop.watchdog import Watchdog
from tests.bench.pauses import Pauses
from tests.runtime.loop.cameras import Camera, number_of

SERVICE_MS = 20.0


def overloaded(policy: Policy, frames: int, cameras: int = 1) -> dict[str, Any]:
    """Cameras at twice the rate that work of `SERVICE_MS` sustains."""
    period_ms = SERVICE_MS / 2
    sources = [Camera(1e3 / period_ms, frames, name=f"camera {index}") for index in range(cameras)]
    seen = []

    def work(given):
        time.sleep(SERVICE_MS / 1e3)
        return number_of(given)

    with Pauses() as pauses:
        report = StreamLoop(sources, work, seen.append, policy).run()
    late_ms = max(source.late_ns for source in sources) / 1e6
    # Behind the last frame no newer one comes, so that it waits for the whole of a service and is older by up to that.
    last = max(item.frame.number for item in seen)
    answered = [item for item in seen if not item.held and item.frame.number < last]
    excess = [item.age_ms - (item.timing.compute_ms + period_ms + late_ms + 2) for item in answered]
    paused = [pauses.within(item.frame.captured_ns, item.frame.captured_ns + item.age_ms * 1e6) for item in answered]
    above = [still for more, still in zip(excess, paused, strict=True) if more > 0]
    return {
        "processed": report.processed,
        "dropped": report.dropped,
        "lateness": late_ms,
        "age": report.to_json()["age_ms"],
        "above": len(above) / len(answered),
        "paused": sum(above) / len(answered),
        "any_paused": sum(paused) / len(answered),
        "largest_excess": max(excess),
    }


def hangs(limit_ms: float, count: int) -> dict[str, float]:
    """How long after its beginning a hang was reported, as a multiple of the limit; begun at any phase of the watch."""
    heard: list[int] = []
    watchdog = Watchdog(limit_ms, Events(lambda event: heard.append(time.perf_counter_ns())))
    watchdog.start()
    ratios = []
    for turn in range(count):
        time.sleep(limit_ms / 1e3 * (turn / count))
        start_ns = time.perf_counter_ns()
        watchdog.begin()
        time.sleep(1.6 * limit_ms / 1e3)
        ratios.append((heard[0] - start_ns) / 1e6 / limit_ms if heard else float("inf"))
        watchdog.end()
        heard.clear()
    watchdog.stop()
    return {"limit": limit_ms, "median_ratio": float(np.median(ratios)), "largest_ratio": max(ratios)}


def cost_of_a_frame(frames: int) -> float:
    """The loop's own time a frame beside an empty function, all frames waiting: microseconds."""
    camera = Camera(1e9, frames)
    loop = StreamLoop(camera, number_of, (), Policy("fifo", capacity=frames, deadline_ms=1.0))
    start_ns = time.perf_counter_ns()
    report = loop.run()
    assert report.processed == frames
    return (time.perf_counter_ns() - start_ns) / 1e3 / frames


def cost_of_the_guard(shape: tuple[int, ...]) -> dict[str, Any]:
    """Beside one maximum over the same array: microseconds, the least of 200."""
    array, guard = np.ones(shape, np.float32), Guard()

    def least(call) -> float:
        times = []
        for _ in range(200):
            start_ns = time.perf_counter_ns()
            call()
            times.append((time.perf_counter_ns() - start_ns) / 1e3)
        return min(times)

    return {"shape": shape, "guard": least(lambda: guard.mask(array)), "maximum": least(array.max)}


def main(frames: int) -> None:
    """Measure all of it with so many frames a case."""
    with realtime():
        found = {
            "latest": overloaded(Policy(), frames),
            "latest of two cameras": overloaded(Policy(wait_ms=SERVICE_MS), frames, 2),
            "fifo of 8": overloaded(Policy("fifo", capacity=8), frames),
            "watchdog": [hangs(limit_ms, 20) for limit_ms in (20.0, 100.0)],
            "frame_us": cost_of_a_frame(10 * frames),
            "guard_us": [cost_of_the_guard(shape) for shape in ((1, 1000), (1, 84, 8400), (1, 21, 512, 512))],
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
