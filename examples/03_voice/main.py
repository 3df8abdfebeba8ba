"""Say when somebody speaks: python main.py BUNDLE SOUND

SOUND is a .wav at 16 kHz, or microphone: for the machine's own.
"""

import sys

from edgekit.errors import EdgekitError
from edgekit.runtime import Session
from edgekit.runtime.loop import Policy, Processed, StreamLoop
from edgekit.runtime.sources import open_source

ON, OFF = 0.5, 0.35  # speech begins above the one and ends below the other, as silero's own iterator has it
STEP_S = 512 / 16000


class Turns:
    """A sink: a loop hands it the answers of all windows that a chunk of sound completed."""

    def __init__(self) -> None:
        self.now_s, self.since_s = 0.0, -1.0

    def __call__(self, done: Processed) -> None:
        for window in () if done.held else done.answer:
            speech = float(window["speech"][0])
            if self.since_s < 0 and speech >= ON:
                self.since_s = self.now_s
            elif self.since_s >= 0 and speech < OFF:
                self.end()
            self.now_s += STEP_S

    def end(self) -> None:
        """Say the turn that goes on, if one does."""
        if self.since_s >= 0:
            print(f"speech from {self.since_s:5.1f} s to {self.now_s:5.1f} s", flush=True)
        self.since_s = -1.0


def main(bundle: str, sound: str) -> None:
    """Until the sound ends, or it is told to."""
    live = sound.startswith("microphone:")
    # A recurrent network needs every chunk: a recording waits for it, a microphone fills a queue.
    policy = Policy("fifo", capacity=64) if live else Policy("every")
    with Session.open(bundle) as session:
        source = open_source(sound, pace=live, chunk=512, sample_rate=16000)
        turns = Turns()
        loop = StreamLoop(source, session, turns, policy, on_event=print)
        with loop.signals():
            report = loop.run()
        turns.end()
    median_ms = report.compute_ms.p50
    print(f"{report.processed} chunks of 32 ms, {median_ms:.2f} ms each; {report.resets} gaps; ended: {report.ended}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    try:
        main(*sys.argv[1:])
    except EdgekitError as error:
        sys.exit(f"edgekit: error: {error}")
