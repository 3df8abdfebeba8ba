"""A robot that looks and listens: python main.py GROUND_BUNDLE VOICE_BUNDLE CAMERA SOUND

Two networks, each in a process of its own. `see` names the ground 30 times a second, `hear` notices speech 10 times a
second, and both tell the drive how fast it may go. What is late, held, lost or in doubt means: stop. A process that
crashes, hangs or falls silent is started again; the state of all is in state.json.
"""

import signal

if __name__ == "__main__":  # and not in a worker, which leaves SIGINT to its supervisor
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports is no traceback

import contextlib
import json
import os
import socket
import sys
from functools import partial

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.runtime import Session
from edgekit.runtime.loop import Policy, Processed, StreamLoop, realtime
from edgekit.runtime.sources import Backoff, Reconnecting, open_source
from edgekit.runtime.supervise import Restarts, Worker, supervise

KEYS = os.environ.get("TRUSTED_KEYS", "")  # public keys: a robot opens only what their owners signed
STATE = os.environ.get("RUNTIME_DIRECTORY", "out") + "/state.json"  # systemd's is in memory: flash wears out
DRIVE = ("127.0.0.1", 9870)  # the motor controller; it stops by itself when it hears nothing for 300 ms
SPEED = {"brick": 1.0, "grass": 0.6, "gravel": 0.4}  # m/s that each ground allows
# An answer is believed that is as sure, of a picture that is as rough, as those of what the network never learnt from.
# sure.py prints both for yours; on another CPU the same training gives gravel 0.7.
SURE = {"brick": 0.98, "grass": 0.98, "gravel": 0.59}
CONTRAST, GRAIN = (0.1, 1.4), (0.2, 1.0)
FROZEN = 10  # so many pictures of the very same pixels are a camera that hangs; a compressed one may need more
SEE = Policy(deadline_ms=33, watchdog_ms=200, on_bad="stop", bad_limit=15)  # half a second without an answer
# An LSTM needs every chunk, so that they queue; more than 800 ms of them are of no use.
HEAR = Policy("fifo", capacity=8, deadline_ms=100, watchdog_ms=500, on_bad="stop", bad_limit=5)
AGAIN = Backoff(most_s=5.0)  # what was unplugged is tried every few seconds


def opened(bundle: str) -> Session:
    """Unsigned bundles only where that was said."""
    return Session.open(bundle, trusted_keys=None if KEYS == "none" else KEYS)


def say(line: object) -> None:
    """To the journal, in one write, since three processes have it. One that is full or closed is no reason to stop."""
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


def texture(seen: np.ndarray) -> tuple[float, float]:
    """Of a picture [C,H,W] its contrast, and how much of that is between neighbours: 1.4 is noise, 0 a smooth one."""
    contrast = float(seen.std()) + 1e-6
    return contrast, float(np.hypot(np.diff(seen, axis=1).std(), np.diff(seen, axis=2).std())) / contrast / 2**0.5


class Ground:
    """A network names whatever it is shown, a lens cap too: this says how fast the robot may go, and why not."""

    def __init__(self, session: Session) -> None:
        self._session, self._before, self._same = session, b"", 0

    def speed(self, answer: list) -> tuple[float, str]:
        """Of the answer to what the session's input holds."""
        (name,) = self._session.inputs
        seen = self._session.input(name)[0]  # float32 [C,H,W], as the network saw it
        pixels = seen.tobytes()
        self._same, self._before = self._same + 1 if pixels == self._before else 1, pixels
        contrast, grain = texture(seen)
        doubts = {
            "frozen": self._same >= FROZEN,
            "contrast": not CONTRAST[0] <= contrast <= CONTRAST[1],
            "grain": not GRAIN[0] <= grain <= GRAIN[1],
            "unsure": answer[0].probability < SURE[answer[0].name],
        }
        why = next((doubt for doubt, found in doubts.items() if found), "")
        return 0.0 if why else SPEED[answer[0].name], why


class Drive:
    """How fast the robot may go, one datagram an answer; `why` says why not at all."""

    def __init__(self, name: str, policy: Policy) -> None:
        self._name, self._policy = name, policy
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def allow(self, speed: float, why: str, done: Processed) -> None:
        """An answer that is held or missed its deadline allows nothing."""
        if done.held or done.age_ms > self._policy.deadline_ms:
            speed, why = 0.0, "held" if done.held else "late"
        message = {"from": self._name, "speed": speed, "why": why, "age_ms": round(done.age_ms, 1)}
        self._socket.sendto(json.dumps(message).encode(), DRIVE)


def see(worker: Worker, bundle: str, camera: str) -> None:
    """30 Hz."""
    drive = Drive("see", SEE)

    def act(done: Processed) -> None:
        drive.allow(*(ground.speed(done.answer) if done.answer else (0.0, "no answer")), done)

    with opened(bundle) as session, realtime():
        session.warmup()  # so that the first frame is like every other
        ground = Ground(session)
        # A camera that goes away, gives nothing, or comes up later than the robot, is opened again and again.
        source = Reconnecting(lambda: open_source(camera, loop=True), name=camera, backoff=AGAIN)
        worker.run(StreamLoop(source, session, act, SEE, on_event=say))


def hear(worker: Worker, bundle: str, sound: str) -> None:
    """10 Hz: chunks of 100 ms, of which each completes three or four steps of the network."""
    drive = Drive("hear", HEAR)

    def act(done: Processed) -> None:
        speech = any(float(window["speech"][0]) >= 0.5 for window in done.answer or ())
        drive.allow(*((0.0, "speech") if speech else (max(SPEED.values()), "")), done)

    with opened(bundle) as session, realtime():
        session.warmup()
        source = Reconnecting(
            lambda: open_source(sound, loop=True, chunk=1600, sample_rate=16000), name=sound, backoff=AGAIN
        )
        worker.run(StreamLoop(source, session, act, HEAR, on_event=say))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__.splitlines()[0])
    if not KEYS:
        sys.exit("expected TRUSTED_KEYS to be a folder of public keys, or none for unsigned bundles, found nothing")
    ground, voice, camera, sound = sys.argv[1:]
    tasks = {"see": partial(see, bundle=ground, camera=camera), "hear": partial(hear, bundle=voice, sound=sound)}
    restarts = Restarts(hung_s=0.5, silent_s=2.0, degraded_s=2.0, grace_s=3.0, most=20, within_s=600.0)
    try:
        report = supervise(tasks, restarts, state=STATE, on_event=say)
    except EdgekitError as error:  # such as a state that cannot be written
        sys.exit(f"edgekit: error: {error}")
    for name, task in report.tasks.items():
        keys = ("captured", "processed", "dropped", "deadline_misses") if task.loop else ()
        counts = {key: task.loop[key] for key in keys}
        say(f"{name} {task.state} {task.restarts} restarts, since the last {counts} {task.why}".rstrip())
    sys.exit(report.code)
