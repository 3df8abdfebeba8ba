"""What the node of main.py does, without ROS: images in, answers and health out. Tested where no ROS is installed.

A camera's images come in the executor's thread; a StreamLoop answers the newest in a thread of its own, which opens its
own Session, since a session belongs to one thread.
"""

from __future__ import annotations

import io
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import DataError
from edgekit.runtime import Session
from edgekit.runtime.loop import Event, LoopReport, Policy, Processed, StreamLoop
from edgekit.runtime.sources import Frame

# Of sensor_msgs' image_encodings.hpp: the bytes of a pixel, and which of them are R, G and B.
ENCODINGS: dict[str, tuple[int, Any]] = {
    "rgb8": (3, slice(None)),
    "bgr8": (3, slice(None, None, -1)),
    "rgba8": (4, slice(3)),
    "bgra8": (4, slice(2, None, -1)),
    "mono8": (1, [0, 0, 0]),
}
# What the four pixels of each 2 x 2 of a sensor saw, row by row.
BAYER = {f"bayer_{order}8": order for order in ("rggb", "bggr", "gbrg", "grbg")}
# More are no camera's: a few bytes can claim any number of them.
MOST_PIXELS = 64_000_000
# A stamp further from the node's clock is of another clock, such as that of a recording played without /clock.
MOST_SECONDS_OFF = 10.0
# Without an image for so long the node warns.
QUIET_S = 2.0


@dataclass(frozen=True)
class ImageFrame(Frame):
    """A frame with the header of its image, for what is published about it."""

    header: Any = None


