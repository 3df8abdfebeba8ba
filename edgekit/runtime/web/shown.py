"""The last frame of a source with the answer to that very frame, as one body for a browser."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from edgekit.preprocess.placement import Placement, placement
from edgekit.runtime.loop.report import Processed
from edgekit.runtime.sources.frame import Frame
from edgekit.runtime.web.answers import shown_answer
from edgekit.runtime.web.pane import Seen
from edgekit.runtime.web.view import View
from edgekit.runtime.web.waves import sound_lines, value_lines
from edgekit.specs import ImagePreprocess, described


class Body(NamedTuple):
    """What goes over the line, with its media type."""

    kind: str
    data: bytes


class Encoder:
    """Encodes a source's frame once, for however many browsers look at it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._jpeg = b""

    def body(self, seen: Seen, view: View) -> Body:
        """multipart/form-data (RFC 7578), which browsers take apart themselves: `about`, JSON, and `picture`, a JPEG.

        Both are of one frame, so that a box lies on what it was found on. A sound or values have no `picture`.
        """
        about = described_frame(seen, view)
        parts = [("about", "application/json", json.dumps(about, allow_nan=False).encode())]
        if about["kind"] == "picture":
            parts.append(('picture"; filename="frame.jpg', "image/jpeg", self._encoded(seen.processed.frame)))
        edge = secrets.token_hex(16)  # 128 random bits do not occur in a JPEG
        lines = []
        for name, kind, data in parts:
            head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {kind}\r\n\r\n'
            lines += [head.encode(), data, b"\r\n"]
        lines.append(f"--{edge}--\r\n".encode())
        return Body(f"multipart/form-data; boundary={edge}", b"".join(lines))

    def _encoded(self, frame: Frame) -> bytes:
        from edgekit.data.jpeg import jpeg_of  # Pillow, once a picture is looked at

        with self._lock:
            if self._frame is not frame:
                self._jpeg = jpeg_of(frame.data)
                self._frame = frame
            return self._jpeg


def described_frame(seen: Seen, view: View) -> dict[str, Any]:
    """Everything about a frame but its picture, as JSON values; corners and `crop` are in pixels of the picture."""
    processed = seen.processed
    data = processed.frame.data
    kind = _kind(data)
    place = _place(data, view) if kind == "picture" else None
    about: dict[str, Any] = {
        "serial": seen.serial,
        "number": processed.frame.number,
        "kind": kind,
        "what": described(data) if isinstance(data, np.ndarray) else type(data).__name__,
        "held": processed.held,
        "age_ms": round(processed.age_ms, 3),
        "answer": shown_answer(_answer(seen), view, place),
    }
    if kind == "picture":
        about["height"], about["width"] = data.shape[:2]
        if place is not None and isinstance(view.preprocessing, ImagePreprocess):
            about["crop"] = _crop(view.preprocessing, place, data.shape[1], data.shape[0])
    elif kind != "other":
        lines = sound_lines if kind == "sound" else value_lines
        about["wave"] = lines(_chunks(processed, seen.recent))
    return about


def _kind(data: Any) -> str:
    """As `Frame` says what is what; "other" for what a source of the app's own may give besides."""
    if not isinstance(data, np.ndarray) or not data.size or data.dtype.kind not in "fiu":
        return "other"
    if data.dtype == np.uint8 and (data.ndim == 2 or (data.ndim == 3 and data.shape[2] == 3)):
        return "picture"
    if data.ndim == 1 and data.dtype.kind == "f":
        return "sound"
    return "values" if data.ndim <= 2 and data.ndim > 0 else "other"


def _place(data: Any, view: View) -> Placement | None:
    spec = view.preprocessing
    return placement(spec, *data.shape[:2]) if isinstance(spec, ImagePreprocess) else None


def _crop(spec: ImagePreprocess, place: Placement, width: int, height: int) -> list[float] | None:
    """What the network sees of the picture; None where that is all of it."""
    corners = [round(value, 2) for value in place.corners((0.0, 0.0, spec.crop, spec.crop))]
    whole = (0, 0, width, height)
    return corners if any(abs(one - other) >= 1 for one, other in zip(corners, whole, strict=True)) else None


def _chunks(processed: Processed, recent: Sequence[Processed]) -> list[Any]:
    """The last frame and those before it that are like it, the oldest first."""
    data = processed.frame.data
    chunks = [item.frame.data for item in recent]
    if not chunks or chunks[-1] is not data:
        chunks = [data]  # too large to be kept
    return [chunk for chunk in chunks if chunk.dtype == data.dtype and chunk.shape[1:] == data.shape[1:]]


def _answer(seen: Seen) -> Any:
    """The last answer; a chunk that completes no window has an empty one: then the one before it."""
    if _kind(seen.processed.frame.data) == "picture" or not _is_empty(seen.processed.answer):
        return seen.processed.answer
    return next((item.answer for item in reversed(seen.recent) if not _is_empty(item.answer)), [])


def _is_empty(answer: Any) -> bool:
    return isinstance(answer, list) and not answer
