"""A robot that looks and listens: python main.py GROUND_BUNDLE VOICE_BUNDLE CAMERA SOUND

Two networks, each in a process of its own. `see` names the ground 30 times a second, `hear` notices speech 10 times a
second, and both tell the drive how fast it may go. What is late, held or lost means: stop. A process that crashes,
hangs or falls silent is started again; the state of all is in state.json.
"""

import json
import os
import socket
import sys
from functools import partial

from edgekit.runtime import Session
from edgekit.runtime.loop import Event, Policy, Processed, StreamLoop, realtime
from edgekit.runtime.sources import Reconnecting, open_source
from edgekit.runtime.supervise import Restarts, Worker, supervise

KEYS = os.environ.get("TRUSTED_KEYS", "")  # public keys: a robot opens only what their owners signed
STATE = os.environ.get("RUNTIME_DIRECTORY", ".") + "/state.json"  # systemd's is in memory: flash wears out
DRIVE = ("127.0.0.1", 9870)  # the motor controller; it stops by itself when it hears nothing for 300 ms
SPEED = {"brick": 1.0, "grass": 0.6, "gravel": 0.4}  # m/s that each ground allows
SEE = Policy(deadline_ms=33, watchdog_ms=200, on_bad="stop", bad_limit=15)  # half a second without an answer
# An LSTM needs every chunk, so that they queue; more than 800 ms of them are of no use.
HEAR = Policy("fifo", capacity=8, deadline_ms=100, watchdog_ms=500, on_bad="stop", bad_limit=5)


def opened(bundle: str) -> Session:
    """Unsigned bundles only where that was said."""
    return Session.open(bundle, trusted_keys=None if KEYS == "none" else KEYS)


def tell(event: Event) -> None:
    """To the journal, from the loops and from their supervisor."""
    print(f"{event.at_s:.1f}", event.source, event.kind, event.message, flush=True)


class Drive:
    """How fast the robot may go, one datagram an answer."""

    def __init__(self, name: str, policy: Policy) -> None:
        self._name, self._policy = name, policy
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def allow(self, speed: float, done: Processed) -> None:
        """An answer that is held or missed its deadline allows nothing."""
        late = done.held or done.age_ms > self._policy.deadline_ms
        message = {"from": self._name, "speed": 0.0 if late else speed, "late": late, "age_ms": round(done.age_ms, 1)}
        self._socket.sendto(json.dumps(message).encode(), DRIVE)


def see(worker: Worker, bundle: str, camera: str) -> None:
    """30 Hz."""
    drive = Drive("see", SEE)

    def act(done: Processed) -> None:
        drive.allow(SPEED[done.answer[0].name] if done.answer else 0.0, done)

    with opened(bundle) as session, realtime():
        session.warmup()  # so that the first frame is like every other
        # A camera that goes away, gives nothing, or comes up later than the robot, is opened again and again.
        source = Reconnecting(lambda: open_source(camera, loop=True), name=camera)
        worker.run(StreamLoop(source, session, act, SEE, on_event=tell))


def hear(worker: Worker, bundle: str, sound: str) -> None:
    """10 Hz: chunks of 100 ms, of which each completes three or four steps of the network."""
    drive = Drive("hear", HEAR)

    def act(done: Processed) -> None:
        speech = any(float(window["speech"][0]) >= 0.5 for window in done.answer or ())
        drive.allow(0.0 if speech else max(SPEED.values()), done)

    with opened(bundle) as session, realtime():
        session.warmup()
        source = Reconnecting(lambda: open_source(sound, loop=True, chunk=1600, sample_rate=16000), name=sound)
        worker.run(StreamLoop(source, session, act, HEAR, on_event=tell))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__.splitlines()[0])
    if not KEYS:
        sys.exit("expected TRUSTED_KEYS to be a folder of public keys, or none for unsigned bundles, found nothing")
    ground, voice, camera, sound = sys.argv[1:]
    tasks = {"see": partial(see, bundle=ground, camera=camera), "hear": partial(hear, bundle=voice, sound=sound)}
    restarts = Restarts(hung_s=0.5, silent_s=2.0, degraded_s=2.0, grace_s=3.0, most=20, within_s=600.0)
    report = supervise(tasks, restarts, state=STATE, on_event=tell)
    for name, task in report.tasks.items():
        counts = (
            {key: task.loop[key] for key in ("captured", "processed", "dropped", "deadline_misses")}
            if task.loop
            else {}
        )
        print(name, task.state, f"{task.restarts} restarts", counts, task.why)
    sys.exit(report.code)