def picture(message: Any) -> np.ndarray:
    """A sensor_msgs/Image as uint8 [H,W,3] RGB; raises DataError for one that is none.

    But for mono8 its memory is the message's own: rclpy makes a message for each image, and no one writes to it again.
    Of a Bayer pattern each 2 x 2 is one pixel, so that the picture is half as high and wide: networks take less still.
    """
    bayer = BAYER.get(message.encoding)
    if message.encoding not in ENCODINGS and bayer is None:
        raise DataError(
            f"expected an image of {', '.join([*ENCODINGS, *BAYER])}, found {message.encoding[:40]!r}",
            "another format of the camera's driver",
        )
    size, order = ENCODINGS.get(message.encoding, (1, None))
    height, width, step = message.height, message.width, message.step
    if not (height and width) or step < width * size or len(message.data) != height * step:
        raise DataError(
            f"expected {height} rows of at least {width * size} bytes, found {len(message.data)} bytes, {step} a row"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    if bayer is not None:
        return of_bayer(rows[:, :width], bayer)
    return rows[:, : width * size].reshape(height, width, size)[:, :, order]


def of_bayer(rows: np.ndarray, order: str) -> np.ndarray:
    """uint8 [H,W] of a sensor as uint8 [H/2,W/2,3] RGB; an odd last row or column is left out."""
    height, width = (size // 2 * 2 for size in rows.shape)
    if not (height and width):
        raise DataError(f"expected at least 2 x 2 pixels of a Bayer pattern, found {rows.shape[0]} x {rows.shape[1]}")
    seen = [rows[y:height:2, x:width:2] for y in range(2) for x in range(2)]
    first, second = (pixels for pixels, colour in zip(seen, order, strict=True) if colour == "g")
    green = (first.astype(np.uint16) + second + 1) // 2
    return np.stack([seen[order.index("r")], green.astype(np.uint8), seen[order.index("b")]], axis=2)


def unpacked(message: Any) -> np.ndarray:
    """A sensor_msgs/CompressedImage as uint8 [H,W,3] RGB; raises DataError for other than JPEG or PNG of 8 bits."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(message.data), formats=("JPEG", "PNG")) as image:
            found = f"{image.width} x {image.height} of mode {image.mode}"
            if image.mode[0] not in "IF" and image.width * image.height <= MOST_PIXELS:
                return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise what they like on a damaged picture
        raise DataError(
            f"expected a JPEG or PNG, found one of format {message.format[:40]!r} that cannot be decoded",
            "-p image_transport:=raw",
        ) from error
    raise DataError(f"expected at most 8 bits and {MOST_PIXELS} pixels, found {found}", "-p image_transport:=raw")


class ImageTopic:
    """An edgekit Source: `feed` gets what the subscription gets, `read` makes a picture of it, and `frames` gives it to
    the loop.

    Nothing is dropped here: the loop takes each frame at once, and drops and counts what is too much.
    """

    rate = None

    def __init__(self, name: str, read: Callable[[Any], np.ndarray] = picture) -> None:
        self.name, self._read = name, read
        self.refused = 0
        self.last_ns = 0  # when the last image came, refused or not; 0 for never
        self.note: Callable[[str, str, str], object] = lambda kind, message, source: None
        self._given: queue.SimpleQueue[ImageFrame | None] = queue.SimpleQueue()
        self._number = 0
        self._said: set[str] = set()

    def feed(self, message: Any, now_ns: int) -> None:
        """Take an image; `now_ns` is the node's clock. One that cannot be used is counted, and its reason said once."""
        arrived_ns = self.last_ns = time.perf_counter_ns()
        number, self._number = self._number, self._number + 1
        try:
            data = self._read(message)
        except DataError as error:
            self.refused += 1
            self._say("refused", str(error))
            return
        captured_ns = arrived_ns - self._age_ns(message.header.stamp, now_ns)
        self._given.put(ImageFrame(data, captured_ns, number, self.name, message.header))

    def frames(self) -> Iterator[Frame]:
        """Until `close`."""
        while (frame := self._given.get()) is not None:
            yield frame

    def close(self) -> None:
        """`frames` ends; twice does no harm."""
        self._given.put(None)

    def _age_ns(self, stamp: Any, now_ns: int) -> int:
        """How long ago the camera saw it: the two clocks are compared now, and their difference is all that counts."""
        age_ns = now_ns - (stamp.sec * 10**9 + stamp.nanosec)
        if abs(age_ns) > MOST_SECONDS_OFF * 1e9:
            self._say(
                "stamp", f"expected one within {MOST_SECONDS_OFF:g} s of the node's clock: arrival counts instead"
            )
            return 0
        return max(age_ns, 0)  # a camera whose clock is ahead by a little

    def _say(self, kind: str, message: str) -> None:
        if message not in self._said and len(self._said) < 100:
            self._said.add(message)
            self.note(kind, message, self.name)


@dataclass(frozen=True)
class Health:
    """What a diagnostic_msgs/DiagnosticStatus needs; `level` is the name of one of its constants."""

    level: str
    message: str
    values: dict[str, str]


class Answerer:
    """A thread with a Session and a StreamLoop, from `start` to `stop`; `publish` is called there for each answer."""

    def __init__(
        self,
        bundle: str,
        topic: ImageTopic,
        publish: Callable[[Processed], object],
        on_event: Callable[[Event], object] = lambda event: None,
        backend: str = "auto",
        policy: Policy = Policy(deadline_ms=100),
    ) -> None:
        self.topic = topic
        self.loop: StreamLoop | None = None
        self.error: Exception | None = None
        self.about = ""
        self._made = (bundle, backend, publish, policy, on_event)
        self._open = threading.Event()
        self._start_ns = time.perf_counter_ns()
        self._thread = threading.Thread(target=self._run, name="answers")

    def start(self) -> None:
        """Open the bundle; raises what the Session raises, such as IntegrityError, and nothing runs then."""
        self._thread.start()
        self._open.wait()
        if self.loop is None:
            self._thread.join()
            raise self.error or RuntimeError("the loop did not start")

    def stop(self) -> LoopReport:
        """Finish the frame under way, then close the source and the session. In its report captured = processed +
        dropped."""
        assert self.loop is not None, "start comes before stop"
        self.loop.stop()
        self._thread.join()
        return self.loop.report()

    @property
    def ended(self) -> bool:
        """Whether the loop ended by itself, which it does where answers or publishing fail for long."""
        return self._open.is_set() and not self._thread.is_alive()

    def health(self) -> Health:
        """The loop's state as a level; from any thread."""
        if self.loop is None:
            return Health("WARN", "opening the bundle", {})
        counts, state = self.loop.snapshot(), self.loop.state
        quiet_s = (time.perf_counter_ns() - (self.topic.last_ns or self._start_ns)) / 1e9
        level, message = {"running": "OK", "new": "OK", "degraded": "WARN", "blind": "WARN"}.get(state, "ERROR"), state
        if state == "ended":
            message = f"ended: {self.error or self.loop.report().ended}"
        elif level == "OK" and quiet_s > QUIET_S:
            level, message = "WARN", f"no image for {quiet_s:.0f} s"
        values = {key: counts[key] for key in ("captured", "processed", "dropped", "held", "bad", "deadline_misses")}
        values |= {"refused": self.topic.refused, "computed by": self.about}
        return Health(level, message, {key: str(value) for key, value in values.items()})

    def _run(self) -> None:
        bundle, backend, publish, policy, on_event = self._made
        try:
            with Session.open(bundle, backend) as session:
                self.about = f"{session.backend} on {session.device}: {session.reason}"
                self.loop = StreamLoop(self.topic, session, publish, policy, on_event)
                self.topic.note = self.loop.note
                self._open.set()
                self.loop.run()
        except Exception as error:  # start raises it, or health tells it: a thread must not end in silence
            self.error = error
        finally:
            self._open.set()


def as_text(done: Processed) -> str:
    """An answer as one line of JSON: the label, how old it is, and whether it is an older one, held."""
    best = done.answer[0] if done.answer else None
    return json.dumps(
        {
            "label": best.name if best else None,
            "probability": round(best.probability, 4) if best else None,
            "age_ms": round(done.age_ms, 1),
            "held": done.held,
        }
    )
