"""Name what a camera sees, with a page to look at: python main.py BUNDLE SOURCE [SECONDS]

SOURCE is a video, camera:0, rtsp://…, or whatever else `edgekit.runtime.sources.open_source` takes.
"""

import sys

from edgekit.errors import EdgekitError
from edgekit.runtime import Session
from edgekit.runtime.loop import Policy, Processed, StreamLoop, realtime
from edgekit.runtime.sources import Reconnecting, open_source
from edgekit.runtime.web import LivePage, View

POLICY = Policy(deadline_ms=100, watchdog_ms=1000)  # the newest frame, and never one from a queue
last = ""


def act(done: Processed) -> None:
    """What your app does with an answer; its time is the loop's."""
    global last
    best = done.answer[0] if done.answer else None
    if best and best.name != last and best.probability > 0.5:
        last = best.name
        print(f"{best.name} ({best.probability:.0%}), {done.age_ms:.0f} ms after the camera saw it", flush=True)


def main(bundle: str, source: str, seconds: float | None) -> None:
    """Until the source ends, or it is told to."""
    with Session.open(bundle) as session, LivePage(view=View.of(session, POLICY), name=bundle) as page, realtime():
        session.warmup()
        # A camera that goes away is opened again; a video just ends.
        camera = Reconnecting(lambda: open_source(source))  # which the loop says, and its page
        loop = StreamLoop(camera, session, [act, page.sink], POLICY, on_event=print)
        page.watch(loop)
        print(f"page at {page.url}", flush=True)
        with loop.signals():  # Ctrl-C and `systemctl stop` end it in order
            done = loop.run(seconds=seconds)
    print(f"{done.captured} captured = {done.processed} processed + {done.dropped} dropped; ended: {done.ended}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__.splitlines()[0])
    try:
        main(*sys.argv[1:3], float(sys.argv[3]) if len(sys.argv) > 3 else None)
    except EdgekitError as error:
        sys.exit(f"edgekit: error: {error}")
