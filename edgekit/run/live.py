"""A camera, a video, a microphone: a loop over what comes, with a page to look at and a file of answers."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.configs import RunConfig
from edgekit.data import PICTURES
from edgekit.errors import UsageError
from edgekit.run.samples import SOUNDS, TEXTS
from edgekit.runtime import Session
from edgekit.runtime.loop import Event, LoopReport, Policy, Processed, StreamLoop, realtime
from edgekit.runtime.loop.answers import AnswersFile, brief
from edgekit.runtime.loop.placed import placed
from edgekit.runtime.sources import Reconnecting, Source, open_source
from edgekit.runtime.sources.names import shown
from edgekit.runtime.sources.opening import FORMS
from edgekit.specs import AudioPreprocess, ImagePreprocess

_ARRAYS = (".npz", ".npy")
# A device or a stream, which may be lost, and a clock, which may not.
_DEVICE = re.compile(r"(camera:|microphone:|gst:|[a-z]+://)|.* ! ")
_CLOCK = "synthetic:"
_SAY_EVERY_S = 1.0


@dataclass(frozen=True)
class Answered:
    """An answer of a loop in words, boxes in pixels of the frame, with the age of its frame and how many were dropped
    so far."""

    name: str
    answer: tuple[str, ...]
    age_ms: float
    compute_ms: float
    held: bool
    dropped: int


Show = Callable[["Answered | str"], None]


def is_live(session: Session, config: RunConfig) -> bool:
    """Whether frames come by themselves, or are to be seen as if they did."""
    source = config.source
    if config.show == "web" or config.live or _comes_by_itself(source):
        return True
    path = Path(source)
    ending = path.suffix.lower()
    if ending in SOUNDS:
        return bool(session.carried) or isinstance(session.preprocessing, ImagePreprocess)
    # A video that is not there is told as one.
    return not path.is_dir() and bool(ending) and ending not in (*_ARRAYS, *PICTURES, *TEXTS) and ":" not in source


def check_options(config: RunConfig, *, live: bool) -> None:
    """Raise UsageError for an option that would have no effect."""
    given = {
        "--answers": config.answers is not None,
        "--frames": config.frames is not None,
        "--seconds": config.seconds is not None,
        "--repeat": config.repeat,
        "--deadline-ms": config.deadline_ms is not None,
    }
    useless = [] if live else [name for name, is_given in given.items() if is_given]
    if useless:
        raise UsageError(
            f"expected a camera or a recording for {', '.join(useless)}, found samples, one after the other",
            "--live plays a folder of pictures as a camera",
        )
    if config.port != RunConfig.port and config.show != "web":
        raise UsageError("expected --show web for --port, found text", "--show web")


def run_live(session: Session, config: RunConfig, show: Show, name: str) -> LoopReport:
    """Run the loop until it ends; `show` hears of events as they are, of answers once a second, or of every one.

    `name` is what the page calls it.
    """
    session.warmup()
    policy = _policy(session, config)
    told = _Told(show, every=policy.buffer == "every", session=session)
    with contextlib.ExitStack() as stack:
        source = _source(session, config, policy)
        stack.callback(source.close)
        sinks: list[Callable[[Processed], object]] = [told]
        page = None
        if config.show == "web":
            from edgekit.runtime.web import LivePage, View

            page = stack.enter_context(LivePage(config.port, View.of(session, policy), name=name))
            sinks.append(page.sink)
        if config.answers is not None:
            sinks.append(stack.enter_context(AnswersFile(config.answers, session.preprocessing)).write)
        loop = StreamLoop(source, session, sinks, policy, told.event)
        told.loop = loop
        if page is not None:
            page.watch(loop)
            show(f"page at {page.url}; Ctrl-C ends it")
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(loop.signals())
        stack.enter_context(realtime())
        return loop.run(config.frames, config.seconds)


def _comes_by_itself(source: str) -> bool:
    return bool(_DEVICE.match(source)) or source.startswith(_CLOCK)


def _policy(session: Session, config: RunConfig) -> Policy:
    """The newest frame of what is live; of a recording every one, as fast as it goes, unless it is to seem live.

    A network with states needs all that came, so that frames wait for it rather than each other.
    """
    # Ten frames without a good answer are a source of the wrong kind rather than a bad moment.
    common = Policy(deadline_ms=config.deadline_ms, top=config.top, on_bad="stop")
    if not (config.live or config.show == "web" or _comes_by_itself(config.source)):
        if config.deadline_ms is not None:
            raise UsageError("expected --deadline-ms for what does not wait, found a recording that does", "--live")
        return replace(common, buffer="every", capacity=1)
    return replace(common, buffer="fifo", capacity=64) if session.carried else common


def _source(session: Session, config: RunConfig, policy: Policy) -> Source:
    spec = session.preprocessing
    rate = spec.rate if isinstance(spec, AudioPreprocess) else None

    _check_kind(session, config.source)

    def opens() -> Source:
        pace = policy.buffer != "every"
        return open_source(config.source, pace=pace, loop=config.repeat, sample_rate=rate)

    if not _DEVICE.match(config.source):
        return opens()
    if config.repeat:
        raise UsageError(
            "expected --repeat for a recording, found it for a device", f"--source {shown(config.source)} alone"
        )
    return Reconnecting(opens)


def _check_kind(session: Session, source: str) -> None:
    """Raise UsageError for a file whose name says that it is of another kind than the bundle takes."""
    ending = Path(source).suffix.lower()
    takes_sound = isinstance(session.preprocessing, AudioPreprocess)
    if ending in (*_ARRAYS, *TEXTS):
        raise UsageError(f"expected a recording to play, found {shown(source)}", f"--source {shown(source)} alone")
    if takes_sound != (ending in SOUNDS) and (takes_sound or isinstance(session.preprocessing, ImagePreprocess)):
        wanted = "a sound" if takes_sound else "pictures"
        if Path(source).is_file():
            raise UsageError(
                f"expected {wanted} for this bundle, found {source}",
                f"--source {'sound.wav' if takes_sound else FORMS}",
            )


class _Told:
    """Says what happens: all events, and answers at a pace that a person can read, unless each is wanted."""

    def __init__(self, show: Show, *, every: bool, session: Session) -> None:
        self.loop: StreamLoop | None = None
        self._show, self._every, self._session = show, every, session
        self._next_s = 0.0

    def event(self, event: Event) -> None:
        """In the thread that saw it."""
        self._say(" ".join(filter(None, (event.kind, event.source, event.message))))

    def __call__(self, done: Processed) -> None:
        """A sink."""
        now_s = time.monotonic()
        if not self._every and now_s < self._next_s:
            return
        self._next_s = now_s + _SAY_EVERY_S
        dropped = self.loop.snapshot()["dropped"] if self.loop is not None else 0
        session = self._session
        answer = brief(session.postprocessing, placed(done.answer, session.preprocessing, done.frame.data))
        name = str(done.frame.number)
        self._say(Answered(name, answer, done.age_ms, done.timing.compute_ms, done.held, dropped))

    def _say(self, shown: Answered | str) -> None:
        try:
            self._show(shown)
        except BrokenPipeError:  # nobody reads any more, as behind `| head`
            if self.loop is not None:
                self.loop.stop("nobody reads")


def ended(report: dict[str, Any]) -> tuple[str, str]:
    """A loop's report in two lines."""
    age, rate = report["age_ms"], report["processed"] / max(report["seconds"], 1e-9)
    return (
        f"{report['captured']} captured = {report['processed']} processed + {report['dropped']} dropped, "
        f"{rate:.1f} a second; ended: {report['ended']}",
        f"age p50 {age['p50']:.1f} ms, p99 {age['p99']:.1f} ms, at most {age['max']:.1f} ms; "
        f"{report['deadline_misses']} deadlines missed, {report['held']} answers held",
    )
